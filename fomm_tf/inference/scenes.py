"""Scenes of a driving video: cuts, where relative motion starts, frames without the object, and repeated motion.

Each scene has its own initial frame: its first one that shows the object, or the best frame in the scene that has it.
In frames without the object, motion holds the last good frame; before the first good frame of a scene, the source keeps
its own pose. Everything is causal, so that live streams can use it.

Convention: frames are counted from 0; keypoints are as in `fomm_tf.ops.keypoints`, NumPy arrays or tensors.

Source: Siarohin et al., First Order Motion Model for Image Animation (2019), sec. 3.4, for relative motion; cuts are
found as in `fomm_tf.data.prepare.segments`.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from fomm_tf import errors, motion_filters
from fomm_tf.data.prepare import segments
from fomm_tf.structures import Keypoints

OnCut = Literal["restart", "continue", "stop"]
_CUTS_NAMED = 5


class Scenes:
    """The scenes of one pass over a driving video.

    Args:
      on_cut: what a cut does: `restart` relative motion, `continue` as if there were none, or `stop` before it.
      starts: first frames of scenes if they are known, as from a motion file; `watch` finds them otherwise.
      found: `[N]` bool, whether each frame shows the object; None if all do.
      smooth: filter of the keypoints, restarted at each scene; None for none.

    Attributes:
      starts: first frames of the scenes so far; the first one is 0.
      missing: number of frames so far that do not show the object.

    Raises:
      errors.UserError: if `on_cut` is unknown.
    """

    def __init__(
        self,
        on_cut: OnCut = "restart",
        starts: Sequence[int] = (0,),
        found: np.ndarray | None = None,
        smooth: motion_filters.KeypointSmoother | None = None,
    ) -> None:
        choices = typing.get_args(OnCut)
        if on_cut not in choices:
            raise errors.UserError(f"`on_cut` must be {', '.join(choices[:-1])} or {choices[-1]}; got {on_cut!r}.")
        self._on_cut, self._found, self._smooth = on_cut, found, smooth
        self.starts = list(starts) if on_cut == "restart" else [0]
        self.missing = 0
        self._stopped_at: int | None = None
        self._position = 0
        # Single frames: the best one, and of the current scene the one where motion starts and the last good one.
        self._best_start = -1
        self._best: Keypoints | None = None
        self._initial: Keypoints | None = None
        self._last: Keypoints | None = None

    def set_best(self, keypoints: Keypoints, index: int, starts: Iterable[int] = (0,)) -> None:
        """Sets the best frame, from which the motion of its scene starts.

        Args:
          keypoints: of the best frame, batch 1.
          index: of the best frame.
          starts: first frames of the scenes up to the best frame at least; later ones do not matter.
        """
        known = starts if self._on_cut == "restart" else (0,)
        self._best_start = max(start for start in (0, *known) if start <= index)
        self._best = keypoints.map(lambda part: np.asarray(part)[0])

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Passes frames through and adds to `starts` where a scene starts; ends before a cut if `on_cut` is `stop`.

        Args:
          frames: `[H, W, 3]` uint8 each, before they are cropped.
        """
        if self._on_cut == "continue":
            yield from frames
            return
        is_cut = segments.CutDetector()
        self.starts[:] = [0]
        for index, frame in enumerate(frames):
            if is_cut(frame):
                if self._on_cut == "stop":
                    self._stopped_at = index
                    return
                self.starts.append(index)
            yield frame

    def advance(self, keypoints: Keypoints) -> tuple[Keypoints, Keypoints]:
        """Holds and smooths the keypoints of the next N frames, and finds where their relative motion starts.

        Args:
          keypoints: of N frames, as detected.

        Returns:
          `driving` and `initial` for `fomm_tf.transfer`: float32 NumPy arrays of N frames. If all frames have the same
          initial frame, `initial` is of batch 1.
        """
        driving = keypoints.map(lambda part: np.array(part, np.float32))
        first, count = self._position, len(driving.value)
        self._position += count
        begins = [self._hold(driving, index, first) for index in range(count)]
        if self._smooth is not None:
            driving = self._smooth(driving, {index for index, is_first in enumerate(begins) if is_first})
        initials = [self._find_initial(driving, index, first, begins[index]) for index in range(count)]
        if all(initial is initials[0] for initial in initials):
            initials = initials[:1]
        stacked = (None if part[0] is None else np.stack(part) for part in zip(*initials, strict=True))
        return driving, Keypoints(*stacked)

    def _hold(self, driving: Keypoints, index: int, first: int) -> bool:
        """Replaces the keypoints of a frame without the object; returns whether it is the first good one of a scene."""
        if first + index in self.starts:
            self._last = None
        is_found = self._found is None or first + index >= len(self._found) or bool(self._found[first + index])
        if is_found:
            is_first, self._last = self._last is None, _copy_frame(driving, index)
            return is_first
        self.missing += 1
        held = self._last or (self._best if self._in_best_scene(first + index) else None)
        if held is not None:
            for part, value in zip(driving, held, strict=True):
                if part is not None:
                    part[index] = value
        return False

    def _find_initial(self, driving: Keypoints, index: int, first: int, is_first_good: bool) -> Keypoints:
        """The frame from which the motion of a frame starts."""
        if first + index in self.starts:
            self._initial = None
        if self._in_best_scene(first + index):
            return self._best
        if is_first_good:
            self._initial = _copy_frame(driving, index)
        return self._initial or _copy_frame(driving, index)  # its own: the source keeps its pose

    def _in_best_scene(self, index: int) -> bool:
        return self._best is not None and self._best_start == max(start for start in self.starts if start <= index)

    def describe_cuts(self, name: str) -> str | None:
        """Says where cuts were and what was done about them; None if there were none."""
        if self._stopped_at is not None:
            return f"{name}: stopped before the cut at frame {self._stopped_at}"
        cuts = self.starts[1:]
        if not cuts:
            return None
        named = ", ".join(map(str, cuts[:_CUTS_NAMED])) + (", ..." if len(cuts) > _CUTS_NAMED else "")
        number = f"{len(cuts)} cuts, at frames {named}" if len(cuts) > 1 else f"a cut at frame {named}"
        return f"{name}: {number}; relative motion restarts there"

    def describe_missing(self, name: str, what: str) -> str | None:
        """Says how many frames do not show the object; None if all do.

        Args:
          name: of the video.
          what: of the object, such as `face`.
        """
        if not self.missing:
            return None
        return (
            f"{name}: {self.missing} of {self._position} frames show no {what}; motion holds the last good frame there"
        )


