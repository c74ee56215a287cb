"""Contact sheets: clips as rows of frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fomm_tf.data.people import clips


def draw_sheet(rows: Iterable[clips.Clip]) -> np.ndarray:
    """Draws every frame of clips of one size and length, a row each: `[rows * S, F * S, 3]` uint8."""
    return np.concatenate([np.concatenate([frame.image for frame in clips.render(clip)], axis=1) for clip in rows])
