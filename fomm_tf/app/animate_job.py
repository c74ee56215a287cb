"""The job of the tab Animate: files to a video, with progress, and a figure of what the model saw."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Mapping

import numpy as np

from fomm_tf import errors, video, visualize
from fomm_tf.app import jobs, models
from fomm_tf.app import limits as page_limits
from fomm_tf.inference import animator, engines, stream
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

# Animator, options of `fomm animate`, source, driving, output, a receiver of lines -> the number of frames, if known,
# and what animates.
Prepare = Callable[
    [animator.Animator, Mapping[str, str], str, str, str, Callable[[str], object]],
    tuple[int | None, Callable[[], int]],
]


class WatchedEngine(engines.Engine):
    """An engine that counts frames, stops when its job is cancelled, and remembers what the figure shows.

    An `Animation` reads and computes in threads of its own; what the thread of the job itself asks for are searches and
    checks, which do not count.

    Args:
      engine: the engine.
      job: whose frames are counted.
      max_frames: of the job.
    """

    def __init__(self, engine: engines.Engine, job: jobs.Job, max_frames: int) -> None:
        self._engine, self._job, self._max_frames = engine, job, max_frames
        self.name, self.precision, self.has_details = engine.name, engine.precision, engine.has_details
        self.source: EncodedSource | None = None
        self.first: Keypoints | None = None
        # The driving frame that is farthest from the first one, and its keypoints.
        self.farthest: tuple[np.ndarray, Keypoints] | None = None
        self._distance = -1.0
        self._owner = threading.get_ident()

    def detect(self, frames: np.ndarray) -> Keypoints:
        self._job.check()
        keypoints = self._engine.detect(frames).map(np.asarray)
        if threading.get_ident() == self._owner:
            return keypoints
        if self.first is None:
            self.first = stream.select_frame(keypoints, 0)
        distances = np.square(keypoints.value - self.first.value).sum(axis=(1, 2))
        index = int(distances.argmax())
        if distances[index] > self._distance:
            self._distance = float(distances[index])
            self.farthest = np.array(frames[index]), stream.select_frame(keypoints, index)
        return keypoints

    def encode_source(self, image: np.ndarray) -> EncodedSource:
        self._job.check()
        encoded = self._engine.encode_source(image)
        self.source = self.source or encoded
        return encoded

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        self._job.check()
        if self._job.frames + len(keypoints.value) > self._max_frames:
            raise errors.UserError(
                f"The animation has more than {self._max_frames:,} frames; give a shorter `duration` or a lower `fps`."
            )
        rendering = self._engine.render(source, keypoints, details)
        self._job.frames += len(keypoints.value)
        return rendering

    def weights_sha256(self) -> str:
        return self._engine.weights_sha256()

    def device(self) -> str:
        return self._engine.device()


def animate(
    job: jobs.Job,
    model: models.Loaded,
    prepare: Prepare,
    files: tuple[str, str],
    options: Mapping[str, str],
    limits: page_limits.Limits,
) -> None:
    """Animates a pair of uploaded files into `animated.mp4`.

    Args:
      job: whose folder receives the files.
      model: that animates.
      prepare: as `fomm animate` does.
      files: paths of source and driving file.
      options: of `fomm animate`, by name, as text.
      limits: of the page.

    Raises:
      errors.UserError: for files and options that cannot be used.
      jobs.CancelledError: if the job is cancelled.
    """
    source, driving = (_keep(job.folder / name, path) for name, path in zip(("source", "driving"), files, strict=True))
    page_limits.check_pair(limits, source, driving, options)
    engine = WatchedEngine(model.engine, job, limits.frames)
    out = job.folder / "animated.mp4"
    watched = animator.Animator(engine, model.config)
    job.total, start = prepare(watched, options, str(source), str(driving), str(out), job.note)
    start()
    job.figure = draw_figure(engine, model, options)
    job.result = out


def draw_figure(watched: WatchedEngine, model: models.Loaded, options: Mapping[str, str]) -> np.ndarray:
    """Draws the source and one driving frame as the model sees them, with keypoints, and what it computes of them.

    Args:
      watched: what the job used.
      model: that animated.
      options: of `fomm animate`.

    Returns:
      `[H, W, 3]` uint8: source, driving frame, result, and with the engine Keras the warped source, the occlusion map
      and the masks; of a motion file, the source only.
    """
    source = EncodedSource(*(_first(part) for part in watched.source))
    image, keypoints = video.to_uint8(np.asarray(source.image[0])), source.keypoints.map(np.asarray)
    if watched.farthest is None:
        return visualize.draw_keypoints(image, *keypoints.frame(0))
    frame, driving = watched.farthest
    chosen = {"mode": options["mode"]} if "mode" in options else {}
    transfer = dataclasses.replace(model.config.animate, **chosen)
    rendering = stream.render_transferred(
        model.animator(), source, driving, watched.first, transfer, details=watched.has_details
    )
    prediction = video.to_uint8(np.asarray(rendering.prediction)[0])
    frame = video.to_uint8(frame)
    if rendering.mask is None:
        pair = [
            visualize.draw_keypoints(image, *keypoints.frame(0)),
            visualize.draw_keypoints(frame, *driving.frame(0)),
        ]
        return np.concatenate([*pair, prediction], axis=1)
    panels = visualize.panels(
        image,
        keypoints.frame(0),
        frame,
        driving.frame(0),
        video.to_uint8(np.asarray(rendering.deformed)[0]),
        np.asarray(rendering.mask)[0],
        None if rendering.occlusion is None else np.asarray(rendering.occlusion)[0],
    )
    return visualize.row(panels, prediction)


def _first(part: np.ndarray | Keypoints) -> np.ndarray | Keypoints:
    """The first source of a batch."""
    return stream.select_frame(part, 0) if isinstance(part, Keypoints) else part[:1]


def _keep(folder: pathlib.Path, upload: str) -> pathlib.Path:
    """Links an uploaded file into a folder of the job, so that it stays if the upload is deleted meanwhile."""
    folder.mkdir()
    kept = folder / pathlib.Path(upload).name
    try:
        os.link(upload, kept)
    except FileNotFoundError:
        raise errors.UserError(f"{kept.name} has been deleted from the server; choose it again.") from None
    except OSError:  # a file system without links
        shutil.copyfile(upload, kept)
    return kept
