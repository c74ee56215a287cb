"""Keypoints with their Jacobians, their computation from heatmaps, and Gaussian heatmaps of them (Eq. 2, 6).

Convention: see `fomm_tf.ops.grid`. All values are float32, also under mixed precision.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf.ops import grid as grid_ops
from fomm_tf.ops import tensors


class Keypoints(NamedTuple):
    """The first-order description of a frame: K points and the motion around each.

    Attributes:
      value: `[N, K, 2]` float32, T_{X<-R}(p_k) as (x, y).
      jacobian: `[N, K, 2, 2]` float32, dT_{X<-R}/dp at p_k; None in the zeroth-order model.
    """

    value: tf.Tensor
    jacobian: tf.Tensor | None

    def frame(self, number: int) -> Keypoints:
        """The keypoints of one frame: `[K, 2]` and `[K, 2, 2]`."""
        return Keypoints(*(None if part is None else part[number] for part in self))


def spatial_softmax(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Heatmaps that sum to one over the positions of each channel.

    Args:
      logits: `[B, h, w, K]` float.
      temperature: divides the logits; the smaller, the sharper the heatmap.

    Returns:
      `[B, h, w, K]` float32.

    Raises:
      ValueError: if `logits` is not of rank 4.
    """
    tensors.check_shape("logits", logits, "B h w K")
    batch, height, width, channels = tensors.sizes(logits)
    logits = tensors.at_least_float32(logits)
    flat = tf.reshape(logits / temperature, [batch, height * width, channels])
    return tf.reshape(tf.nn.softmax(flat, axis=1), [batch, height, width, channels])


def soft_argmax(heatmap: tf.Tensor) -> tf.Tensor:
    """Expected position under each heatmap; the grid spans [-1, 1], whatever the padding of the head.

    Args:
      heatmap: `[B, h, w, K]` float32, sums to one over the positions.

    Returns:
      `[B, K, 2]`, (x, y).

    Raises:
      ValueError: if `heatmap` is not of rank 4.
    """
    tensors.check_shape("heatmap", heatmap, "B h w K")
    _, height, width, _ = tensors.sizes(heatmap)
    grid = grid_ops.identity_grid(height, width, heatmap.dtype)
    return tf.reduce_sum(heatmap[..., tf.newaxis] * grid[tf.newaxis, :, :, tf.newaxis, :], axis=[1, 2])


def average_jacobian(heatmap: tf.Tensor, jacobian_maps: tf.Tensor) -> tf.Tensor:
    """Jacobian of each keypoint: the mean of its four map channels, weighted by its heatmap.

    Args:
      heatmap: `[B, h, w, K]` float32, sums to one over the positions.
      jacobian_maps: `[B, h, w, 4 K]` (channel 4 k + row-major 2x2), or `[B, h, w, 4]`: one map for all keypoints.

    Returns:
      `[B, K, 2, 2]` float32.

    Raises:
      ValueError: if the ranks or the channels do not fit.
    """
    tensors.check_shape("heatmap", heatmap, "B h w K")
    tensors.check_shape("jacobian_maps", jacobian_maps, "B h w 4K")
    batch, height, width, num_keypoints = tensors.sizes(heatmap)
    channels = jacobian_maps.shape[-1]
    if channels not in (4, 4 * num_keypoints):
        raise ValueError(f"jacobian_maps must have 4 or {4 * num_keypoints} channels; got {channels}.")
    maps = tf.reshape(tf.cast(jacobian_maps, heatmap.dtype), [batch, height, width, channels // 4, 4])
    mean = tf.reduce_sum(heatmap[..., tf.newaxis] * maps, axis=[1, 2])
    return tf.reshape(mean, [batch, num_keypoints, 2, 2])


def gaussian_heatmaps(value: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, variance: float) -> tf.Tensor:
    """exp(-|z - p_k|^2 / (2 variance)): the two terms of Eq. 6, with the reference's exponent.

    Args:
      value: `[B, K, 2]` float, (x, y).
      height: rows of the heatmaps.
      width: columns of the heatmaps.
      variance: in normalized units squared; 0.01 in the paper.

    Returns:
      `[B, height, width, K]` float32.

    Raises:
      ValueError: if `value` is not `[B, K, 2]`.
    """
    tensors.check_shape("value", value, "B K 2", last=2)
    value = tensors.at_least_float32(value)
    grid = grid_ops.identity_grid(height, width, value.dtype)
    offset = grid[tf.newaxis, :, :, tf.newaxis, :] - value[:, tf.newaxis, tf.newaxis, :, :]
    return tf.exp(-0.5 * tf.reduce_sum(tf.square(offset), axis=-1) / variance)
