"""What is evaluated: metrics, the detectors that they need, and the videos of a test set or a list of pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import config, detectors, errors, files, video
from fomm_tf.data import frames, layout

RECONSTRUCTION, ANIMATION = "reconstruction", "animation"
# What is evaluated: the model, and the baseline that repeats the source frame as the prediction.
MODEL, SOURCE_COPY = PREDICTORS = ("model", "source_copy")


class Column(NamedTuple):
    """A column of the tables."""

    metric: str  # the name by which it is requested
    title: str  # with its unit
    digits: int  # digits after the decimal point
    missing: str = ""  # when a frame has no value


_NO_POINT = "no point detected in both frames"
_NO_FACE = "no face detected in one of the two frames"
COLUMNS = {
    "l1": Column("l1", "L1", 4),
    "akd": Column("akd", "AKD, pixels", 3, _NO_POINT),
    "akd_script": Column("akd", "AKD as the authors' script, pixels", 3, _NO_POINT),
    "mkr": Column("mkr", "MKR", 4, "no point detected in the ground truth frame"),
    "aed": Column("aed", "AED", 4, _NO_FACE),
    "aed_script": Column("aed", "AED as the authors' script (squared)", 4, _NO_FACE),
    "psnr": Column("psnr", "PSNR, dB", 2, "equal frames, for which it is infinite"),
    "ssim": Column("ssim", "SSIM", 4),
    "perceptual": Column("perceptual", "perceptual distance", 4, "a layer without features"),
    "identity": Column("identity", "embedding distance to the source", 4, _NO_FACE),
    "motion": Column("motion", "motion distance to the driving video, object sizes", 4, "no point in all four frames"),
}
METRICS = tuple(dict.fromkeys(column.metric for column in COLUMNS.values()))
# Metrics without ground truth, for animations only.
REFERENCE_FREE = ("identity", "motion")

AUTO = "auto"
# Detectors of points and embeddings by what they detect; there is no embedding network for bodies here.
DETECTORS = {"faces": ("face-points", "face-identity"), "bodies": ("body-points", None)}
_NEED_POINTS, _NEED_EMBEDDINGS = {"akd", "mkr", "motion"}, {"aed", "identity"}
# Number of clips whose first frames `auto` looks at.
_SAMPLED_CLIPS = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured and written.

    Attributes:
      metrics: some of `METRICS`.
      detector: `faces`, `bodies`, `auto`, or `module:function` for custom points; see `fomm_tf.detectors`.
      embedding: `face-identity` or `module:function`; None is the detector's own, if it has one.
      fit: how frames are resized to the model's size; see `fomm_tf.video.resize`.
      batch_size: frames per batch.
      videos: write each result as an mp4.
      png: write each result's frames as PNG images.
      side_by_side: show source, driving frame and result in a row in the mp4.

    Raises:
      errors.UserError: for an unknown metric or a batch size below 1.
    """

    metrics: tuple[str, ...] = METRICS
    detector: str = AUTO
    embedding: str | None = None
    fit: str = "crop"
    batch_size: int = 8
    videos: bool = False
    png: bool = False
    side_by_side: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            got = f"{', '.join(map(repr, unknown))}" if unknown else "none"
            raise errors.UserError(f"`metrics` must be some of {', '.join(METRICS)}; got {got}.")
        if self.batch_size < 1:
            raise errors.UserError(f"`batch_size` must be at least 1; got {self.batch_size}.")


def select_metrics(settings: Settings, animated: bool, has_truth: bool) -> Settings:
    """Keeps the metrics that apply to a task.

    Args:
      settings: the requested settings.
      animated: pairs are animated; otherwise clips are reconstructed.
      has_truth: at least one video has ground truth.

    Raises:
      errors.UserError: if no metric is left.
    """
    kept = [name for name in settings.metrics if (animated if name in REFERENCE_FREE else has_truth)]
    if not kept:
        task = "animations without ground truth" if animated else "reconstructions"
        fix = "give pairs with a truth" if animated else "give `pairs`"
        raise errors.UserError(
            f"`metrics`: {', '.join(settings.metrics)} cannot be measured for {task}; {fix}, or other metrics."
        )
    return dataclasses.replace(settings, metrics=tuple(kept))


class Detectors(NamedTuple):
    """The detectors that are used."""

    points: str | None  # a name for `detectors.load_points`, or None
    embedding: str | None  # a name for `detectors.load_embedding`, or None
    note: str = ""  # how they were chosen, and what is not measured for want of one; may be empty


