"""Evaluates all videos: generates, scores and writes each, resumes, and writes the report and a contact sheet."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, config, errors, files, model_folders, video, visualize, workers
from fomm_tf.data import layout
from fomm_tf.evaluation import protocol, report, scoring
from fomm_tf.evaluation.protocol import Detectors, Sample, Settings
from fomm_tf.inference import animate, animator, stream

# Increased when the same settings would give other values or another format.
_FORMAT = 2
# Videos on the contact sheet.
_SHEET_VIDEOS = 8


def evaluate(
    run: str | Path | None,
    data: str | Path,
    out: str | Path,
    settings: Settings,
    pairs: str | Path | None = None,
    jobs: int = 1,
    progress: bool = True,
    engine: str | None = None,
    precision: str | None = None,
    execute: workers.Execute | None = None,
) -> report.Report:
    """Evaluates a run and writes `report.md`, `report.json`, `sheet.png` and what the settings ask for.

    Results of the same run, settings and videos are reused. With several workers, which are new processes, a script
    calls this below `if __name__ == "__main__":`.

    Args:
      run: the model's directory: a run, or what `fomm export` wrote; None is the bundled model.
      data: the test set, see `protocol.list_clips`; or the directory that the paths of the pairs are relative to.
      out: directory to write to.
      settings: what is measured and written.
      pairs: a CSV file of pairs to animate, see `fomm_tf.data.layout.read_pairs`, instead of clips to reconstruct.
      jobs: videos at a time; above 1 each is evaluated in a worker process.
      progress: show a progress bar, on a terminal.
      engine: what runs the model, see `fomm_tf.inference.animator.Animator.load`; also the next argument.
      precision: what the networks compute in.
      execute: what evaluates the videos instead of processes on this machine, see `fomm_tf.scale`.

    Returns:
      The report.

    Warns:
      UserWarning: names a video that could not be evaluated, or only in part.

    Raises:
      errors.UserError: for a bad run, data set, setting or directory, or if no video could be evaluated. Finished
        videos are kept, and are not evaluated again.
    """
    run, data, out = Path(run or checkpoint.BUNDLED), Path(data), Path(out)
    files.check_other_directory(out, data, run)
    if jobs < 1:
        raise errors.UserError(f"`jobs` must be at least 1; got {jobs}.")
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"`out` {out} is a file; name a directory.")
    model, trained = animator.Animator.load(run, precision, engine), model_folders.read(run).step
    if pairs is None:
        dataset = protocol.list_clips(data, model.config.data, out)
    else:
        dataset = protocol.list_pairs(data, Path(pairs))
    settings = protocol.select_metrics(settings, pairs is not None, any(sample.truth for sample in dataset.samples))
    chosen = protocol.choose_detectors(settings, [sample.driving for sample in dataset.samples])
    _check_outputs(dataset.samples, out, settings, pairs and Path(pairs))
    weights, computed = model.engine.weights_sha256(), f"{model.engine.name} {model.engine.precision}"
    keys = {
        sample: _result_key(sample, f"{weights} {computed}", model.config, settings, chosen)
        for sample in dataset.samples
    }
    results = {sample: _read_result(sample, out, settings, key) for sample, key in keys.items()}
    todo = [(sample, keys[sample]) for sample, result in results.items() if result is None]
    processes = min(jobs, len(todo)) if min(jobs, len(todo)) > 1 else 0
    if todo and not processes and not execute:
        tools = _Tools(model, scoring.FrameComparer(settings.metrics, chosen))
        function = functools.partial(_evaluate_task, out=out, settings=settings, tools=tools)
    else:
        function = functools.partial(
            _evaluate_in_worker, (str(run), engine, precision), chosen, out=out, settings=settings
        )
    execute = execute or functools.partial(
        workers.run,
        processes=processes,
        name=lambda task: str(task[0].driving),
        setup=functools.partial(_limit_threads, max(1, workers.available_cores() // max(1, processes))),
        finished=len(results) - len(todo),
        unit="video",
        progress=progress,
    )
    execute(function, todo, on_result=lambda task, result: results.update({task[0]: result}))
    for result in results.values():
        for warning in result.warnings:
            warnings.warn(warning, stacklevel=2)
    usable = [sample for sample, result in results.items() if result.frames]
    if not usable:
        reason = next(iter(results.values())).warnings[0]
        raise errors.UserError(f"None of {len(results)} videos could be evaluated: {reason}")
    shown = usable[:: -(-len(usable) // _SHEET_VIDEOS)]
    strips = [video.read_image(_output_paths(sample, out, settings)["strip"]) for sample in shown]
    video.write_image(out / "sheet.png", visualize.stack_strips(strips))
    about = {
        "run": str(run),
        "step": checkpoint.read_count(run, "step") if trained is None else trained,
        "weights_sha256": weights,
        "engine": computed,
        "data": str(data),
        "videos": dataset.description,
        "frame_size": list(model.config.model.frame_size),
        "metrics": list(settings.metrics),
        "points": chosen.points,
        "embedding": chosen.embedding,
        "detectors": chosen.note,
        "fit": settings.fit,
    }
    if pairs is not None:
        about["mode"] = model.config.animate.mode
    task = protocol.RECONSTRUCTION if pairs is None else protocol.ANIMATION
    summary = report.Report(task, about, tuple(results.values()))
    files.write_text(out / "report.md", summary.markdown())
    files.write_text(out / "report.json", summary.json())
    return summary


def _check_outputs(samples: Sequence[Sample], out: Path, settings: Settings, pairs: Path | None) -> None:
    """Checks that no output replaces a video, or lies among the frames of one."""
    paths = {path for sample in samples for path in (sample.source, sample.driving, sample.truth)}
    inputs = layout.inputs_of(path for path in (*paths, pairs) if path is not None)
    for name in ("report.md", "report.json", "sheet.png"):
        inputs.check(out / name)
    for sample in samples:
        for path in _output_paths(sample, out, settings).values():
            inputs.check(path)


class _Tools(NamedTuple):
    """What a process loads once."""

    model: animator.Animator
    comparer: scoring.FrameComparer


def _result_key(sample: Sample, weights: str, model: config.Config, settings: Settings, chosen: Detectors) -> str:
    """Identifies everything that a result depends on, except for the batch size and the code of a custom detector."""
    fingerprints = [files.fingerprint(path) for path in (sample.source, sample.driving, sample.truth) if path]
    comparable = dataclasses.replace(settings, batch_size=Settings.batch_size)
    transfer = _transfer(sample, model)
    facts = (_FORMAT, fomm_tf.__version__, sample.task, sample.group, weights, model.model, transfer, comparable)
    return files.digest(*facts, chosen.points, chosen.embedding, *fingerprints).hex()


def _output_paths(sample: Sample, out: Path, settings: Settings) -> dict[str, Path]:
    """Output files of a sample: `result`, `strip`, and `video` and `png` if they are requested."""
    folder = out / "results" / sample.task
    paths = {"result": folder / f"{sample.name}.json", "strip": folder / f"{sample.name}.png"}
    if settings.videos:
        paths["video"] = out / f"{sample.name}.mp4"
    if settings.png:
        paths["png"] = out / "png" / sample.name / ""
    return paths


def _read_result(sample: Sample, out: Path, settings: Settings, key: str) -> scoring.VideoResult | None:
    """The result of an earlier run with the same key, if all of its output files exist."""
    paths = _output_paths(sample, out, settings)
    result = scoring.VideoResult.read(paths["result"])
    return result if result and result.key == key and all(path.exists() for path in paths.values()) else None


def evaluate_video(sample: Sample, out: Path, settings: Settings, key: str, tools: _Tools) -> scoring.VideoResult:
    """Evaluates a video and writes its outputs.

    Returns:
      The result. For a video that cannot be read, or has a single frame, it has no frames but a warning, and is not
      written.

    Raises:
      errors.UserError: if the output cannot be written, or a custom detector returns a wrong result.
    """
    paths = _output_paths(sample, out, settings)
    # Removed first: an interrupted evaluation must not leave a result beside outputs of another one.
    paths["result"].unlink(missing_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            scorer = _score_video(sample, paths, settings, tools)
        except errors.UnreadableError as error:
            return scoring.VideoResult(key, sample.name, sample.group, warnings=(str(error),))
    messages = dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    result = scoring.VideoResult(
        key, sample.name, sample.group, scorer.frames, scorer.metrics, scorer.detections, tuple(messages)
    )
    result.write(paths["result"])
    return result


def _evaluate_task(task: tuple[Sample, str], out: Path, settings: Settings, tools: _Tools) -> scoring.VideoResult:
    sample, key = task
    return evaluate_video(sample, out, settings, key, tools)


def _evaluate_in_worker(
    model: tuple[str, str | None, str | None],
    chosen: Detectors,
    task: tuple[Sample, str],
    out: Path,
    settings: Settings,
) -> scoring.VideoResult:
    return _evaluate_task(task, out, settings, _load_tools(model, settings.metrics, chosen))


@functools.cache
def _load_tools(model: tuple[str, str | None, str | None], metrics: tuple[str, ...], chosen: Detectors) -> _Tools:
    run, engine, precision = model
    return _Tools(animator.Animator.load(run, precision, engine), scoring.FrameComparer(metrics, chosen))


def _limit_threads(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)


def _score_video(sample: Sample, paths: dict[str, Path], settings: Settings, tools: _Tools) -> scoring.VideoScorer:
    size, driving_video = tools.model.config.model.frame_size, video.open_video(sample.driving)
    if sample.task == protocol.RECONSTRUCTION and len(list(itertools.islice(driving_video, 2))) < 2:
        raise errors.UnreadableError(
            f"{sample.driving} has a single frame, which is the source: there is nothing to reconstruct."
        )
    source = video.resize(_first_frame(sample), size, settings.fit)
    scorer = scoring.VideoScorer(tools.comparer, source, sample.task == protocol.ANIMATION)
    strip = visualize.VideoStrip(source)
    with contextlib.ExitStack() as stack:
        writers = {
            kind: stack.enter_context(video.write_video(f"{paths[kind]}{end}", driving_video.fps, tag=animate.TAG))
            for kind, end in (("video", ""), ("png", "/"))
            if kind in paths
        }
        for generated, driving, truth in _generate(sample, source, driving_video, settings, tools.model):
            workers.tick()
            scorer.add(generated, driving, truth)
            for index, frame in enumerate(video.to_uint8(generated)):
                separate_truth = sample.truth and sample.truth != sample.driving
                strip.add(driving[index], frame, truth[index] if separate_truth else None)
                row = [source, driving[index], frame] if settings.side_by_side else [frame]
                for kind, writer in writers.items():
                    writer.write(np.concatenate(row, axis=1) if kind == "video" else frame)
    video.write_image(paths["strip"], strip.image())
    return scorer


def _generate(
    sample: Sample, source: np.ndarray, driving_video: video.Video, settings: Settings, model: animator.Animator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yields batches of generated frames, float in [0, 1], driving frames, and ground truth or None, uint8."""

    def resized(frames: video.Video) -> Iterator[np.ndarray]:
        return (video.resize(frame, model.config.model.frame_size, settings.fit) for frame in frames)

    # `shown` lags behind `driven` by a batch at most.
    driven, shown = itertools.tee(stream.prefetch(resized(driving_video), settings.batch_size))
    truth_frames = resized(video.open_video(sample.truth)) if sample.truth not in (None, sample.driving) else None
    transfer, encoded = _transfer(sample, model.config), model.encode_source(source)
    for _, rendering in stream.render_stream(model, encoded, driven, transfer, batch_size=settings.batch_size):
        generated = np.asarray(rendering.prediction)
        driving = np.stack(list(itertools.islice(shown, len(generated))))
        truth = driving if sample.truth == sample.driving else None
        if truth_frames is not None:
            frames = list(itertools.islice(truth_frames, len(generated)))
            if len(frames) < len(generated):
                raise errors.UnreadableError(
                    f"{sample.truth}, the ground truth, has fewer frames than the driving video {sample.driving}."
                )
            truth = np.stack(frames)
        yield generated, driving, truth


def _transfer(sample: Sample, settings: config.Config) -> config.AnimateConfig:
    """Absolute motion for a reconstruction (paper, sec. 4); the run's own transfer for an animation."""
    if sample.task == protocol.RECONSTRUCTION:
        return dataclasses.replace(settings.animate, mode="absolute")
    return settings.animate


def _first_frame(sample: Sample) -> np.ndarray:
    path = sample.source
    with files.convert_read_errors(path):
        is_directory = path.is_dir()
    if is_directory or video.is_video_name(path) or path == sample.driving:
        return next(iter(video.open_video(path)))
    return video.read_image(path)
