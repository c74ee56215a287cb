"""Settings of `fomm prepare`, and presets for known data sets."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
import typing

from fomm_tf import errors

Border = typing.Literal["shrink", "repeat"]
Format = typing.Literal["mp4", "png"]
Split = typing.Literal["identity", "time"]
# `crop` of whole frames.
WHOLE = "none"
_MIN_SIZE = 16
# Of the clips of one person: the part of each video that is held out, which takes one of two clips, and of the videos.
_HELD_OUT, _HELD_OUT_VIDEOS = 0.26, 0.2


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that determines the clips of given videos.

    Attributes:
      crop: detector of the boxes to track: `face`, `body`, `module:function`; `none` uses whole frames.
      size: side of the clips' frames, in pixels.
      format: `mp4`, or `png` for directories of frames, lossless.
      margin: side of the crop, relative to the longer side of the union of all boxes.
      edge_margin: minimum distance of a box from the crop's edge, as a fraction of the crop's side; if negative, boxes
        may extend beyond the crop.
      border: for a crop that does not fit into the frame: `shrink` it, or `repeat` the frame's edge pixels.
      min_side: minimum side of the crop before it is resized, in pixels; by default `size`.
      min_frames: shorter clips are dropped.
      max_frames: longer clips are split.
      min_iou: a clip ends when the box's IoU with the first box is lower.
      cuts: end a clip where the scene changes.
      fps: frames per second; None keeps each video's rate. Directories of frames are not resampled.
      split: `identity` puts some identities into the test split, `time` the last clips of each video.
      test_share: fraction of the identities, or of each video's clips, in the test split.
      test_identities: identities in the test split; with `split` `identity` they replace `test_share`.
      identity: regular expression whose group 1 is the identity in a video's path below its directory; if it does not
        match, or is None, the identity is the topmost directory or the part of the name before `#`.

    Raises:
      UserError: if a value is invalid.
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
            self._require(getattr(self, name) in typing.get_args(kind), name, " or ".join(typing.get_args(kind)))
        self._require(self.size >= _MIN_SIZE, "size", f"at least {_MIN_SIZE}")
        self._require(self.format != "mp4" or self.size % 2 == 0, "size", "even for mp4")
        self._require(1 <= self.margin < math.inf, "margin", "at least 1")
        self._require(-1 <= self.edge_margin < 0.5, "edge_margin", "at least -1 and below 0.5")
        self._require(self.min_side is None or self.min_side >= 1, "min_side", "at least 1")
        self._require(self.min_frames >= 2, "min_frames", "at least 2, for a training pair")
        self._require(self.max_frames >= self.min_frames, "max_frames", f"at least `min_frames`, {self.min_frames}")
        self._require(0 <= self.min_iou < 1, "min_iou", "at least 0 and below 1")
        self._require(self.fps is None or 0 < self.fps <= 1000, "fps", "above 0 and at most 1000")
        self._require(0 <= self.test_share < 1, "test_share", "at least 0 and below 1")
        if self.identity is not None:
            try:
                groups = re.compile(self.identity).groups
            except re.error as error:
                message = f"`identity` must be a regular expression; got {self.identity!r}: {error}."
                raise errors.UserError(message) from None
            self._require(groups >= 1, "identity", "a regular expression with a group, (...), for the identity")

    @property
    def min_crop_side(self) -> int:
        """Minimum side of the crop before it is resized, in pixels."""
        return self.size if self.min_side is None else self.min_side

    def _require(self, valid: bool, name: str, expected: str) -> None:
        if not valid:
            raise errors.UserError(f"`{name}` must be {expected}; got {getattr(self, name)}.")


# The boxes of bodies hold stretched arms and legs, so they may extend beyond the crop.
_CROPS = {"face": {}, "body": {"margin": 1.0, "edge_margin": -1.0}, WHOLE: {"margin": 1.0, "edge_margin": -1.0}}
# The published clips of these data sets are cropped already and have no scene cuts.
_UNCHANGED = {"crop": WHOLE, "cuts": False, "min_side": 1, "min_frames": 2}

PRESETS = {
    "vox": {},
    "nemo": {"identity": r"(?:^|/)(\d+)_[^/]*$"},
    "taichi": {"crop": "body", "min_frames": 128},
    "bair": {**_UNCHANGED, "format": "png"},
    "mgif": {**_UNCHANGED, "format": "png", "border": "repeat"},
    "fashion": {**_UNCHANGED, "border": "repeat"},
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
# Presets whose videos `fomm fetch` can download.
FETCHED = ("faces", "bodies")


def choose(preset: str | None, overrides: dict[str, object]) -> Settings:
    """The settings of a preset with overrides; other defaults depend on `crop`.

    Raises:
      UserError: if the preset does not exist or a value is invalid.
    """
    if preset is not None and preset not in PRESETS:
        raise errors.UserError(f"`preset` must be one of {', '.join(PRESETS)}; got {preset!r}.")
    chosen = {**(PRESETS[preset] if preset else {}), **overrides}
    # Nothing is known about the boxes of a user's detector.
    defaults = _CROPS.get(chosen.get("crop", Settings.crop), {"margin": 1.0, "edge_margin": 0.0})
    return Settings(**{**defaults, **chosen})


def fit_recipe(frame_size: tuple[int, int]) -> dict[str, object]:
    """Settings whose clips fit a model: its size, crops that are enlarged twofold at most, and also short clips.

    Args:
      frame_size: `(H, W)` of the model.
    """
    side = max(frame_size)
    return {"size": side, "min_side": max(1, side // 2), "min_frames": 16}


class Facts(typing.NamedTuple):
    """What is known of a video from its header and first frame.

    Attributes:
      identity: the person or object in it.
      frames: number of frames; None if its header does not tell.
      side: the shorter side of its frames.
      has_face: whether a face was found in its first frame.
    """

    identity: str
    frames: int | None
    side: int
    has_face: bool = False


def fit_videos(
    videos: typing.Sequence[Facts], frame_size: tuple[int, int], crop: str, hold_out: bool = False
) -> Settings:
    """The settings for a few videos that one model is to be trained on: as little as possible is dropped.

    Args:
      videos: what is known of them.
      frame_size: `(H, W)` of the model.
      crop: as in `Settings`.
      hold_out: put whole videos into the test split, or the last part of each video if all have one identity. By
        default the clips are not split, which training does: it keeps at least one of them for tests.
    """
    chosen = fit_recipe(frame_size) | {"crop": crop, "test_share": 0.0, "split": "time"}
    by_time = hold_out and len({video.identity for video in videos}) == 1
    if hold_out:
        chosen |= {"test_share": _HELD_OUT} if by_time else {"test_share": _HELD_OUT_VIDEOS, "split": "identity"}
    counts = [video.frames for video in videos if video.frames]
    if counts:
        typical = int(statistics.median(counts))
        chosen["min_frames"] = max(2, min(16, typical // 2))
        # A few clips of each of a few videos, so that there is one to test on.
        pieces = max(4 if by_time else 1, round(6 / len(videos)))
        chosen["max_frames"] = max(chosen["min_frames"], min(1024, typical // pieces))
    if crop == WHOLE:
        chosen["min_side"] = min([chosen["min_side"], *(video.side for video in videos)])
    return choose(None, chosen)