def _copy_frame(keypoints: Keypoints, index: int) -> Keypoints:
    return keypoints.frame(index).map(np.array)


def check_loop(loop: int, endless: bool) -> None:
    """Checks how often a motion is played.

    Args:
      loop: 0 is until the source ends.
      endless: whether the source has no end, as an image.

    Raises:
      errors.UserError: if it is negative, or 0 for a source without end.
    """
    if loop < 0:
        raise errors.UserError(f"`loop` must be 0 or more; got {loop}.")
    if loop == 0 and endless:
        raise errors.UserError("`loop` 0 repeats the motion until the source video ends; an image needs at least 1.")


def count_frames(frames: int, loop: int, ping_pong: bool) -> int | None:
    """Number of frames of `repeat_motion` for a motion of some frames; None if it has no end."""
    return loop * (max(1, 2 * frames - 2) if ping_pong else frames) if loop else None


def repeat_motion(
    batches: Iterable[tuple[Keypoints, Keypoints]], loop: int, ping_pong: bool
) -> Iterator[tuple[Keypoints, Keypoints]]:
    """Repeats a motion; keeps its keypoints, about 500 bytes per frame, unless it is played once.

    Args:
      batches: driving and initial keypoints, from `Scenes.advance`.
      loop: how often it is played; 0 without end.
      ping_pong: play it forward, then backward without its last and first frame: repeated, it has no jump.
    """
    if loop == 1 and not ping_pong:
        yield from batches
        return
    kept = []
    for batch in batches:
        kept.append(batch)
        yield batch
    count = sum(len(driving.value) for driving, _ in kept)
    backward = [_reverse(*batch) for batch in reversed(kept)] if ping_pong and count > 2 else []
    if backward:
        backward = [_select(*backward[0], slice(1, None)), *backward[1:]]
        backward[-1] = _select(*backward[-1], slice(None, -1))
        backward = [batch for batch in backward if len(batch[0].value)]
    for index in range(loop) if loop else itertools.count():
        if index:
            yield from kept
        yield from backward


def cut_batch(driving: Keypoints, initial: Keypoints, count: int) -> tuple[Keypoints, Keypoints]:
    """The first `count` frames of a batch."""
    return _select(driving, initial, slice(count))


def _reverse(driving: Keypoints, initial: Keypoints) -> tuple[Keypoints, Keypoints]:
    return _select(driving, initial, slice(None, None, -1))


def _select(driving: Keypoints, initial: Keypoints, frames: slice) -> tuple[Keypoints, Keypoints]:
    """A slice of a batch; `initial` of batch 1 serves all frames."""
    is_shared = len(initial.value) == 1 < len(driving.value)
    selected = driving.map(lambda part: part[frames])
    return selected, initial if is_shared else initial.map(lambda part: part[frames])
