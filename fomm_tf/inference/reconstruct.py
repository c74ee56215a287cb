"""The proxy task: a clip rebuilt from its first frame and each frame's keypoints (paper, sec. 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.inference import animate, animator, metrics


class Scores(NamedTuple):
    """How near a clip's frames, the first left out, are to the true ones: means over the frames.

    Attributes:
      l1: see `metrics.l1`.
      psnr: in dB.
      ssim: at most 1.
    """

    l1: float
    psnr: float
    ssim: float


def reconstruct(model: animator.Animator, clip: np.ndarray, batch_size: int = animate.DEFAULT_BATCH) -> np.ndarray:
    """Rebuilds a clip.

    Args:
      model: the animator.
      clip: `[F, H, W, 3]`, uint8 or float in [0, 1].
      batch_size: frames a batch.

    Returns:
      `[F, H, W, 3]` float32 in [0, 1].

    Raises:
      errors.UserError: if the frames are not such.
    """
    source = model.encode_source(clip[0])
    batches = [clip[begin : begin + batch_size] for begin in range(0, len(clip), batch_size)]
    return np.concatenate([model.render(source, model.detect(batch)).prediction.numpy() for batch in batches])


def score(predicted: np.ndarray, expected: np.ndarray) -> Scores:
    """Compares two clips from the second frame on: the first one is given away by the source.

    Args:
      predicted: `[F, H, W, 3]` in [0, 1], two frames at least; `[1, H, W, 3]` is one picture for all frames.
      expected: `[F, H, W, 3]`.
    """
    expected = expected[1:]
    predicted = np.broadcast_to(predicted, expected.shape) if len(predicted) == 1 else predicted[1:]
    return Scores(*(float(metric(predicted, expected).mean()) for metric in (metrics.l1, metrics.psnr, metrics.ssim)))
