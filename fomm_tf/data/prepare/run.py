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
from fomm_tf.data.prepare import clips, sources
from fomm_tf.data.prepare.settings import WHOLE, Settings

RECORD, TABLE = "prepare.json", "prepare.csv"
_LOCK = "lock"


def prepare(paths: Sequence[str | Path], out: str | Path, settings: Settings, processes: int | None = None) -> str:
    """Makes a data set of clips, with a progress bar on a terminal.

    The first run chooses the test identities; identities that are added later go to the training split. Workers are
    spawned: a script calls this below `if __name__ == "__main__":`.

    Args:
      paths: files and directories; see `sources.find`.
      out: directory of the data set: new, or of a run with the same settings, which is resumed.
      settings: of the data set.
      processes: number of videos that are processed at the same time; by default one per core.

    Returns:
      A one-line summary.

    Warns:
      UserWarning: for each video that cannot be read to its end.

    Raises:
      UserError: if the videos, the directory or the settings are invalid, no clip is left, or the disk is full.
        Finished clips are kept.
    """
    out = Path(out)
    if processes is not None and processes < 1:
        raise errors.UserError(f"`processes` must be at least 1; got {processes}.")
    if settings.crop not in (WHOLE, *detectors.BOXES):
        detectors.load_boxes(settings.crop)  # fails before any work if it cannot be imported
    videos = sources.find(list(map(Path, paths)), settings, out)
    with _open_data_set(out, videos, settings) as test_identities:
        todo = [source for source in videos if not _is_done(source, out, settings)]
        if todo:
            _prepare_all(todo, len(videos), out, settings, test_identities, processes)
        rows = _write_table(out)
    return _summarize(out, videos, rows)


@contextlib.contextmanager
def _open_data_set(out: Path, videos: list[sources.Source], settings: Settings) -> Iterator[frozenset[str]]:
    """Starts or resumes the data set and locks it; yields the identities of the test split."""
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"`out` {out} is a file; give a directory.")
    record = out / RECORD
    if not record.exists() and out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise errors.UserError(f"`out` {out} is not empty and was not made by fomm prepare; give a new directory.")
    plans = out / clips.PLANS
    is_new = not record.exists() or not any(plans.rglob("*.json"))
    if not is_new:
        _check_settings(record, settings)
    started = {
        "settings": dataclasses.asdict(settings),
        "test_identities": sources.choose_test(videos, settings) if is_new else [],
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
        if is_new:
            files.write_json(record, started)
        yield frozenset(json.loads(record.read_text(encoding="utf-8"))["test_identities"])


def _check_settings(record: Path, settings: Settings) -> None:
    before = json.loads(record.read_text(encoding="utf-8"))["settings"]
    now = json.loads(json.dumps(dataclasses.asdict(settings)))
    changes = [f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in now if now[name] != before.get(name)]
    if changes:
        raise errors.UserError(
            f"`out` {record.parent} was started with other settings ({'; '.join(changes)}); give the same, or another "
            "`out`."
        )


def _is_done(source: sources.Source, out: Path, settings: Settings) -> bool:
    """Whether all clips of a video are written; deletes the clips of a video that has changed."""
    plan_file = clips.plan_file(out, source)
    plan = clips.read_plan(plan_file)
    if plan is None:
        return False
    if plan.stamp == clips.current_stamp(source):
        return not clips.missing_clips(out, plan, settings)
    for row in plan.clips:
        clip = clips.clip_path(out, row, settings)
        if clip.is_dir():
            shutil.rmtree(clip)
        else:
            clip.unlink(missing_ok=True)
    plan_file.unlink()
    return False


@functools.cache
def _load_detector(name: str) -> clips.Detect | None:
    if name == WHOLE:
        return None
    return detectors.load_boxes(name)


def _prepare_source(
    source: sources.Source, out: Path, settings: Settings, test_identities: frozenset[str]
) -> clips.Plan:
    return clips.prepare(source, out, settings, source.identity in test_identities, _load_detector(settings.crop))


def _prepare_all(
    todo: list[sources.Source],
    total: int,
    out: Path,
    settings: Settings,
    test_identities: frozenset[str],
    processes: int | None,
) -> None:
    num_clips = 0

    def on_result(_: sources.Source, plan: clips.Plan) -> None:
        nonlocal num_clips
        num_clips += len(plan.clips)
        for row in plan.rows:
            if not row.frames:
                warnings.warn(row.reason, stacklevel=2)

    workers.run(
        functools.partial(_prepare_source, out=out, settings=settings, test_identities=test_identities),
        todo,
        processes or workers.available_cores(),
        name=lambda source: str(source.path),
        on_result=on_result,
        finished=total - len(todo),
        unit="video",
        description=f"preparing {out}",
        status=lambda frames: {"frames": frames, "clips": num_clips},
    )


def _write_table(out: Path) -> list[clips.Row]:
    """Writes the table of all segments of all videos."""
    plans = sorted((out / clips.PLANS).rglob("*.json"))
    rows = [row for plan in plans for row in clips.read_plan(plan).rows]
    files.write_csv(out / TABLE, clips.Row._fields, rows)
    return rows


def _summarize(out: Path, videos: list[sources.Source], rows: list[clips.Row]) -> str:
    counts = {split: sum(row.split == split for row in rows) for split in layout.SPLITS}
    dropped = [row.reason for row in rows if row.reason and row.frames]
    faults = [row.reason for row in rows if row.reason and not row.frames]
    if not any(counts.values()):
        reason = max(faults + dropped, key=(faults + dropped).count)
        raise errors.UserError(
            f"no clip of {len(videos)} videos was kept; the most frequent reason: {reason.rstrip('.')}. {out / TABLE} "
            "lists all segments."
        )
    for split, count in counts.items():
        if not count:
            warnings.warn(
                f"{out} has no {split} clip; training needs both splits: see `split` and `test_share`.", stacklevel=2
            )
    return (
        f"{out}: {counts['train']} clips in train, {counts['test']} in test, {len(dropped)} segments dropped, "
        f"{len(faults)} faulty videos; {out / TABLE} lists all segments"
    )
