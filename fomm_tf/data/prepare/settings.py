"""What `fomm prepare` can be told, and the rows of settings that known data sets need."""

from __future__ import annotations

import dataclasses
import math
import re
import typing

from fomm_tf import errors

Border = typing.Literal["shrink", "repeat"]
Format = typing.Literal["mp4", "png"]
Split = typing.Literal["identity", "time"]
WHOLE = "none"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything but the videos that decides which clips there are.

    Attributes:
      crop: the detector of boxes that are followed: `face`, `body`, `module:function`; `none` takes whole frames.
      size: side of the clips' frames, in pixels.
      format: `mp4`, or `png` for folders of frames, lossless.
      margin: side of the crop, in units of the longer side of what holds all boxes.
      edge_margin: least distance between a box and the crop's edge, as a share of the crop's side; negative lets the
        boxes stick out.
      border: what becomes of a crop that does not fit into the frame: it shrinks, or the frame's edge is repeated.
      min_side: least side of the crop before it is resized, in pixels; None is `size`.
      min_frames: what is shorter is dropped.
      max_frames: what is longer is cut into pieces.
      min_iou: the object is too far away when its box shares less than this of its union with the first one.
      cuts: end a clip where the scene changes.
      fps: frames a second; None keeps each video's own. Folders of frames are taken as they are.
      split: `identity` takes some identities for testing, `time` the last clips of each video.
      test_share: of the identities, or of each video's clips, that are for testing.
      test_identities: are for testing wholly; with `identity` in the place of `test_share`, if any are given.
      identity: pattern that finds the identity in a video's path below its folder, in group 1; where it does not, or
        if it is None, it is the topmost folder or the part of the name before `#`.

    Raises:
      UserError: if a value will not do.
    """

    crop: str = "face"
    size: int = 256
    format: Format = "mp4"
    margin: float = 1.7
    edge_margin: float = 0.1
    border: Border = "shrink"
    min_side: int | None = None
    min_frames: int = 64
    max_frames: int = 1024
    min_iou: float = 0.25
    cuts: bool = True
    fps: float | None = None
    split: Split = "identity"
    test_share: float = 0.1
    test_identities: tuple[str, ...] = ()
    identity: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (("border", Border), ("format", Format), ("split", Split)):
            _require(getattr(self, name) in typing.get_args(kind), self, name, f"give {_either(kind)}")
        least_size = 16
        _require(self.size >= least_size, self, "size", f"give at least {least_size}")
        _require(self.format != "mp4" or self.size % 2 == 0, self, "size", "an mp4 needs an even one")
        _require(1 <= self.margin < math.inf, self, "margin", "give 1 or more")
        _require(-1 <= self.edge_margin < 0.5, self, "edge_margin", "give -1 or more, below 0.5")
        _require(self.min_side is None or self.min_side >= 1, self, "min_side", "give at least 1")
        _require(self.min_frames >= 2, self, "min_frames", "a training pair needs 2")
        _require(self.max_frames >= self.min_frames, self, "max_frames", f"min-frames is {self.min_frames}")
        _require(0 <= self.min_iou < 1, self, "min_iou", "give 0 or more, below 1")
        _require(self.fps is None or 0 < self.fps <= 1000, self, "fps", "give a rate above 0, at most 1000")
        _require(0 <= self.test_share < 1, self, "test_share", "give 0 or more, below 1")
        if self.identity is not None:
            try:
                groups = re.compile(self.identity).groups
            except re.error as error:
                raise errors.UserError(f"--identity {self.identity!r} is no regular expression: {error}.") from None
            _require(groups >= 1, self, "identity", "put brackets around the part that is the identity")

    @property
    def least_side(self) -> int:
        """Of the crop, in pixels."""
        return self.size if self.min_side is None else self.min_side


def _require(fits: bool, settings: Settings, name: str, cure: str) -> None:
    if not fits:
        raise errors.UserError(f"--{name.replace('_', '-')} is {getattr(settings, name)}; {cure}.")


def _either(kind: object) -> str:
    return " or ".join(typing.get_args(kind))


# The detector of bodies gives a circle's square that holds arms and legs stretched: it may well stick out.
_CROPS = {"face": {}, "body": {"margin": 1.0, "edge_margin": -1.0}, WHOLE: {"margin": 1.0, "edge_margin": -1.0}}
# The published clips of these sets show their object already, and nothing is cut within them.
_AS_IT_IS = {"crop": WHOLE, "cuts": False, "min_side": 1, "min_frames": 2}

PRESETS = {
    "vox": {},
    "nemo": {"identity": r"(?:^|/)(\d+)_[^/]*$"},
    "taichi": {"crop": "body", "min_frames": 128},
    "bair": {**_AS_IT_IS, "format": "png"},
    "mgif": {**_AS_IT_IS, "format": "png", "border": "repeat"},
    "fashion": {**_AS_IT_IS, "border": "repeat"},
    "faces": {
        "size": 128,
        "format": "png",
        "min_side": 96,
        "max_frames": 64,
        "split": "time",
        "test_share": 0.15,
        "test_identities": ("single_face",),
    },
    "bodies": {
        "crop": "body",
        "size": 128,
        "format": "png",
        "min_frames": 32,
        "fps": 30.0,
        "test_share": 0.0,
        "test_identities": ("cam03",),
    },
}
# Presets whose videos `fomm fetch` has.
FETCHED = ("faces", "bodies")


def choose(preset: str | None, given: dict[str, object]) -> Settings:
    """The settings of a preset, changed by what is given; the rest depends on the crop.

    Raises:
      UserError: if there is no such preset or a value will not do.
    """
    if preset is not None and preset not in PRESETS:
        raise errors.UserError(f"There is no preset {preset!r}; there is: {', '.join(PRESETS)}.")
    chosen = {**(PRESETS[preset] if preset else {}), **given}
    # Of a detector of the user's nothing is known but that it draws boxes.
    defaults = _CROPS.get(chosen.get("crop", Settings.crop), {"margin": 1.0, "edge_margin": 0.0})
    return Settings(**{**defaults, **chosen})
