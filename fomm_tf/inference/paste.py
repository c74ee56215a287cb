"""Pastes an animated square back into the image that it was cropped from.

The square is matched in color and fades into the image in a strip along its border; pixels outside it, and those on the
border itself, keep their values exactly. There is no fading where the square ends at the image's own edge.

The strip is as wide as the distance that the training crops keep between a face and the border, so the object itself is
not blended. An object that moves into the strip fades there.

Source: Porter, Duff, Compositing Digital Images (SIGGRAPH 1984), for the blending; the colors are matched by their mean
difference in the strip, without the quarter of largest and smallest differences, which come from motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, video
from fomm_tf.data.prepare.segments import Square

# Width of the strip, as a fraction of the square's side.
_FEATHER = 0.1
# Fraction of the differences in the strip that is ignored at either end.
_TRIMMED = 0.25
# About how many pixels of the strip are compared.
_SAMPLES = 20_000
# Weight of a new frame's color difference in the running mean: colors must not flicker.
_UPDATE = 0.2


class _Region(NamedTuple):
    """The part of a square that lies in the frame: slices of the frame and of the square."""

    frame: tuple[slice, slice]
    square: tuple[slice, slice]


class Paster:
    """Pastes the frames of one animated square into images of one size.

    Args:
      square: the crop that was animated; it may extend beyond the image.
      frame_size: `(H, W)` of the images.
      others: further squares in the same images; each square gets the pixels that are nearest to its center.

    Raises:
      errors.UserError: if the square does not overlap the image.
    """

    def __init__(self, square: Square, frame_size: tuple[int, int], others: Sequence[Square] = ()) -> None:
        self._square, self._frame_size, self._others = square, tuple(frame_size), others
        self._difference: np.ndarray | None = None
        self._place()

    def move(self, square: Square) -> None:
        """Moves the square in the frames to come; the colors of the frames so far are kept."""
        if square != self._square:
            self._square = square
            self._place()

    def _place(self) -> None:
        self._region = _overlap(self._square, self._frame_size)
        self._alpha = blending_weights(self._square, self._frame_size, self._others)[..., np.newaxis]
        blended = (self._alpha[..., 0] > 0) & (self._alpha[..., 0] < 1)
        self._strip = np.nonzero(blended)
        if len(self._strip[0]) > _SAMPLES:
            step = -(-len(self._strip[0]) // _SAMPLES)
            self._strip = tuple(index[::step] for index in self._strip)

    def reset(self) -> None:
        """Forgets the colors of the frames so far: the next one belongs to another scene."""
        self._difference = None

    def __call__(self, image: np.ndarray, animated: np.ndarray) -> np.ndarray:
        """Pastes one frame.

        Args:
          image: `[H, W, 3]` uint8; not changed.
          animated: `[S, S, 3]` uint8, the animated square at any resolution.

        Returns:
          `[H, W, 3]` uint8, a copy of `image` that differs inside the square only.

        Raises:
          errors.UserError: if the image is not of the paster's size, or `animated` is not square.
        """
        if image.shape[:2] != self._frame_size:
            raise errors.UserError(f"image must be of size {list(self._frame_size)}; got {list(image.shape[:2])}.")
        if animated.shape[0] != animated.shape[1]:
            raise errors.UserError(
                f"paste-back needs a model of square frames; got frames of size {list(animated.shape[:2])}."
            )
        result = image.copy()
        inside = result[self._region.frame]
        side = (self._square.side, self._square.side)
        patch = video.resize(animated, side, "stretch")[self._region.square].astype(np.float32)
        patch += self._match(inside, patch)
        blended = inside + self._alpha * (patch - inside)
        inside[...] = np.rint(blended).clip(0, 255)
        return result

    def _match(self, inside: np.ndarray, patch: np.ndarray) -> np.ndarray | float:
        """The offset `[3]` that brings the patch to the colors of the image in the strip."""
        if not len(self._strip[0]):
            return 0.0
        differences = np.sort(inside[self._strip] - patch[self._strip], axis=0)
        trimmed = int(_TRIMMED * len(differences))
        current = differences[trimmed : len(differences) - trimmed].mean(axis=0)
        if self._difference is None:
            self._difference = current
        self._difference = self._difference + _UPDATE * (current - self._difference)
        return self._difference.astype(np.float32)


def blending_weights(square: Square, frame_size: tuple[int, int], others: Sequence[Square] = ()) -> np.ndarray:
    """The weights of the animated square in the image: 0 on its border, 1 from the strip inward.

    Args:
      square: may extend beyond the image; it does not fade where it ends at the image's edge.
      frame_size: `(H, W)`.
      others: squares of the same images; between two centers the weights of both fall to 0.

    Returns:
      `[h, w]` float32, for the part of the square in the image.

    Raises:
      errors.UserError: if the square does not overlap the image.
    """
    region = _overlap(square, frame_size)
    edges = []
    for part, start, length in zip(region.frame, (square.top, square.left), frame_size, strict=True):
        positions = np.arange(part.start, part.stop, dtype=np.float32)
        # Distances from the two borders across this axis; infinite for those at or beyond the image's edge.
        before = positions - start if start > 0 else np.full_like(positions, np.inf)
        after = start + square.side - 1 - positions if start + square.side < length else np.full_like(positions, np.inf)
        edges.append(np.minimum(before, after) / square.side)
    distance = np.minimum(edges[0][:, np.newaxis], edges[1])
    own = _center_distance(square, region.frame)
    for other in others:
        distance = np.minimum(distance, _center_distance(other, region.frame) - own)
    share = np.clip(distance / _FEATHER, 0, 1)
    return share * share * (3 - 2 * share)


def _center_distance(square: Square, part: tuple[slice, slice]) -> np.ndarray:
    """Distance of pixels from the square's center, in units of its side: 0.5 on its border."""
    rows, columns = (
        np.abs(np.arange(span.start, span.stop, dtype=np.float32) - (start + (square.side - 1) / 2)) / square.side
        for span, start in zip(part, (square.top, square.left), strict=True)
    )
    return np.maximum(rows[:, np.newaxis], columns)


def _overlap(square: Square, frame_size: tuple[int, int]) -> _Region:
    spans = [
        (max(start, 0), min(start + square.side, length))
        for start, length in zip((square.top, square.left), frame_size, strict=True)
    ]
    if any(start >= stop for start, stop in spans):
        raise errors.UserError(
            f"the square {square.side} x {square.side} at ({square.left}, {square.top}) lies outside the image, which "
            f"is {frame_size[1]} x {frame_size[0]}; choose another crop."
        )
    corner = (square.top, square.left)
    return _Region(
        tuple(slice(*span) for span in spans),
        tuple(slice(start - first, stop - first) for (start, stop), first in zip(spans, corner, strict=True)),
    )
