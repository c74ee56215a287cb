"""What each kind of figure shows, after the paper's figures 3, 4, 9 and 10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fomm_tf.figures import layout
from fomm_tf.figures import material as materials

if TYPE_CHECKING:
    from fomm_tf.figures.seeing import Seen

Rows = tuple[list[layout.Row], list[str]]

# The order of the rows of `motion`, below the frames.
_PANELS = ("deformed", "occlusion", "masks", "result")


class Kind(NamedTuple):
    """A kind of figure.

    Attributes:
      text: what it shows.
      needs_source, needs_driving: whether it cannot do without.
      renders: whether sources are animated for it.
      rows: rows and columns, of the material and of what each run saw.
    """

    text: str
    needs_source: bool
    needs_driving: bool
    renders: bool
    rows: Callable[[materials.Material, Sequence[Seen]], Rows]


def _reconstruction(material: materials.Material, runs: Sequence[Seen]) -> Rows:
    rows = [layout.Row("driving", [None, *runs[0].frames])]
    for number, seen in enumerate(runs):
        (shown,) = seen.shown
        rows.append(layout.Row(seen.name, [None if number else seen.sources[0], *shown["result"]]))
    return rows, ["first frame", *_times(material)]


def _animation(material: materials.Material, runs: Sequence[Seen]) -> Rows:
    rows = [layout.Row("driving", [None, *runs[0].frames])]
    for place, name in enumerate(material.names):
        for number, seen in enumerate(runs):
            label = seen.name if len(runs) > 1 else name
            source = None if number else seen.sources[place]
            rows.append(layout.Row(label, [source, *seen.shown[place]["result"]], apart=not number))
    return rows, ["source", *_times(material)]


def _keypoints(material: materials.Material, runs: Sequence[Seen]) -> Rows:
    rows = [layout.Row(seen.name, [*seen.marked_sources, *seen.marked_frames]) for seen in runs]
    return rows, [*material.names, *_times(material)]


def _motion(material: materials.Material, runs: Sequence[Seen]) -> Rows:
    rows = []
    for place in range(len(material.names)):
        for seen in runs:
            shown = seen.shown[place]
            # The keypoints are a run's own: so is the row of driving frames.
            label = "driving" if len(runs) == 1 else seen.name
            rows.append(layout.Row(label, [seen.marked_sources[place], *seen.marked_frames], apart=bool(rows)))
            rows += [layout.Row(panel, [None, *shown[panel]]) for panel in _PANELS if panel in shown]
    return rows, ["source", *_times(material)]


def _times(material: materials.Material) -> list[str]:
    return [f"{time:.2f} s" for time in material.times]


KINDS = {
    "reconstruction": Kind(
        "a clip rebuilt from its first frame and its frames' keypoints, a row a run (Fig. 3)",
        False,
        True,
        True,
        _reconstruction,
    ),
    "animation": Kind(
        "sources moved by a clip, sources and runs down, driving frames across (Fig. 4)", True, True, True, _animation
    ),
    "keypoints": Kind("keypoints on sources and frames, a row a run (Fig. 9)", False, False, False, _keypoints),
    "motion": Kind(
        "the source deformed, the occlusion map, the masks and the result, for each frame (Fig. 10)",
        True,
        True,
        True,
        _motion,
    ),
}
