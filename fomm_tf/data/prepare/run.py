"""All videos of a data set: their discovery, train/test split, worker processes and resuming."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fomm_tf import detectors, errors, files, video, workers
from fomm_tf.data import layout
from fomm_tf.data.prepare import clips, table
from fomm_tf.data.prepare.settings import WHOLE, Facts, Settings

RECORD = "prepare.json"
_LOCK = "lock"
# In bytes; a clip's name has its frames and a suffix too.
_MAX_IDENTITY, _MAX_NAME = 120, 225


def prepare(
    paths: Sequence[str | Path],
    out: str | Path,
    settings: Settings,
    processes: int | None = None,
    execute: workers.Execute | None = None,
) -> str:
    """Makes a data set of clips, with a progress bar on a terminal.

    The first run chooses the test identities; identities that are added later go to the training split. Workers are
    spawned: a script calls this below `if __name__ == "__main__":`.

    Args:
      paths: files and directories; see `find_sources`.
      out: directory of the data set: new, or of a run with the same settings, which is resumed.
      settings: of the data set.
      processes: number of videos that are processed at the same time; by default one per core.
      execute: what processes the videos instead of worker processes on this machine, see `fomm_tf.scale`.

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
    paths = list(map(Path, paths))
    files.check_other_directory(out, *paths)
    videos = find_sources(paths, settings, out)
    inputs = layout.inputs_of(source.path for source in videos)
    for folder in (out, *(out / split for split in layout.SPLITS)):
        inputs.check(folder)
    with _open_data_set(out, videos, settings) as test_identities:
        todo = [source for source in videos if not _is_done(source, out, settings)]
        if todo:
            _prepare_all(todo, len(videos), out, settings, test_identities, processes, execute)
        rows = table.write(out)
    return table.summarize(out, len(videos), rows, settings)


def survey(paths: Sequence[str | Path], out: str | Path, find_faces: bool) -> list[Facts]:
    """What is known of the videos below `paths` without reading them whole; unreadable ones are left out.

    Raises:
      UserError: as `find_sources`; or if the face detector cannot be loaded.
    """
    facts, detect = [], detectors.load_boxes("face") if find_faces else None
    for source in find_sources(map(Path, paths), Settings(), Path(out)):
        with contextlib.suppress(errors.UnreadableError):
            opened = video.open_video(source.path)
            has_face = detect is not None and len(detect([next(iter(opened))])[0].box) > 0
            facts.append(Facts(source.identity, opened.frame_count, min(opened.size), has_face))
    return facts


def find_sources(paths: Iterable[Path], settings: Settings, out: Path) -> list[clips.Source]:
    """Finds videos, sorted by name.

    Args:
      paths: videos, directories of frames, and directories that contain them at any depth; hidden ones are ignored.
      settings: `identity`.
      out: directory to ignore.

    Warns:
      UserWarning: if files of other kinds are passed over.

    Raises:
      UserError: if a path does not exist or has no videos, or if two videos would get the same name.
    """
    named: dict[str, list[clips.Source]] = {}
    for path in paths:
        if not path.exists():
            raise errors.UserError(f"{path} does not exist; give videos, or directories with videos.")
        if path.is_dir() and not layout.is_clip(path):
            found = layout.find_clips(path, out, stacked=layout.is_split(path))
            found.warn()
            if not found.paths:
                raise errors.UserError(f"{path} holds no clips; {layout.LAYOUTS}.")
            videos = [(file, file.relative_to(path)) for file in found.paths]
        else:
            videos = [(path, Path(path.resolve().name))]
        for file, below in videos:
            source = _describe(file, below, settings.identity)
            others = named.setdefault(source.name, [])
            if any(other.path.resolve() == file.resolve() for other in others):
                continue
            for other in others:
                if other.split == source.split or None in (other.split, source.split):
                    raise errors.UserError(f"{other.path} and {file} would both be named {source.name!r}; rename one.")
            others.append(source)
    return [source for name in sorted(named) for source in named[name]]


def _describe(path: Path, below: Path, pattern: str | None) -> clips.Source:
    split = below.parts[0].lower() if len(below.parts) > 1 else None
    split = split if split in layout.SPLITS else None
    name = layout.join_name(Path(*below.parts[1:]) if split else below, path.is_dir())
    match = re.search(pattern, below.as_posix()) if pattern else None
    if match:
        identity = match[1] or ""
        if not identity or re.search(r"[/#]", identity):
            raise errors.UserError(
                f"`identity` {pattern!r} yields {identity!r} for {below}; it must match a name without / and #."
            )
        if name.split("#")[0] != identity:
            name = f"{identity}#{name}"
    identity, mark, rest = name.partition("#")
    identity = files.safe_name(identity, _MAX_IDENTITY if mark else _MAX_NAME)
    return clips.Source(path, files.safe_name(f"{identity}{mark}{rest}", _MAX_NAME), split)


def choose_test_identities(sources: Sequence[clips.Source], settings: Settings) -> list[str]:
    """Chooses the identities of the test split among videos that are in neither `train` nor `test`.

    Raises:
      UserError: if a requested identity has no video, or if there is only one identity to split.
    """
    identities = {source.identity for source in sources}
    if missing := set(settings.test_identities) - identities:
        raise errors.UserError(
            f"`test_identities` must be some of {', '.join(sorted(identities))}; got {', '.join(sorted(missing))}."
        )
    free = {source.identity for source in sources if source.split is None}
    if settings.test_identities or settings.split == "time" or not settings.test_share or not free:
        return sorted(settings.test_identities)
    if len(free) == 1:
        raise errors.UserError(
            f"all videos have one identity, {min(free)!r}, which cannot be split into train and test; give `split` "
            "time, or `test_share` 0."
        )
    # Sorted by hash, so that adding or removing an identity moves few others to the other split.
    ranked = sorted(free, key=files.digest)
    return sorted(ranked[: min(len(ranked) - 1, max(1, round(settings.test_share * len(ranked))))])


@contextlib.contextmanager
def _open_data_set(out: Path, videos: list[clips.Source], settings: Settings) -> Iterator[frozenset[str]]:
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
        "test_identities": choose_test_identities(videos, settings) if is_new else [],
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


def _is_done(source: clips.Source, out: Path, settings: Settings) -> bool:
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


def prepare_source(source: clips.Source, out: Path, settings: Settings, test_identities: frozenset[str]) -> clips.Plan:
    """Plans a video and writes its missing clips, see `clips.prepare`; the detector is loaded once in a process."""
    return clips.prepare(source, out, settings, source.identity in test_identities, _load_detector(settings.crop))


def _prepare_all(
    todo: list[clips.Source],
    total: int,
    out: Path,
    settings: Settings,
    test_identities: frozenset[str],
    processes: int | None,
    execute: workers.Execute | None,
) -> None:
    num_clips = 0

    def on_result(_: clips.Source, plan: clips.Plan) -> None:
        nonlocal num_clips
        num_clips += len(plan.clips)
        for row in plan.rows:
            if not row.frames:
                warnings.warn(row.reason or row.end, stacklevel=2)

    execute = execute or functools.partial(
        workers.run,
        processes=processes or workers.available_cores(),
        name=lambda source: str(source.path),
        finished=total - len(todo),
        unit="video",
        description=f"preparing {out}",
        status=lambda frames: {"frames": frames, "clips": num_clips},
    )
    function = functools.partial(prepare_source, out=out, settings=settings, test_identities=test_identities)
    execute(function, todo, on_result=on_result)
