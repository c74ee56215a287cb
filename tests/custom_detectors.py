"""Custom detectors for `fomm evaluate --detector custom_detectors:...`; worker processes import this module."""

import os

import numpy as np


def find_brightest(frames):
    """One point per channel: its brightest pixel, found if it is brighter than the mean."""
    value = np.full([len(frames), 3, 2], np.nan)
    visibility = np.zeros([len(frames), 3])
    for number, frame in enumerate(frames):
        for channel in range(3):
            plane = frame[..., channel].astype(int)
            row, column = np.unravel_index(plane.argmax(), plane.shape)
            if plane.max() > plane.mean():
                value[number, channel] = column + 0.5, row + 0.5
                visibility[number, channel] = 1
    return value, visibility


def embed_color(frames):
    """The mean color, of frames that are not nearly black."""
    value = np.array([frame.mean(axis=(0, 1)) / 255 for frame in frames])
    return value, value.mean(axis=1) > 0.05


def return_wrong_type(frames):
    """Returns a wrong type."""
    return [None for _ in frames]


def die(frames):
    """Kills its worker process."""
    os._exit(9)
