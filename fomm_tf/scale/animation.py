"""`fomm animate-set` as a pipeline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fomm_tf import errors
from fomm_tf.scale import items, storage


class Task(NamedTuple):
    """A pair to animate: the paths or URLs of the source, of what drives it, and of the video to write."""

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


def animate_urls(function: Callable[[Task], Animated], task: Task) -> Animated:
    """Calls a function that knows local paths only, with copies of what is at URLs, and copies the result there."""
    if not any(map(storage.is_url, task)):
        return function(task)
    with tempfile.TemporaryDirectory() as place:
        names = storage.Names(place)
        source, driving = names.fetch(task.source), names.fetch(task.driving)
        is_remote = storage.is_url(task.out)
        out = names.add(task.out) if is_remote else Path(task.out)
        try:
            animated = function(Task(str(source), str(driving), str(out)))
        except errors.UserError as error:
            error.args = (names.show(error),)
            raise
        if is_remote:
            storage.upload(out, task.out)
    lines, messages = (tuple(map(names.show, texts)) for texts in (animated.lines, animated.warnings))
    return Animated(animated.frames, lines, messages)
