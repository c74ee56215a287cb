"""Detectors as a user would plug them in, for `fomm prepare --crop finders:...`; workers import this module."""

import os
import time

import numpy as np


def find_white(frames):
    """The box of what is white, to 4 pixels; writes what it was given to $FINDER_LOG, waits $FINDER_SLEEPS a frame."""
    if log := os.environ.get("FINDER_LOG"):
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {len(frames)}\n")
    time.sleep(len(frames) * float(os.environ.get("FINDER_SLEEPS", "0")))
    return [_find(frame[::4, ::4, 1] > 240) for frame in frames]


def _find(white):
    rows, columns = (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros([0]), np.zeros([0, 4])
    return np.ones([1]), 4.0 * np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])


def find_two(frames):
    """A small box at the left and a large one at the right, in frames of 96 x 160; the first of them leaves later."""
    small, large = [8, 40, 24, 56], [100, 30, 140, 70]
    return [(np.ones([2]), np.array([small, large], float)) for _ in frames]


def find_nonsense(frames):
    """Not what a detector has to give."""
    return [None for _ in frames]


def die(frames):
    """Takes the worker with it."""
    os._exit(9)
