"""`--runner`: `fomm prepare`, `animate-set` and `evaluate` on Apache Beam instead of on this machine's processes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fomm_tf import console, errors

if TYPE_CHECKING:
    from fomm_tf.scale import items, pipeline


def add_runner(parser: console.Parser) -> None:
    """Declares the runner; `pipeline_options` then has the arguments that the command does not know."""
    text = (
        "run on Apache Beam (extra beam): DirectRunner, FlinkRunner, SparkRunner, DataflowRunner or another one; "
        "options of Beam follow as --name=value (default: processes on this machine)"
    )
    parser.add_argument("--runner", metavar="RUNNER", help=text)
    parser.takes_foreign_options = True


@contextlib.contextmanager
def requires_beam(arguments: argparse.Namespace, jobs: object = None) -> Iterator[None]:
    """Reports that Beam is not installed, or that the number of local processes is given beside a runner."""
    if jobs is not None:
        raise errors.UserError(
            f"--jobs is for processes on this machine, but --runner is {arguments.runner}; give an option of "
            "the runner instead, such as --direct_num_workers=4."
        )
    with console.requires_extra("beam"):
        yield


def make_executor(arguments: argparse.Namespace, transform: type[items.ProcessItems]) -> pipeline.Executor:
    """What runs the tasks of a command as a pipeline.

    Raises:
      errors.UserError: if the runner or an option is invalid.
    """
    from fomm_tf.scale import pipeline

    options = pipeline.parse_options(arguments.runner, arguments.pipeline_options, arguments.verbose)
    return pipeline.Executor(transform, options, arguments.out)


def report(executor: pipeline.Executor, letters: Iterable[tuple[str, str]], quiet: bool = False) -> None:
    """After a pipeline, writes the dead-letter table, and prints its name and the counters."""
    if not executor.counters:
        return
    from fomm_tf.scale import pipeline

    table = pipeline.write_dead_letters(executor.out, letters)
    if not quiet:
        print(f"counters: {pipeline.describe_counters(executor.counters)}")
        if table is not None:
            print(f"dead letters: {table}")
