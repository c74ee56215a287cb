"""Smooth random fields for skin, hair, cloth, and backgrounds."""

from __future__ import annotations

import numpy as np

from fomm_tf.opencv import cv2


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, and a smooth step between; falls if `low` is above `high`."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def fractal(
    random: np.random.Generator, height: int, width: int, cells: float = 3, octaves: int = 4, fall: float = 1.7
) -> np.ndarray:
    """Sum of smooth noises of doubling frequency.

    Args:
      random: generator.
      height: of the field.
      width: of the field.
      cells: of the coarsest noise along the width.
      octaves: how many noises.
      fall: ratio of the amplitudes of one noise and the next.

    Returns:
      `[height, width]` float32, mean 0, standard deviation about 1.
    """
    total, power = np.zeros((height, width), np.float32), 0.0
    for octave in range(octaves):
        across = max(2, round(cells * 2**octave))
        down = max(2, round(across * height / width))
        if across > 2 * width:
            break
        grid = random.normal(size=(down + 1, across + 1)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / np.float32(fall**octave)
        power += fall ** (-2 * octave)
    return total / np.float32(0.8 * np.sqrt(power))


def wave(random: np.random.Generator, points: np.ndarray, frequency: float, count: int = 5) -> np.ndarray:
    """Sum of plane waves of about one frequency at points in space: smooth noise without a grid.

    Args:
      random: generator.
      points: `[..., 3]` float.
      frequency: radians a decimeter.
      count: of waves.

    Returns:
      `[...]` float32, mean 0, standard deviation about 1.
    """
    directions = random.normal(size=(count, 3)) * frequency / np.sqrt(3)
    phases = random.uniform(0, 2 * np.pi, count)
    return (np.sin(points @ directions.T.astype(np.float32) + phases).sum(axis=-1) * np.sqrt(2 / count)).astype(
        np.float32
    )