def choose_detectors(settings: Settings, videos: Sequence[Path]) -> Detectors:
    """Chooses the detectors that the metrics need; `auto` decides by the first frames of some videos.

    Raises:
      errors.UserError: for an unknown detector, or if its networks cannot be fetched.
    """
    needs_points, needs_embedding = (
        bool(set(settings.metrics) & metrics) for metrics in (_NEED_POINTS, _NEED_EMBEDDINGS)
    )
    note, kind = "", settings.detector
    if kind == AUTO and (needs_points or (needs_embedding and settings.embedding is None)):
        kind, note = _detect_kind(videos)
    points, embedding = DETECTORS.get(kind, (None if kind == AUTO else kind, None))
    embedding = settings.embedding or embedding
    points, embedding = (points if needs_points else None), (embedding if needs_embedding else None)
    missing = [
        name
        for name in settings.metrics
        if (name in _NEED_POINTS and points is None) or (name in _NEED_EMBEDDINGS and embedding is None)
    ]
    if missing:
        note = f"{note} Not measured, since there is no detector for them: {', '.join(missing)}.".strip()
    # Custom detectors are loaded here too, so that a bad one is an error before anything is computed.
    for name, known in ((points, detectors.POINTS), (embedding, detectors.EMBEDDINGS)):
        if name is not None and name not in known:
            load = detectors.load_points if known is detectors.POINTS else detectors.load_embedding
            load(name)
    return Detectors(points, embedding, note)


def _detect_kind(videos: Sequence[Path]) -> tuple[str, str]:
    """Whether videos show faces or bodies, by the first frames of some; `auto` if neither; and a sentence about it."""
    images = []
    for index in np.unique(np.linspace(0, len(videos) - 1, min(_SAMPLED_CLIPS, len(videos))).round().astype(int)):
        try:
            images.append(next(iter(video.open_video(videos[index]))))
        except errors.UnreadableError:  # reported when the video is evaluated
            continue
    detect = {"faces": detectors.load_boxes("face"), "bodies": detectors.load_boxes("body")}
    counts = {kind: sum(len(boxes.score) > 0 for boxes in detect[kind](images)) for kind in detect}
    summary = f"{counts['faces']} of {len(images)} first frames show a face, {counts['bodies']} a body"
    # The body detector takes a large face for a body; the face detector misses the small faces of whole bodies.
    kind = next((kind for kind in ("faces", "bodies") if counts[kind] * 2 >= len(images) > 0), AUTO)
    return kind, f"{summary}: {'neither is' if kind == AUTO else f'{kind} are'} detected."


class Sample(NamedTuple):
    """A video to generate and to evaluate."""

    task: str  # `reconstruction` or `animation`
    name: str  # unique within the task
    source: Path  # an image, or a video whose first frame is the source
    driving: Path  # a video
    truth: Path | None  # the ground truth video; None if unknown
    group: str = ""  # `seen` for an identity that is in the training split too, else `unseen`; empty if unknown


class Dataset(NamedTuple):
    """The videos to evaluate."""

    samples: tuple[Sample, ...]  # in the order of their names
    description: str  # which videos these are


def list_clips(root: Path, trained_on: config.DataConfig, exclude: Path | None = None) -> Dataset:
    """Lists the test clips of a data set, to be reconstructed.

    Args:
      root: a data set with a test/ split (see `fomm_tf.data.frames`), or any directory of clips: all of them, except
        those that the run was trained on.
      trained_on: the run's training set and its split.
      exclude: directory to ignore.

    Raises:
      errors.UserError: if `root` is not a directory or holds no clip.
    """
    if not root.is_dir():
        raise errors.UserError(f"`data` {root} is not a directory; give one of videos, or one with a test/ split.")
    has_splits = bool(layout.split_folders(root))
    is_training_set = Path(trained_on.root).resolve() == root.resolve()
    training = layout.Clips(root, [])
    if has_splits or is_training_set:
        split = {"test_share": trained_on.test_share, "seed": trained_on.split_seed} if is_training_set else {}
        splits = frames.find_splits(root, exclude=exclude, **split)
        training, clips = splits["train"], splits["test"]
        note = f"the clips of {clips.folder if has_splits else f'{root} that the run was not trained on'}"
    else:
        clips, note = layout.find_clips(root, exclude), f"all clips of {root}"
    if not clips.paths:
        raise errors.UserError(f"{clips.folder} holds no clips; {layout.LAYOUTS}.")
    clips.warn(training.paths)
    seen = {training.identity(path) for path in training.paths}
    names = list(map(clips.name, clips.paths))
    if len(set(names)) < len(names):
        names = ["#".join(path.relative_to(clips.folder).parts) for path in clips.paths]
    names = map(files.safe_name, names)
    groups = [("seen" if clips.identity(path) in seen else "unseen") if seen else "" for path in clips.paths]
    samples = (
        Sample(RECONSTRUCTION, name, path, path, path, group)
        for name, path, group in zip(names, clips.paths, groups, strict=True)
    )
    return Dataset(tuple(samples), note)


def list_pairs(root: Path, pairs: Path) -> Dataset:
    """Lists the pairs of a CSV file, whose paths are relative to `root`; see `fomm_tf.data.layout.read_pairs`.

    Raises:
      errors.UserError: if the file cannot be read or `root` is not a directory.
    """
    if not root.is_dir():
        raise errors.UserError(
            f"`data` {root} is not a directory; give the one that the paths of the pairs are relative to."
        )
    samples = (
        Sample(ANIMATION, pair.name, root / pair.source, root / pair.driving, root / pair.truth if pair.truth else None)
        for pair in layout.read_pairs(pairs)
    )
    return Dataset(tuple(samples), f"the pairs of {pairs}")
