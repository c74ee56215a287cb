"""What is measured, and by which detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, video


class Metric(NamedTuple):
    """How a column of the tables is told.

    Attributes:
      asked: the name by which it is asked for.
      title: with its unit.
      digits: behind the decimal point.
      left_out: when a frame has no such number.
    """

    asked: str
    title: str
    digits: int
    left_out: str = ""


_NO_POINT = "no point found in both frames"
_NO_FACE = "nothing to embed found in one of the two frames"
COLUMNS = {
    "l1": Metric("l1", "L1", 4),
    "akd": Metric("akd", "AKD, pixels", 3, _NO_POINT),
    "akd_script": Metric("akd", "AKD as the authors' script, pixels", 3, _NO_POINT),
    "mkr": Metric("mkr", "MKR", 4, "no point found in the true frame"),
    "aed": Metric("aed", "AED", 4, _NO_FACE),
    "aed_script": Metric("aed", "AED as the authors' script (squared)", 4, _NO_FACE),
    "psnr": Metric("psnr", "PSNR, dB", 2, "equal frames, of which it is infinite"),
    "ssim": Metric("ssim", "SSIM", 4),
    "perceptual": Metric("perceptual", "perceptual distance", 4, "a layer without features"),
    "identity": Metric("identity", "embedding's distance to the source", 4, _NO_FACE),
    "motion": Metric("motion", "motion's distance to the driving one, object sizes", 4, "no point found throughout"),
}
METRICS = tuple(dict.fromkeys(metric.asked for metric in COLUMNS.values()))
# Those that need no truth; they are of animations alone.
WITHOUT_TRUTH = ("identity", "motion")

AUTO = "auto"
# Our own detectors of points and embeddings by what they look at; there is no network here for how a body looks.
KINDS = {"faces": ("face-points", "face-identity"), "bodies": ("body-points", None)}
_OF_POINTS, _OF_EMBEDDINGS = {"akd", "mkr", "motion"}, {"aed", "identity"}
# Clips whose first frames are looked at to choose between them.
_LOOKED_AT = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured and written.

    Attributes:
      metrics: some of `METRICS`.
      detector: `faces`, `bodies`, `auto`, or `module:function` for points of your own; see `fomm_tf.detectors`.
      embedding: `face-identity` or `module:function`; None is the detector's own, if it has one.
      fit: how frames get the model's size; see `fomm_tf.video.resize`.
      batch_size: frames at once.
      videos: write each result as an mp4.
      png: write each result's frames as lossless pictures.
      side_by_side: show source, driving frame and result in a row in the mp4.

    Raises:
      errors.UserError: if there is no such metric, or the batch size will not do.
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
            raise errors.UserError(f"--metrics are some of {', '.join(METRICS)}; got {got}.")
        if self.batch_size < 1:
            raise errors.UserError(f"--batch-size is {self.batch_size}; give at least 1.")


def applicable(settings: Settings, animated: bool, truth: bool) -> Settings:
    """With those metrics alone that a task has.

    Args:
      settings: what is asked for.
      animated: pairs are animated; else clips are rebuilt.
      truth: the true result of a video, at least, is known.

    Raises:
      errors.UserError: if no metric is left.
    """
    has = [name for name in settings.metrics if (animated if name in WITHOUT_TRUTH else truth)]
    if not has:
        cure = "give pairs with a truth" if animated else "give --animate"
        raise errors.UserError(
            f"Of {'animations without truth' if animated else 'reconstructions'} there is no "
            f"{' or '.join(settings.metrics)}: {cure}, or other --metrics."
        )
    return dataclasses.replace(settings, metrics=tuple(has))


class Chosen(NamedTuple):
    """The detectors that are used.

    Attributes:
      points: a name for `detectors.load_points`, or None.
      embedding: a name for `detectors.load_embedding`, or None.
      note: what to say of the choice; empty if there is nothing to say.
    """

    points: str | None
    embedding: str | None
    note: str = ""


def choose(settings: Settings, videos: Sequence[Path]) -> Chosen:
    """Decides which detectors are used; `auto` looks at the first frames of some videos.

    Raises:
      errors.UserError: if there is no such detector, or its networks cannot be fetched.
    """
    wants_points, wants_embedding = (bool(set(settings.metrics) & of) for of in (_OF_POINTS, _OF_EMBEDDINGS))
    note, kind = "", settings.detector
    if kind == AUTO and (wants_points or (wants_embedding and settings.embedding is None)):
        kind, note = _look(videos)
    points, embedding = KINDS.get(kind, (None if kind == AUTO else kind, None))
    embedding = settings.embedding or embedding
    points, embedding = (points if wants_points else None), (embedding if wants_embedding else None)
    lacking = [
        name
        for name in settings.metrics
        if (name in _OF_POINTS and points is None) or (name in _OF_EMBEDDINGS and embedding is None)
    ]
    if lacking:
        note = " ".join([note, f"Without a detector for them, not measured: {', '.join(lacking)}."]).strip()
    # Refused before anything is computed.
    for name, known in ((points, detectors.POINTS), (embedding, detectors.EMBEDDINGS)):
        if name is not None and name not in known:
            load = detectors.load_points if known is detectors.POINTS else detectors.load_embedding
            load(name)
    return Chosen(points, embedding, note)


def _look(videos: Sequence[Path]) -> tuple[str, str]:
    """Whether videos show faces or bodies, by the first frames of some; `auto` if neither; and a sentence on it."""
    frames = []
    for number in np.unique(np.linspace(0, len(videos) - 1, min(_LOOKED_AT, len(videos))).round().astype(int)):
        try:
            frames.append(next(iter(video.open_video(videos[number]))))
        except errors.UnreadableError:  # whoever measures it says so
            continue
    finders = {"faces": detectors.load_boxes("face"), "bodies": detectors.load_boxes("body")}
    found = {kind: sum(len(boxes.score) > 0 for boxes in finder(frames)) for kind, finder in finders.items()}
    told = f"{found['faces']} of {len(frames)} first frames show a face, {found['bodies']} a body"
    # The finder of bodies takes a large face for one; that of faces passes over the small ones of whole bodies.
    kind = next((kind for kind in ("faces", "bodies") if found[kind] * 2 >= len(frames) > 0), AUTO)
    return kind, f"{told}: {'neither is' if kind == AUTO else f'{kind} are'} looked for (`--detector`)."
