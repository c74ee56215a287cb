"""Drawn scenes of discs, and their animation by a model whose answer is known."""

import pathlib
from fractions import Fraction

import numpy as np
from drawn_discs import draw
from shifting_model import ShiftingModel

from fomm_tf import config, video
from fomm_tf.inference import animation, framing

HEIGHT, WIDTH, RADIUS = 180, 320, 30
SIDE = 64


def clip(frames, name="clip.mp4", fps=25):
    frames = list(frames)
    return video.Video(pathlib.Path(name), Fraction(fps), frames[0].shape[:2], len(frames), False, lambda: iter(frames))


def walk(count=12, step=3, start=120):
    """A disc that moves to the right, in a wide frame."""
    return [draw((HEIGHT, WIDTH), (start + step * index, 90, RADIUS))[0] for index in range(count)]


def run(source, driving, mode="relative", crop="face", keep_driving=False, report=lambda line: None, **options):
    names = [field for field in animation.MotionOptions.__dataclass_fields__ if field in options]
    motion = animation.MotionOptions(**{name: options.pop(name) for name in names})
    performance = animation.Animation(
        ShiftingModel(crop),
        source,
        "a.jpg",
        driving,
        config.AnimateConfig(mode=mode),
        motion,
        framing.Framing(**options),
        batch_size=4,
        report=report,
    )
    return performance, list(performance.frames(keep_driving=keep_driving))


def center(frame):
    """Center (x, y) of what is white."""
    rows, columns = np.nonzero(frame[..., 0] > 128)
    return np.array([columns.mean(), rows.mean()])


def centers(frames):
    return np.array([center(frame.result) for frame in frames])
