"""One video: made, written, judged."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fomm_tf
from fomm_tf import config, errors, files, video
from fomm_tf.data import layout
from fomm_tf.inference import animate, animator, stream
from fomm_tf.inference.evaluation import jobs, result, scoring, strips
from fomm_tf.inference.evaluation import judge as judges
from fomm_tf.inference.evaluation.settings import Chosen, Settings

# Changes when a number would come out differently by the same settings.
_FORMAT = 1
_VIDEOS = frozenset(layout.SUFFIXES) - frozenset(layout.IMAGE_SUFFIXES)


class Tools(NamedTuple):
    """What a process holds to work with."""

    model: animator.Animator
    judge: judges.Judge


def key_of(job: jobs.Job, weights: str, model: config.Config, settings: Settings, chosen: Chosen) -> str:
    """Changes with all that a result depends on, but for the code of a detector of the user's own.

    Args:
      job: its videos count by names, sizes and times of their files.
      weights: a hash of the model's.
      model: of which the sizes and, for animations, the way of the transfer count.
      settings: all but the batch size count.
      chosen: the detectors.
    """
    stamps = [files.fingerprint(path) for path in (job.source, job.driving, job.truth) if path is not None]
    settled = dataclasses.replace(settings, batch_size=Settings.batch_size)
    facts = (_FORMAT, fomm_tf.__version__, job.task, job.group, weights, model.model, _transfer(job, model), settled)
    return files.digest(*facts, chosen.points, chosen.embedding, *stamps).hex()


def places(job: jobs.Job, out: Path, settings: Settings) -> dict[str, Path]:
    """Where what is written of a job goes: `result`, `strip`, and `video` and `png` if they are wanted."""
    kept = out / "results" / job.task
    found = {"result": kept / f"{job.name}.json", "strip": kept / f"{job.name}.png"}
    if settings.videos:
        found["video"] = out / f"{job.name}.mp4"
    if settings.png:
        found["png"] = out / "png" / job.name / ""
    return found


def finished(job: jobs.Job, out: Path, settings: Settings, key: str) -> result.Result | None:
    """What a former run made of a job by the same settings, if all of it is still there."""
    targets = places(job, out, settings)
    kept = result.read(targets["result"])
    return kept if kept and kept.key == key and all(path.exists() for path in targets.values()) else None


def work(
    job: jobs.Job, out: Path, settings: Settings, key: str, tools: Tools, tick: Callable[[], None] = lambda: None
) -> result.Result:
    """Does a job and keeps what came of it.

    Args:
      job: what to do.
      out: folder to write to.
      settings: what is wanted.
      key: see `key_of`.
      tools: to do it with.
      tick: called once a batch; what it raises stops the work.

    Returns:
      The result; of a video that cannot be read, or has one frame where two are needed, without frames and with the
      reason, which is not kept.

    Raises:
      errors.UserError: if the output cannot be written, or a detector of the user's own does not do.
    """
    targets = places(job, out, settings)
    # What it tells of is about to be written anew; if that is stopped, nothing must vouch for the rest.
    targets["result"].unlink(missing_ok=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        try:
            scorer = _judge(job, targets, settings, tools, tick)
        except errors.UnreadableError as error:
            return result.Result(key, job.name, job.group, remarks=(str(error),))
    remarks = dict.fromkeys(str(one.message) for one in told if issubclass(one.category, UserWarning))
    done = result.Result(key, job.name, job.group, scorer.frames, scorer.tallies, scorer.found, tuple(remarks))
    result.write(targets["result"], done)
    return done


def _judge(
    job: jobs.Job, targets: dict[str, Path], settings: Settings, tools: Tools, tick: Callable[[], None]
) -> scoring.Scorer:
    size, opened = tools.model.config.model.frame_size, video.open_video(job.driving)
    if job.task == jobs.RECONSTRUCTION and len(list(itertools.islice(opened, 2))) < 2:
        raise errors.UnreadableError(f"{job.driving} has one frame, which is the source: there is nothing to rebuild.")
    picture = video.resize(_first_frame(job), size, settings.fit)
    scorer = scoring.Scorer(tools.judge, picture, job.task == jobs.ANIMATION)
    strip = strips.Strip(picture)
    with contextlib.ExitStack() as stack:
        writers = {
            kind: stack.enter_context(video.write_video(f"{targets[kind]}{end}", opened.fps, tag=animate.TAG))
            for kind, end in (("video", ""), ("png", "/"))
            if kind in targets
        }
        for made, driving, true in _render(job, picture, opened, settings, tools.model):
            tick()
            scorer.add(made, driving, true)
            for number, frame in enumerate(video.to_uint8(made)):
                strip.add(driving[number], frame, true[number] if job.truth and job.truth != job.driving else None)
                row = [picture, driving[number], frame] if settings.side_by_side else [frame]
                for kind, writer in writers.items():
                    writer.write(np.concatenate(row, axis=1) if kind == "video" else frame)
    video.write_image(targets["strip"], strip.draw())
    return scorer


def _render(
    job: jobs.Job, picture: np.ndarray, opened: video.Video, settings: Settings, model: animator.Animator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yields frames made, float in [0, 1], the driving ones and the true ones or None, uint8, batch by batch."""

    def resized(frames: video.Video) -> Iterator[np.ndarray]:
        return (video.resize(frame, model.config.model.frame_size, settings.fit) for frame in frames)

    driven, shown = itertools.tee(
        stream.prefetch(resized(opened), settings.batch_size)
    )  # `shown` lags by a batch at most
    truth = resized(video.open_video(job.truth)) if job.truth not in (None, job.driving) else None
    transfer, source = _transfer(job, model.config), model.encode_source(picture)
    for _, rendering in stream.render_stream(model, source, driven, transfer, batch_size=settings.batch_size):
        made = rendering.prediction.numpy()
        driving = np.stack(list(itertools.islice(shown, len(made))))
        true = driving if job.truth == job.driving else None
        if truth is not None:
            frames = list(itertools.islice(truth, len(made)))
            if len(frames) < len(made):
                raise errors.UnreadableError(f"{job.truth}, the true animation, has fewer frames than {job.driving}.")
            true = np.stack(frames)
        yield made, driving, true


def _transfer(job: jobs.Job, settings: config.Config) -> config.AnimateConfig:
    """A reconstruction takes each frame's own keypoints (paper, sec. 4); an animation is as the run has it."""
    if job.task == jobs.RECONSTRUCTION:
        return dataclasses.replace(settings.animate, mode="absolute")
    return settings.animate


def _first_frame(job: jobs.Job) -> np.ndarray:
    if job.source.is_dir() or job.source.suffix.lower() in _VIDEOS or job.source == job.driving:
        return next(iter(video.open_video(job.source)))
    return video.read_image(job.source)
