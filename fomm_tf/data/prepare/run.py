"""All videos: who is for training, workers, going on after an interruption, the table of what was kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import dataclasses
import fcntl
import functools
import json
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import tqdm

from fomm_tf import console, detectors, errors
from fomm_tf.data import layout
from fomm_tf.data.prepare import sources, work
from fomm_tf.data.prepare.settings import WHOLE, Settings
from fomm_tf.video import files

RECORD, TABLE = "prepare.json", "prepare.csv"
_LOCK = "lock"
# Seconds between two looks at how far the workers are.
_PERIOD = 0.5


def prepare(paths: Sequence[str | Path], out: str | Path, settings: Settings, jobs: int | None = None) -> str:
    """Makes a set of clips, with a bar on a terminal.

    Who is for testing is decided when the set is begun; identities that join later are for training. The workers are
    new processes: a script calls this below `if __name__ == "__main__":`.

    Args:
      paths: files and folders; see `sources.find`.
      out: folder of the set: new, or begun by the same settings, and then gone on with.
      settings: see there.
      jobs: videos that are worked at at a time, each by a process of its own; None is one a processor.

    Returns:
      A line that says what was done.

    Warns:
      UserWarning: names a video that cannot be read, or to its end.

    Raises:
      UserError: if the videos, the folder or the settings will not do, no clip is left, or the disk is full. What
        is complete by then stays, and is not done again.
    """
    out = Path(out)
    if jobs is not None and jobs < 1:
        raise errors.UserError(f"--jobs is {jobs}; give at least 1.")
    if settings.crop not in (WHOLE, *detectors.BOXES):
        detectors.load_boxes(settings.crop)  # refuses what cannot be imported before anything is made
    found = sources.find(list(map(Path, paths)), settings, out)
    with _opened(out, found, settings) as tested:
        todo = [source for source in found if not _is_done(source, out, settings)]
        _work(todo, len(found), out, settings, tested, jobs)
        rows = _write_table(out)
    return _summarize(out, found, rows)


@contextlib.contextmanager
def _opened(out: Path, found: list[sources.Source], settings: Settings) -> Iterator[frozenset[str]]:
    """Begins the set or goes on with it, alone; gives the identities that are for testing."""
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"{out} is a file; name a folder.")
    record = out / RECORD
    if not record.exists() and out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise errors.UserError(f"{out} is not empty and was not made by fomm prepare; name a new folder.")
    plans = out / work.PLANS
    fresh = not record.exists() or not any(plans.rglob("*.json"))
    if not fresh:
        _compare(record, settings)
    begun = {
        "settings": dataclasses.asdict(settings),
        "test_identities": sources.choose_test(found, settings) if fresh else [],
    }
    try:
        plans.mkdir(parents=True, exist_ok=True)
        lock = (plans / _LOCK).open("w")
    except OSError as error:
        raise errors.UserError(f"cannot write to {out} ({error.strerror}); choose another place.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise errors.UserError(f"{out} is being worked at by another fomm prepare; wait for its end.") from None
        _sweep(out)
        if fresh:
            with files.replacing(record) as temporary:
                temporary.write_text(json.dumps(begun, indent=1) + "\n", encoding="utf-8")
        yield frozenset(json.loads(record.read_text(encoding="utf-8"))["test_identities"])


def _compare(record: Path, settings: Settings) -> None:
    before = json.loads(record.read_text(encoding="utf-8"))["settings"]
    now = json.loads(json.dumps(dataclasses.asdict(settings)))
    changes = [f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in now if now[name] != before.get(name)]
    if changes:
        raise errors.UserError(
            f"{record.parent} was begun with other settings ({'; '.join(changes)}); give the same, or another --out."
        )


def _sweep(out: Path) -> None:
    """Removes what a killed run has left half-written."""
    plans = out / work.PLANS
    for folder in (out, plans, *(place / split for place in (out, plans) for split in layout.SPLITS)):
        for leftover in folder.glob(".fomm-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_done(source: sources.Source, out: Path, settings: Settings) -> bool:
    """Whether nothing is left to do; the clips of a video that has changed since are removed."""
    plan_file = work.plan_file(out, source)
    plan = work.read_plan(plan_file)
    if plan is None:
        return False
    if plan.stamp == work.stamp_of(source):
        return not work.missing_clips(out, plan, settings)
    for row in plan.kept:
        clip = work.clip_path(out, row, settings)
        if clip.is_dir():
            shutil.rmtree(clip)
        else:
            clip.unlink(missing_ok=True)
    plan_file.unlink()
    return False


class _StoppedError(Exception):
    """The command ends before the work is done."""


class _Pulse:
    """What the command and its workers share: whether to stop, and how many frames were read."""

    def __init__(self, context: multiprocessing.context.BaseContext) -> None:
        self.stop = context.Event()
        self.frames = context.Value("q")

    def tick(self, count: int) -> None:
        """Counts frames.

        Raises:
          _StoppedError: if it is time to stop.
        """
        if self.stop.is_set():
            raise _StoppedError
        with self.frames.get_lock():
            self.frames.value += count


_pulse: _Pulse | None = None


def _begin(pulse: _Pulse) -> None:
    """Sets a worker up."""
    global _pulse
    _pulse = pulse
    console.begin_worker()


@functools.cache
def _detector(name: str) -> work.Detect | None:
    if name == WHOLE:
        return None
    return detectors.load_boxes(name)


def _do(source: sources.Source, out: Path, settings: Settings, tested: bool) -> work.Plan:
    return work.prepare(source, out, settings, tested, _detector(settings.crop), _pulse.tick)


def _work(
    todo: list[sources.Source], total: int, out: Path, settings: Settings, tested: frozenset[str], jobs: int | None
) -> None:
    if not todo:
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    pulse = _Pulse(context)
    workers = min(jobs or os.cpu_count() or 1, len(todo))
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (pulse,))
    bar = tqdm.tqdm(total=total, initial=total - len(todo), desc=f"preparing {out}", unit="video", disable=None)
    kept, finished = 0, set()
    try:
        with bar:
            futures = {pool.submit(_do, source, out, settings, source.identity in tested): source for source in todo}
            waiting = set(futures)
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, _PERIOD, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    plan = future.result()
                    finished.add(futures[future])
                    kept += len(plan.kept)
                    for row in plan.rows:
                        if not row.frames:
                            warnings.warn(row.reason, stacklevel=2)
                bar.set_postfix(frames=pulse.frames.value, clips=kept, refresh=False)
                bar.update(len(done))
                bar.refresh()
    except BrokenProcessPool:
        begun = [str(source.path) for source in todo if source not in finished][:workers]  # they are begun in order
        raise errors.UserError(
            f"A worker died at {' or '.join(begun)}: out of memory, killed, or by a video that breaks the decoder; "
            "run the command again, with fewer --jobs or without the video. What is complete stays."
        ) from None
    finally:
        pulse.stop.set()
        pool.shutdown(cancel_futures=True)


def _write_table(out: Path) -> list[work.Row]:
    """Writes what became of every stretch of every video of the set."""
    plans = sorted((out / work.PLANS).rglob("*.json"))
    rows = [row for plan in plans for row in work.read_plan(plan).rows]
    with files.replacing(out / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(work.Row._fields)
        writer.writerows(rows)
    return rows


def _summarize(out: Path, found: list[sources.Source], rows: list[work.Row]) -> str:
    counts = {split: sum(row.split == split for row in rows) for split in layout.SPLITS}
    dropped = [row.reason for row in rows if row.reason and row.frames]
    faults = [row.reason for row in rows if row.reason and not row.frames]
    if not any(counts.values()):
        most = max(faults + dropped, key=(faults + dropped).count)
        raise errors.UserError(
            f"No clip of {len(found)} videos was kept, most often because of this: {most.rstrip('.')}. {out / TABLE} "
            "tells of each stretch."
        )
    for split, count in counts.items():
        if not count:
            warnings.warn(
                f"{out} has no clip in {split}: train.py needs both; see --split and --test-share.", stacklevel=2
            )
    return (
        f"{out}: {counts['train']} clips in train, {counts['test']} in test, {len(dropped)} stretches dropped, "
        f"{len(faults)} faulty videos; {out / TABLE} tells of each"
    )
