"""Drawn heads as inputs of tests: they cost nothing, and the true animation is known."""

import pathlib

from fomm_tf import video
from fomm_tf.data import puppets

# A packaged model of drawn heads.
MODEL = pathlib.Path(video.__file__).parents[1] / "assets" / "puppets-128"
# Odd seeds are test data: `MODEL` was not trained on these.
SOURCE, DRIVING, _MOTION = 5, 7, 3


def draw_image(size):
    """Draws a head in the first pose of `draw_clip`, as relative motion requires: `[size, size, 3]` uint8."""
    return next(draw_clip(size, character=SOURCE))


def draw_clip(size, count=50, character=DRIVING):
    """Draws the frames of a moving head: the driving one, or with `SOURCE` the true animation."""
    identity = puppets.sample_identity(character, portrait=True)
    for pose in puppets.sample_motion(_MOTION, count, portrait=True):
        yield puppets.draw(identity, pose, size)


def write_clip(path, size, count):
    """Writes a driving clip of `count` frames, `size` x `size`, at 25 frames per second: a video, or a directory."""
    with video.write_video(path, 25) as writer:
        for frame in draw_clip(size, count):
            writer.write(frame)


def write_inputs(folder, size, count, clip="driving"):
    """Writes `source.png` and a driving clip of the same size to a directory."""
    video.write_image(folder / "source.png", draw_image(size))
    write_clip(folder / clip, size, count)
