"""All videos: what is done already, workers, the report."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import tensorflow as tf
import tqdm

from fomm_tf import checkpoint, console, errors, files, video
from fomm_tf.inference import animator
from fomm_tf.inference.evaluation import jobs, judge, report, result, strips, work
from fomm_tf.inference.evaluation.settings import Chosen, Settings, applicable, choose

# Videos on the contact sheet.
_SHOWN = 8


def evaluate(
    run: str | Path | None,
    data: str | Path,
    out: str | Path,
    settings: Settings,
    pairs: str | Path | None = None,
    at_once: int = 1,
    progress: bool = True,
) -> report.Report:
    """Judges a run on a test set, and writes `report.md`, `report.json`, `sheet.png` and what the settings ask for.

    What was done before by the same run, settings and videos is not done again. With several workers, which are new
    processes, a script calls this below `if __name__ == "__main__":`.

    Args:
      run: the run folder; None is the bundled model.
      data: folder of the test set, see `jobs.reconstructions`; or the one in which the pairs' paths begin.
      out: folder to write to.
      settings: see there.
      pairs: a list of pairs to animate, see `fomm_tf.data.pairlist`, instead of the clips to rebuild.
      at_once: videos that are worked at at a time; above 1 each by a process of its own.
      progress: show a bar, on a terminal.

    Returns:
      What was written as the report.

    Warns:
      UserWarning: names a video that could not be evaluated, or not whole.

    Raises:
      errors.UserError: if the run, the videos, the settings or the folder will not do, or no video could be evaluated.
        What is complete by then stays, and is not done again.
    """
    run, data, out = Path(run or checkpoint.BUNDLED), Path(data), Path(out)
    if at_once < 1:
        raise errors.UserError(f"--jobs is {at_once}; give at least 1.")
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"--out {out} is a file; name a folder.")
    model = animator.Animator.load(run)
    if pairs is None:
        found = jobs.reconstructions(data, model.config.data)
    else:
        found = jobs.animations(data, Path(pairs))
    settings = applicable(settings, pairs is not None, any(job.truth for job in found.jobs))
    chosen = choose(settings, [job.driving for job in found.jobs])
    weights = model.model.weights_sha256()
    keys = [work.key_of(job, weights, model.config, settings, chosen) for job in found.jobs]
    results = [work.finished(job, out, settings, key) for job, key in zip(found.jobs, keys, strict=True)]
    todo = {number: keys[number] for number, done in enumerate(results) if done is None}
    with tqdm.tqdm(
        total=len(results), initial=len(results) - len(todo), unit="video", disable=None if progress else True
    ) as bar:
        if min(at_once, len(todo)) > 1:
            made = _in_processes(run, found.jobs, todo, out, settings, chosen, min(at_once, len(todo)))
        else:
            made = _here(model, found.jobs, todo, out, settings, chosen)
        for number, done in made:
            results[number] = done
            bar.update()
    for one in results:
        for remark in one.remarks:
            warnings.warn(remark, stacklevel=2)
    usable = [(job, one) for job, one in zip(found.jobs, results, strict=True) if one.frames]
    if not usable:
        raise errors.UserError(f"None of {len(results)} videos could be evaluated: {results[0].remarks[0]}")
    shown = [work.places(job, out, settings)["strip"] for job, _ in usable[:: -(-len(usable) // _SHOWN)]]
    video.write_image(out / "sheet.png", strips.join([video.read_image(path) for path in shown]))
    about = {
        "run": str(run),
        "step": checkpoint.read_count(run, "step"),
        "weights_sha256": weights,
        "data": str(data),
        "videos": found.note,
        "frame_size": list(model.config.model.frame_size),
        "metrics": list(settings.metrics),
        "points": chosen.points,
        "embedding": chosen.embedding,
        "detectors": chosen.note,
        "fit": settings.fit,
    }
    if pairs is not None:
        about["mode"] = model.config.animate.mode
    made = report.Report(jobs.RECONSTRUCTION if pairs is None else jobs.ANIMATION, about, tuple(results))
    for name, text in (("report.md", made.markdown()), ("report.json", made.json())):
        with files.replace_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return made


Made = Iterator[tuple[int, result.Result]]


def _here(
    model: animator.Animator,
    found: tuple[jobs.Job, ...],
    todo: dict[int, str],
    out: Path,
    settings: Settings,
    chosen: Chosen,
) -> Made:
    if not todo:
        return
    tools = work.Tools(model, judge.Judge(settings.metrics, chosen))
    for number, key in todo.items():
        yield number, work.work(found[number], out, settings, key, tools)


def _in_processes(
    run: Path,
    found: tuple[jobs.Job, ...],
    todo: dict[int, str],
    out: Path,
    settings: Settings,
    chosen: Chosen,
    workers: int,
) -> Made:
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    stop = context.Event()
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (stop, threads))
    finished = set()
    try:
        futures = {
            pool.submit(_do, str(run), found[number], out, settings, chosen, key): number
            for number, key in todo.items()
        }
        for future in concurrent.futures.as_completed(futures):
            done = future.result()
            finished.add(futures[future])
            yield futures[future], done
    except BrokenProcessPool:
        begun = [str(found[number].driving) for number in todo if number not in finished][:workers]
        raise errors.UserError(
            f"A worker died at {' or '.join(begun)}: out of memory, killed, or by a video that breaks the decoder; run "
            "the command again, with fewer --jobs or without the video. What is complete stays."
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """The command ends before the work is done."""


_stop = None


def _begin(stop, threads: int) -> None:
    """Sets a worker up."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console.prepare_tensorflow(verbose=False)
    tf.config.threading.set_intra_op_parallelism_threads(threads)


def _tick() -> None:
    if _stop.is_set():
        raise _StoppedError


@functools.cache
def _tools(run: str, metrics: tuple[str, ...], chosen: Chosen) -> work.Tools:
    return work.Tools(animator.Animator.load(run), judge.Judge(metrics, chosen))


def _do(run: str, job: jobs.Job, out: Path, settings: Settings, chosen: Chosen, key: str) -> result.Result:
    tools = _tools(run, settings.metrics, chosen)
    return work.work(job, out, settings, key, tools, _tick)
