"""Runs a PTransform of this package on a Beam runner: options, results, counters, dead letters."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options import pipeline_options
from apache_beam.runners import runner as beam_runners

from fomm_tf import errors, files
from fomm_tf.scale import items, storage

DEAD_LETTERS = "dead-letters.csv"
_HEADER = ("input", "reason")
_QUIET = "ERROR"
# Runners of Beam's Python SDK alone: an option that it does not know is a mistake.
_PYTHON_RUNNERS = {"direct", "directrunner", "fnapirunner"}


def parse_options(runner: str, arguments: Sequence[str], verbose: bool = False) -> pipeline_options.PipelineOptions:
    """Parses options of Beam, `--name=value` each.

    Args:
      runner: name of a runner, or `module.Class`.
      arguments: the options.
      verbose: show Beam's log messages.

    Raises:
      errors.UserError: for an unknown runner, an option in another form or with a bad value, or one that is unknown
        to a runner which runs in Python.
    """
    for argument in arguments:
        name, is_long, rest = argument.partition("--")
        if name or not is_long or "-" in rest.partition("=")[0]:
            raise errors.UserError(f"unrecognized argument {argument}; options of Beam are written --name=value.")
    options = pipeline_options.PipelineOptions([*arguments, f"--runner={runner}"])
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _logs_from(None if verbose else _QUIET):
            beam_runners.create_runner(runner)
            known, every = (options.get_all_options(retain_unknown_options=keep) for keep in (False, True))
    except SystemExit:
        reason = complaint.getvalue().strip().rpartition("error: ")[2]
        raise errors.UserError(f"options of Beam: {reason}; write them as --name=value.") from None
    except (ImportError, AttributeError, ValueError) as error:
        raise errors.UserError(f"`runner` {runner}: {error}") from None
    unknown = every.keys() - known.keys()
    if unknown and runner.lower() in _PYTHON_RUNNERS:
        raise errors.UserError(f"unrecognized arguments --{', --'.join(sorted(unknown))}: {runner} has no such option.")
    logs = options.view_as(pipeline_options.WorkerOptions)
    if logs.default_sdk_harness_log_level is None and not verbose:
        logs.default_sdk_harness_log_level = _QUIET
    return options


class Executor:
    """Runs the tasks of a command as a pipeline; takes the place of `workers.run`.

    Args:
      transform: the PTransform of the job.
      options: from `parse_options`.
      out: directory for intermediate results, which are deleted; all workers can write there.

    Attributes:
      out: the directory.
      counters: what the pipeline counted.
      dead_letters: pairs of an input and the reason why it could not be used, sorted.
    """

    def __init__(
        self, transform: type[items.ProcessItems], options: pipeline_options.PipelineOptions, out: str
    ) -> None:
        self._transform, self._options, self.out = transform, options, out
        self.counters: dict[str, int] = {}
        self.dead_letters: list[tuple[str, str]] = []

    def __call__(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        on_result: Callable[[Any, Any], object],
        on_failure: Callable[[Any, str], object] | None = None,
    ) -> None:
        """Calls `on_result` with each task and its result, in order, when the pipeline has ended.

        Args:
          function: called with each task on a worker.
          tasks: in any number that the runner accepts.
          on_result: receives a task and its result.
          on_failure: receives a task for which the function raised a `UserError`, and the message.

        Raises:
          errors.UserError: if the pipeline fails; or the first one that the function raised, without `on_failure`.
        """
        if not tasks:
            return
        place = FileSystems.join(self.out, f"{files.TEMPORARY_PREFIX}beam-{uuid.uuid4().hex}")
        try:
            self._run(self._transform(function), tasks, place)
            results = dict(_read_lines(FileSystems.join(place, items.RESULTS)))
            letters = _read_lines(FileSystems.join(place, items.DEAD_LETTERS))
            self.dead_letters = sorted((name, reason) for name, reason in letters)
        finally:
            storage.delete(place)
        reasons = dict(self.dead_letters)
        for task in tasks:
            name = self._transform.name_item(task)
            if name in results:
                on_result(task, self._transform.from_json(results[name]))
            elif on_failure is not None:
                on_failure(task, reasons[name])
            else:
                raise errors.UserError(reasons[name])

    def _run(self, transform: items.ProcessItems, tasks: Sequence[Any], place: str) -> None:
        level = self._options.view_as(pipeline_options.WorkerOptions).default_sdk_harness_log_level
        with _logs_from(level):
            pipeline = beam.Pipeline(options=self._options)
            outputs = pipeline | "Tasks" >> beam.Create(tasks) | transform
            for name, rows in outputs.items():
                write = beam.io.WriteToText(FileSystems.join(place, name))
                _ = rows | f"Encode-{name}" >> beam.Map(json.dumps) | f"Write-{name}" >> write
            result = pipeline.run()
            state = result.wait_until_finish()
            if state != beam.runners.runner.PipelineState.DONE:
                raise errors.UserError(f"the pipeline ended as {state}; its runner's log has the reason.")
            counters = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(items.COUNTERS))["counters"]
        for counter in counters:
            self.counters[counter.key.metric.name] = self.counters.get(counter.key.metric.name, 0) + counter.result


def describe_counters(counters: dict[str, int]) -> str:
    """The counters in one line, sorted by name."""
    return "; ".join(f"{name} {number}" for name, number in sorted(counters.items()))


def write_dead_letters(out: str, letters: Iterable[tuple[str, str]]) -> str | None:
    """Writes the dead-letter table into a directory, or deletes it if there are no dead letters; returns its path."""
    path, rows = FileSystems.join(out, DEAD_LETTERS), sorted(set(letters))
    if not rows:
        storage.delete(path)
        return None
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_HEADER, *rows])
    storage.write_text(path, text.getvalue())
    return path


def _read_lines(prefix: str) -> Iterator[Any]:
    for path in storage.list_files(f"{prefix}-*"):
        with FileSystems.open(path.path) as file:
            yield from map(json.loads, io.TextIOWrapper(file, encoding="utf-8"))


@contextlib.contextmanager
def _logs_from(level: str | None) -> Iterator[None]:
    """Hides what is logged in this process below a level."""
    logger = logging.getLogger()
    before = logger.level
    if level is not None:
        logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
