"""`fomm animate-set` as a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fomm_tf.scale import items


class Task(NamedTuple):
    """A pair to animate: the paths of the source, of what drives it, and of the video to write."""

    source: str
    driving: str
    out: str


class Animated(NamedTuple):
    """What became of a pair.

    Attributes:
      frames: number of frames that were written.
      lines: about choices that were made, such as crops.
      warnings: why the result may not be good.
    """

    frames: int
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class AnimatePairs(items.ProcessItems):
    """Animates pairs: a PCollection of `Task` becomes one of `Animated`.

    Args:
      function: animates a `Task` and returns an `Animated`.
    """

    @staticmethod
    def name_item(item: Task) -> str:
        return item.out

    @staticmethod
    def count(result: Animated) -> Mapping[str, int]:
        return {"pairs kept": 1, "frames kept": result.frames}

    @staticmethod
    def from_json(value: Any) -> Animated:
        frames, lines, warnings = value
        return Animated(frames, tuple(lines), tuple(warnings))
