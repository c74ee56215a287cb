"""`fomm prepare` as a pipeline."""

from __future__ import annotations

import collections
import contextlib
import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.io.filesystems import FileSystems

from fomm_tf import errors
from fomm_tf.data.prepare import clips, table
from fomm_tf.data.prepare import run as local
from fomm_tf.data.prepare.settings import Settings
from fomm_tf.scale import items, pipeline, storage


class PrepareVideos(items.ProcessItems):
    """Plans videos and writes their clips: a PCollection of `clips.Source` becomes one of plans.

    Args:
      function: `fomm_tf.data.prepare.run.prepare_source` with all arguments but the source.
    """

    @staticmethod
    def name_item(item: clips.Source) -> str:
        return str(item.path)

    @staticmethod
    def count(result: clips.Plan) -> Mapping[str, int]:
        counts = collections.Counter({"clips kept": len(result.clips)})
        for row in result.rows:
            if row.reason:
                noun, reason = ("videos", "unreadable") if row.is_fault else ("segments", table.drop_reason(row))
                counts.update({f"{noun} dropped": 1, f"{noun} dropped: {reason}": 1})
        return counts

    @staticmethod
    def faults(result: clips.Plan) -> Sequence[str]:
        return [row.reason for row in result.rows if row.is_fault]

    @staticmethod
    def to_json(result: clips.Plan) -> Any:
        return result

    @staticmethod
    def from_json(value: Any) -> clips.Plan:
        return clips.Plan.from_json(value)


class Prepared(NamedTuple):
    """What became of a data set.

    Attributes:
      summary: one line.
      dropped: lines about what was dropped and what would keep it.
      dead_letters: pairs of a video and the reason why it cannot be read, or not to its end.
    """

    summary: str
    dropped: Sequence[str]
    dead_letters: Sequence[tuple[str, str]]


def prepare(paths: Sequence[str], out: str, settings: Settings, executor: pipeline.Executor) -> Prepared:
    """Makes a data set of clips, see `fomm_tf.data.prepare.run.prepare`; `paths` and `out` may be URLs.

    Raises:
      errors.UserError: as that function; or for `png`, which writes directories, at a URL.
    """
    has_url = list(map(storage.is_url, (*paths, out)))
    if has_url[-1] and settings.format == "png":
        raise errors.UserError(
            f"`format` png writes directories, which cannot appear at once at {out}; choose mp4, or a local `out`."
        )
    with tempfile.TemporaryDirectory() as place:
        names = storage.Names(place)
        videos = [names.stand_in(path) for path in paths]
        folder = names.stand_in(out, with_contents=(".json", table.TABLE))
        execute = _UrlExecutor(executor, names, folder, out, settings) if any(has_url) else executor
        with _show_urls(names):
            summary = local.prepare(videos, folder, settings, execute=execute)
        if has_url[-1]:
            storage.upload(folder / table.TABLE, FileSystems.join(out, table.TABLE))
        return Prepared(
            names.show(summary),
            [names.show(line) for line in table.describe_dropped(folder)],
            table.list_faults(folder),
        )


class _UrlExecutor:
    """Runs the tasks of `local.prepare` if videos or data set are at URLs.

    Args:
      executor: runs a pipeline.
      names: of the URLs.
      folder: the data set, or stand-ins for it.
      out: path or URL of the data set.
      settings: of the data set.
    """

    def __init__(
        self, executor: pipeline.Executor, names: storage.Names, folder: Path, out: str, settings: Settings
    ) -> None:
        self._executor, self._names, self._folder, self._out, self._settings = executor, names, folder, out, settings
        self._before = set(folder.rglob("*"))

    def __call__(
        self,
        function: Callable[..., clips.Plan],
        tasks: Sequence[clips.Source],
        *,
        on_result: Callable[[clips.Source, clips.Plan], object],
    ) -> None:
        """As `pipeline.Executor`."""
        is_remote = storage.is_url(self._out)
        if is_remote:
            for stale in sorted(self._before - set(self._folder.rglob("*"))):
                storage.delete(self._names.show(stale))
            storage.upload(self._folder / local.RECORD, FileSystems.join(self._out, local.RECORD))

        def keep(source: clips.Source, plan: clips.Plan) -> None:
            if is_remote:
                clips.write_plan(clips.plan_file(self._folder, source), plan)
            on_result(source, plan)

        staged = functools.partial(_prepare_staged, function, self._names, self._out, self._settings)
        self._executor(staged, tasks, on_result=keep)


def _prepare_staged(
    function: Callable[..., clips.Plan], names: storage.Names, out: str, settings: Settings, source: clips.Source
) -> clips.Plan:
    """Prepares a copy of a video, and copies what is written; the plan comes last, as the mark of a finished video."""
    with tempfile.TemporaryDirectory() as place:
        copies, folder = storage.Names(Path(place) / "in"), Path(place) / "out"
        plan = function(source._replace(path=copies.fetch(names.show(source.path))), out=folder)
        plan = plan._replace(rows=tuple(clips.Row(*map(_shown(copies), row)) for row in plan.rows))
        written = [clips.clip_path(folder, row, settings) for row in plan.clips]
        plan_file = clips.plan_file(folder, source)
        clips.write_plan(plan_file, plan)
        for path in (*written, plan_file):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                storage.upload(file, FileSystems.join(out, file.relative_to(folder).as_posix()))
    return plan


def _shown(names: storage.Names) -> Callable[[Any], Any]:
    return lambda value: names.show(value) if isinstance(value, str) else value


@contextlib.contextmanager
def _show_urls(names: storage.Names) -> Iterator[None]:
    """Has errors and warnings of the block name URLs rather than local paths."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except errors.UserError as error:
            error.args = (names.show(error),)
            raise
        finally:
            messages = [(names.show(warning.message), warning.category) for warning in caught]
    for message, category in messages:
        warnings.warn(message, category, stacklevel=3)
