"""The options of `fomm animate` that the page offers, and their names in its errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr

_CROPS = ["auto", "off", "face", "body"]


class Option(NamedTuple):
    """An option.

    Attributes:
      name: of the option, without dashes.
      label: on the page.
      default: the value for which the option is not given.
      info: one sentence.
      choices: if it is one of several words.
      range: lowest and highest value and step, if it is a number to slide.
    """

    name: str
    label: str
    default: object
    info: str
    choices: Sequence[str] = ()
    range: tuple[float, float, float] | None = None

    def component(self) -> gr.components.Component:
        """The component that sets it."""
        if self.choices:
            return gr.Dropdown(list(self.choices), value=self.default, label=self.label, info=self.info)
        if self.range is not None:
            low, high, step = self.range
            return gr.Slider(low, high, value=self.default, step=step, label=self.label, info=self.info)
        if isinstance(self.default, bool):
            return gr.Checkbox(value=self.default, label=self.label, info=self.info)
        return gr.Number(value=self.default, label=self.label, info=self.info)

    def text(self, value: object) -> str | None:
        """A value as `fomm animate` takes it; None for the default."""
        if value is None or value == self.default:
            return None
        if isinstance(self.default, bool):
            return "yes" if value else "no"
        return f"{value:g}" if isinstance(value, float) else str(value)


SHOWN = (
    Option(
        "mode",
        "Motion",
        "relative",
        "since the first driving frame, or the driving pose itself",
        ("relative", "absolute"),
    ),
    Option("smooth", "Smoothing", 0.0, "reduces jitter; 1 is a good value", range=(0.0, 10.0, 0.5)),
    Option("paste-back", "Paste back", False, "puts the animated crop back into the whole source"),
)
FOLDED = (
    Option(
        "best-frame",
        "Start from",
        "off",
        "off: the first driving frame; auto: the one closest in pose",
        ("off", "auto"),
    ),
    Option("motion-strength", "Motion strength", 1.0, "above 1 exaggerates", range=(0.0, 2.0, 0.1)),
    Option("adapt-scale", "Adapt scale", False, "scales the motion by the sizes of the two objects"),
    Option("crop-source", "Crop of the source", "auto", "what is animated; auto: as in the model's training", _CROPS),
    Option("crop-driving", "Crop of the driving video", "auto", "the same for the driving video", _CROPS),
    Option("face", "Face", "largest", "all needs Paste back", ("largest", "all", "1", "2", "3", "4")),
    Option("fit", "Fit", "crop", "how a whole image is brought to the model's size", ("crop", "pad", "stretch")),
    Option("on-cut", "At cuts", "restart", "what a cut in the driving video does", ("restart", "continue", "stop")),
    Option("start", "Start", None, "seconds into the driving video"),
    Option("duration", "Duration", None, "seconds of the driving video"),
    Option("ping-pong", "Forward and backward", False, "plays the motion forward, then backward"),
    Option("side-by-side", "Side by side", False, "shows source and driving frame in the video too"),
    Option("audio", "Audio", True, "copies the driving video's audio"),
)
ALL = (*SHOWN, *FOLDED)
_LABELS = {option.name: option.label for option in ALL} | {"crop": "Crop of the source", "out": "the output"}


def read_options(values: Sequence[object]) -> dict[str, str]:
    """The options that differ from the defaults, by name, as text; `values` are in the order of `ALL`."""
    texts = {option.name: option.text(value) for option, value in zip(ALL, values, strict=True)}
    return {name: text for name, text in texts.items() if text is not None}


def name_labels(line: str) -> str:
    """Replaces options, and parameters in backquotes, by their labels on the page; leaves other names as they are."""

    def replace(match: re.Match[str]) -> str:
        return _LABELS.get((match[1] or match[2]).replace("_", "-"), match[0])

    return re.sub(r"`(\w+)`|--([a-z][a-z-]*)", replace, line)
