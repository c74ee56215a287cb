"""Detectors as a user would plug them in, for `fomm prepare --crop finders:...`; workers import this module."""

import fcntl
import os
import resource
import threading

import numpy as np

from fomm_tf import workers
from fomm_tf.data.prepare import clips

SECONDS = 120  # no test waits so long, unless it fails


def find_white(frames):
    """The box of what is white, to 4 pixels; writes what it was given to $FINDER_LOG.

    With $FINDER_WAITS it says `looking` on stdout and waits: `stop`, until the command stops its workers; a file, until
    the test unlocks that. $FINDER_HANGS is how many frames are cut before the worker says `cutting` and hangs.
    """
    if log := os.environ.get("FINDER_LOG"):
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {len(frames)}\n")
    if wait := os.environ.get("FINDER_WAITS"):
        _say(b"looking\n")
        if wait == "stop":
            assert workers._shared.stop.wait(SECONDS), "the command did not stop its workers"
        else:
            with open(wait) as file:
                fcntl.flock(file, fcntl.LOCK_SH)
    if "FINDER_HANGS" in os.environ and clips.segments.crop is not _cut_some:
        clips.segments.crop = _cut_some
    return [_find(frame[::4, ::4, 1] > 240) for frame in frames]


_cut, _left = clips.segments.crop, int(os.environ.get("FINDER_HANGS", "0"))


def _say(line):
    """Writes a line in one piece: several workers share the pipe."""
    os.write(1, line)


def _cut_some(*arguments):
    global _left
    if not _left:
        _say(b"cutting\n")
        threading.Event().wait(SECONDS)
        os._exit(1)
    _left -= 1
    return _cut(*arguments)


def _find(white):
    rows, columns = (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros([0]), np.zeros([0, 4])
    return np.ones([1]), 4.0 * np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])


def find_white_on_a_full_disk(frames):
    """As `find_white`; from now on no file of the worker can grow beyond 2500 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
    return find_white(frames)


def find_invalid(frames):
    """Not what a detector has to give."""
    return [None for _ in frames]


def die(frames):
    """Takes the worker with it."""
    os._exit(9)
