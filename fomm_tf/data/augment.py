"""How a training pair is varied: what is drawn, and what that does to a frame.

Convention:
  * drawing is apart from doing: `draw` turns uniform numbers into a `Variation`, `apply` is a pure function of a frame
    and a `Variation`, so that both frames of a pair, given the same one, are varied alike;
  * a number is drawn whether it is used or not, so that switching one variation on leaves the others as they were;
  * the two flips exclude each other, as in the reference: with both, half of the pairs are reversed in time and half
    of the rest mirrored; with one alone, half of the pairs get it;
  * jitter has torchvision's ranges and formulas, always in the order brightness, contrast, saturation, hue (the
    reference shuffles the order).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import config

# How many uniform numbers `draw` takes.
NUMBERS = 9
_LUMINANCE = (0.299, 0.587, 0.114)


class Variation(NamedTuple):
    """What is done to a pair; of one pair scalars, of many arrays of one shape, float32.

    Attributes:
      reverse: 1 exchanges source and driving; `fomm_tf.data.pairs` does that.
      mirror: 1 mirrors left and right.
      brightness: factor.
      contrast: factor of the distance from the frame's mean gray.
      saturation: factor of the distance from gray.
      hue: shift, as a share of the color circle.
      scale: factor of both sides.
      top: where the frame is cut from, as a share of the room above and below it; 0.5 is the middle.
      left: likewise of the room to its sides.
    """

    reverse: np.ndarray | tf.Tensor
    mirror: np.ndarray | tf.Tensor
    brightness: np.ndarray | tf.Tensor
    contrast: np.ndarray | tf.Tensor
    saturation: np.ndarray | tf.Tensor
    hue: np.ndarray | tf.Tensor
    scale: np.ndarray | tf.Tensor
    top: np.ndarray | tf.Tensor
    left: np.ndarray | tf.Tensor


def draw(settings: config.AugmentConfig, numbers: np.ndarray) -> Variation:
    """Turns uniform numbers into variations.

    Args:
      settings: what may vary and how much.
      numbers: `[..., NUMBERS]` float in [0, 1).

    Returns:
      Variations of shape `[...]`.
    """
    time, mirror, brightness, contrast, saturation, hue, scale, top, left = np.moveaxis(numbers, -1, 0)
    reverse = (time < 0.5) & settings.time_flip
    middle = np.full_like(top, 0.5)
    drawn = Variation(
        reverse=reverse,
        mirror=(mirror < 0.5) & settings.horizontal_flip & ~reverse,
        brightness=_factor(brightness, settings.brightness),
        contrast=_factor(contrast, settings.contrast),
        saturation=_factor(saturation, settings.saturation),
        hue=_between(hue, -settings.hue, settings.hue),
        scale=_between(scale, *(settings.resize or (1, 1))),
        top=top if settings.crop else middle,
        left=left if settings.crop else middle,
    )
    return Variation(*(np.asarray(values, np.float32) for values in drawn))


def _factor(numbers: np.ndarray, most: float) -> np.ndarray:
    return _between(numbers, max(0, 1 - most), 1 + most)


def _between(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * numbers


def apply(settings: config.AugmentConfig, variation: Variation, frame: tf.Tensor) -> tf.Tensor:
    """Varies one frame; `variation.reverse` concerns a pair and is not looked at.

    A frame that is made smaller goes on to its sides with its outermost pixels; one that is made larger is cut.

    Args:
      settings: those that `variation` was drawn with; what they leave out costs nothing.
      variation: scalars.
      frame: `[H, W, 3]` float in [0, 1].

    Returns:
      `[H, W, 3]` float32 in [0, 1].
    """
    if settings.resize:
        frame = _rescale(variation, frame)
    if settings.horizontal_flip:
        frame = tf.cond(variation.mirror > 0, lambda: tf.reverse(frame, [1]), lambda: frame)
    if settings.brightness:
        frame = tf.minimum(frame * variation.brightness, 1)
    if settings.contrast:
        mean = tf.tensordot(tf.reduce_mean(frame, [0, 1]), tf.constant(_LUMINANCE), 1)
        frame = tf.clip_by_value(frame * variation.contrast + mean * (1 - variation.contrast), 0, 1)
    if settings.saturation:
        frame = tf.clip_by_value(_saturate(variation.saturation, frame), 0, 1)
    if settings.hue:
        frame = tf.clip_by_value(tf.image.adjust_hue(frame, variation.hue), 0, 1)
    return frame


def _saturate(factor: tf.Tensor, frame: tf.Tensor) -> tf.Tensor:
    # One product of matrices, since broadcasting a gray frame over three channels is several times as slow.
    to_gray = tf.repeat(tf.constant(_LUMINANCE)[:, None], 3, axis=1)
    pixels = tf.reshape(frame, [-1, 3]) @ (factor * tf.eye(3) + (1 - factor) * to_gray)
    return tf.reshape(pixels, frame.shape)


def _rescale(variation: Variation, frame: tf.Tensor) -> tf.Tensor:
    height, width = frame.shape[:2]
    size = tf.maximum(1, tf.cast(tf.round(variation.scale * tf.constant([height, width], tf.float32)), tf.int32))
    scaled = tf.clip_by_value(tf.image.resize(frame, size, antialias=True), 0, 1)
    for axis, (side, share) in enumerate(((height, variation.top), (width, variation.left))):
        room = tf.cast(size[axis] - side, tf.float32)
        places = tf.range(side) + tf.cast(tf.round(share * room), tf.int32)
        scaled = tf.gather(scaled, tf.clip_by_value(places, 0, size[axis] - 1), axis=axis)
    return scaled
