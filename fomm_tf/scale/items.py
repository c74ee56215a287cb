"""What the PTransforms of all jobs have in common: a function called on each item, counters, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from fomm_tf import errors

COUNTERS = "fomm"
RESULTS, DEAD_LETTERS = "results", "dead_letters"

# The functions record warnings, which is not possible in several threads, and use all cores.
_one_at_a_time = threading.Lock()


class ProcessItems(beam.PTransform):
    """Calls a function on each item; subclasses say what an item is.

    Args:
      function: picklable; a `UserError` that it raises makes the item a dead letter, other exceptions end the pipeline.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    @staticmethod
    def name_item(item: Any) -> str:
        """Identifies an item in results and dead letters."""
        raise NotImplementedError

    @staticmethod
    def count(result: Any) -> Mapping[str, int]:
        """Counters that a result adds to."""
        raise NotImplementedError

    @staticmethod
    def faults(result: Any) -> Sequence[str]:
        """Why the item could not be used; empty if it could."""
        return ()

    @staticmethod
    def to_json(result: Any) -> Any:
        """The result as a value for JSON."""
        return result

    @staticmethod
    def from_json(value: Any) -> Any:
        """The result again."""
        return value

    def expand(self, items: beam.PCollection) -> dict[str, beam.PCollection]:
        call = beam.ParDo(_Call(self._function, type(self))).with_exception_handling(exc_class=errors.UserError)
        results, failed = items | "Distribute" >> beam.Reshuffle() | "Process" >> call
        dead = (
            failed | "Describe" >> beam.Map(_describe_failure, type(self)),
            results | "FindFaults" >> beam.FlatMap(_list_faults, type(self)),
        )
        return {
            RESULTS: results | "ToJson" >> beam.Map(_to_json, type(self)),
            DEAD_LETTERS: dead | "DeadLetters" >> beam.Flatten(),
        }


class _Call(beam.DoFn):
    """Yields pairs of an item's name and its result."""

    def __init__(self, function: Callable[[Any], Any], kind: type[ProcessItems]) -> None:
        self._function, self._kind = function, kind

    def process(self, item: Any) -> Iterator[tuple[str, Any]]:
        _count("read")
        with _one_at_a_time:
            result = self._function(item)
        for name, number in self._kind.count(result).items():
            _count(name, number)
        yield self._kind.name_item(item), result


def _count(name: str, number: int = 1) -> None:
    beam.metrics.Metrics.counter(COUNTERS, name).inc(number)


def _describe_failure(failure: tuple[Any, tuple[Any, str, list[str]]], kind: type[ProcessItems]) -> tuple[str, str]:
    item, (error, _, lines) = failure
    _count("dropped")
    _count(f"dropped: {error.__name__}")
    # The last line of the traceback is `module.UserError: message`.
    return kind.name_item(item), lines[-1].strip().partition(": ")[2]


def _list_faults(named: tuple[str, Any], kind: type[ProcessItems]) -> Iterator[tuple[str, str]]:
    name, result = named
    return ((name, reason) for reason in kind.faults(result))


def _to_json(named: tuple[str, Any], kind: type[ProcessItems]) -> tuple[str, Any]:
    name, result = named
    return name, kind.to_json(result)
