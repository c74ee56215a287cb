"""Augmentation of training pairs.

Convention:
  * sampling and application are separate: `sample` turns uniform random numbers into `AugmentParams`, and `apply` is a
    pure function of a frame and `AugmentParams`, so that both frames of a pair are augmented alike;
  * every number is sampled whether it is used or not, so that enabling one augmentation does not change the others;
  * the two flips exclude each other, as in the reference: with both enabled, half of the pairs are reversed in time
    and half of the rest are mirrored; with one enabled, half of the pairs get it;
  * color jitter has torchvision's ranges and formulas, always in the order brightness, contrast, saturation, hue (the
    reference shuffles the order).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import config

# How many uniform random numbers `sample` takes.
NUM_UNIFORMS = 9
_LUMINANCE = (0.299, 0.587, 0.114)


class AugmentParams(NamedTuple):
    """Augmentation of one pair (scalars) or of many pairs (arrays of one shape), float32.

    Attributes:
      reverse: 1 swaps source and driving; `fomm_tf.data.pairs` does that.
      mirror: 1 flips left and right.
      brightness: factor.
      contrast: factor of the difference from the frame's mean gray level.
      saturation: factor of the difference from gray.
      hue: shift, as a fraction of the color circle.
      scale: factor of height and width.
      top: vertical position of the crop, as a fraction of the free space; 0.5 is the middle.
      left: horizontal position of the crop, likewise.
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


def sample(settings: config.AugmentConfig, uniforms: np.ndarray) -> AugmentParams:
    """Turns uniform random numbers into augmentation parameters.

    Args:
      settings: which augmentations are enabled, and their ranges.
      uniforms: `[..., NUM_UNIFORMS]` float in [0, 1).

    Returns:
      Parameters of shape `[...]`.
    """
    time, mirror, brightness, contrast, saturation, hue, scale, top, left = np.moveaxis(uniforms, -1, 0)
    reverse = (time < 0.5) & settings.time_flip
    middle = np.full_like(top, 0.5)
    sampled = AugmentParams(
        reverse=reverse,
        mirror=(mirror < 0.5) & settings.horizontal_flip & ~reverse,
        brightness=_factor(brightness, settings.brightness),
        contrast=_factor(contrast, settings.contrast),
        saturation=_factor(saturation, settings.saturation),
        hue=_scale_to(hue, -settings.hue, settings.hue),
        scale=_scale_to(scale, *(settings.resize or (1, 1))),
        top=top if settings.crop else middle,
        left=left if settings.crop else middle,
    )
    return AugmentParams(*(np.asarray(values, np.float32) for values in sampled))


def _factor(uniforms: np.ndarray, amplitude: float) -> np.ndarray:
    return _scale_to(uniforms, max(0, 1 - amplitude), 1 + amplitude)


def _scale_to(uniforms: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * uniforms


def apply(settings: config.AugmentConfig, params: AugmentParams, frame: tf.Tensor) -> tf.Tensor:
    """Augments one frame; ignores `params.reverse`, which concerns the pair.

    A frame that is scaled down is padded by repeating its edge pixels; one that is scaled up is cropped.

    Args:
      settings: those that `params` was sampled with; disabled augmentations cost nothing.
      params: scalars.
      frame: `[H, W, 3]` float in [0, 1].

    Returns:
      `[H, W, 3]` float32 in [0, 1].
    """
    if settings.resize:
        frame = _rescale(params, frame)
    if settings.horizontal_flip:
        frame = tf.cond(params.mirror > 0, lambda: tf.reverse(frame, [1]), lambda: frame)
    if settings.brightness:
        frame = tf.minimum(frame * params.brightness, 1)
    if settings.contrast:
        mean = tf.tensordot(tf.reduce_mean(frame, [0, 1]), tf.constant(_LUMINANCE), 1)
        frame = tf.clip_by_value(frame * params.contrast + mean * (1 - params.contrast), 0, 1)
    if settings.saturation:
        frame = tf.clip_by_value(_saturate(params.saturation, frame), 0, 1)
    if settings.hue:
        frame = tf.clip_by_value(tf.image.adjust_hue(frame, params.hue), 0, 1)
    return frame


def _saturate(factor: tf.Tensor, frame: tf.Tensor) -> tf.Tensor:
    # A matrix product, since broadcasting a gray frame over three channels is several times as slow.
    to_gray = tf.repeat(tf.constant(_LUMINANCE)[:, None], 3, axis=1)
    pixels = tf.reshape(frame, [-1, 3]) @ (factor * tf.eye(3) + (1 - factor) * to_gray)
    return tf.reshape(pixels, frame.shape)


def _rescale(params: AugmentParams, frame: tf.Tensor) -> tf.Tensor:
    height, width = frame.shape[:2]
    size = tf.maximum(1, tf.cast(tf.round(params.scale * tf.constant([height, width], tf.float32)), tf.int32))
    scaled = tf.clip_by_value(tf.image.resize(frame, size, antialias=True), 0, 1)
    for axis, (side, fraction) in enumerate(((height, params.top), (width, params.left))):
        space = tf.cast(size[axis] - side, tf.float32)
        places = tf.range(side) + tf.cast(tf.round(fraction * space), tf.int32)
        scaled = tf.gather(scaled, tf.clip_by_value(places, 0, size[axis] - 1), axis=axis)
    return scaled
