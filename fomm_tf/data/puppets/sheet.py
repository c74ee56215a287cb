"""A contact sheet: what puppets look like and how they move, at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fomm_tf.data.puppets import drawing
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose

_MOMENTS = 8


def draw_sheet(clips: Iterable[tuple[Identity, Sequence[Pose]]], side: int = 68) -> np.ndarray:
    """Draws a row a clip: eight moments, evenly spaced.

    Args:
      clips: who and in what poses.
      side: of each square moment, at least 32 pixels.

    Returns:
      `[rows * side, 8 * side, 3]` uint8 RGB.

    Raises:
      UserError: if the side is below 32.
    """
    rows = []
    for identity, poses in clips:
        moments = np.linspace(0, len(poses) - 1, _MOMENTS).round().astype(int)
        rows.append(np.concatenate([drawing.draw(identity, poses[moment], side) for moment in moments], axis=1))
    return np.concatenate(rows)
