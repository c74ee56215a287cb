"""All videos of a data set: train/test split, worker processes, resuming, and the table of clips."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from fomm_tf import detectors, errors, files, workers
from fomm_tf.data import layout
from fomm_tf.data.prepare import sources, work
from fomm_tf.data.prepare.settings import WHOLE, Settings

RECORD, TABLE = "prepare.json", "prepare.csv"
_LOCK = "lock"


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
        if todo:
            _prepare_all(todo, len(found), out, settings, tested, jobs)
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
    started = {
        "settings": dataclasses.asdict(settings),
        "test_identities": sources.choose_test(found, settings) if fresh else [],
    }
    with contextlib.ExitStack() as stack:
        try:
            plans.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.lock(plans / _LOCK))
        except BlockingIOError:
            raise errors.UserError(f"{out} is in use by another fomm prepare; wait until it ends.") from None
        except OSError as error:
            raise errors.UserError(f"cannot write to {out} ({error.strerror}); choose another place.") from error
        splits = (place / split for place in (out, plans) for split in layout.SPLITS)
        files.remove_temporary_files([out, plans, *splits])
        if fresh:
            files.write_json(record, started)
        yield frozenset(json.loads(record.read_text(encoding="utf-8"))["test_identities"])


def _compare(record: Path, settings: Settings) -> None:
    before = json.loads(record.read_text(encoding="utf-8"))["settings"]
    now = json.loads(json.dumps(dataclasses.asdict(settings)))
    changes = [f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in now if now[name] != before.get(name)]
    if changes:
        raise errors.UserError(
            f"{record.parent} was begun with other settings ({'; '.join(changes)}); give the same, or another --out."
        )


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


@functools.cache
def _load_detector(name: str) -> work.Detect | None:
    if name == WHOLE:
        return None
    return detectors.load_boxes(name)


def _prepare_source(source: sources.Source, out: Path, settings: Settings, tested: frozenset[str]) -> work.Plan:
    return work.prepare(source, out, settings, source.identity in tested, _load_detector(settings.crop))


def _prepare_all(
    todo: list[sources.Source], total: int, out: Path, settings: Settings, tested: frozenset[str], jobs: int | None
) -> None:
    kept = 0

    def count(_: sources.Source, plan: work.Plan) -> None:
        nonlocal kept
        kept += len(plan.kept)
        for row in plan.rows:
            if not row.frames:
                warnings.warn(row.reason, stacklevel=2)

    workers.run(
        functools.partial(_prepare_source, out=out, settings=settings, tested=tested),
        todo,
        jobs or workers.available_cores(),
        name=lambda source: str(source.path),
        on_result=count,
        finished=total - len(todo),
        unit="video",
        description=f"preparing {out}",
        status=lambda frames: {"frames": frames, "clips": kept},
    )


def _write_table(out: Path) -> list[work.Row]:
    """Writes what became of every stretch of every video of the set."""
    plans = sorted((out / work.PLANS).rglob("*.json"))
    rows = [row for plan in plans for row in work.read_plan(plan).rows]
    files.write_csv(out / TABLE, work.Row._fields, rows)
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
