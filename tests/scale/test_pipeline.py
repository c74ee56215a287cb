"""Options for a runner, and tasks that fail."""

import logging

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options

from fomm_tf import errors
from fomm_tf.scale import items, pipeline


class Halve(items.ProcessItems):
    """Halves even numbers."""

    @staticmethod
    def name_item(item):
        return f"number {item}"

    @staticmethod
    def count(result):
        return {"halved": 1}


def halve(number):
    if number % 2:
        raise errors.UserError(f"{number} is odd")
    return number // 2


@pytest.fixture
def executor(tmp_path):
    return pipeline.Executor(Halve, pipeline.parse_options("DirectRunner", []), str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "verbose", "level"),
    [
        ([], False, "ERROR"),
        ([], True, None),
        (["--default_sdk_harness_log_level=DEBUG"], False, "DEBUG"),
        (["--default_sdk_harness_log_level=DEBUG"], True, "DEBUG"),
    ],
)
def test_parse_options_silences_workers_unless_asked(arguments, verbose, level):
    before = logging.getLogger().level
    options = pipeline.parse_options("DirectRunner", arguments, verbose)
    assert options.view_as(pipeline_options.WorkerOptions).default_sdk_harness_log_level == level
    assert logging.getLogger().level == before


def test_executor_raises_what_a_task_raised_unless_failures_are_received(executor, tmp_path):
    results, failures = {}, {}
    executor(halve, [4, 3, 8], on_result=results.__setitem__, on_failure=failures.__setitem__)
    assert results == {4: 2, 8: 4} and failures == {3: "3 is odd"}
    assert executor.dead_letters == [("number 3", "3 is odd")]
    assert executor.counters == {"read": 3, "halved": 2, "dropped": 1, "dropped: UserError": 1}
    results.clear()
    with pytest.raises(errors.UserError, match=r"^3 is odd$"):
        executor(halve, [4, 3, 8], on_result=results.__setitem__)
    assert results == {4: 2} and not list(tmp_path.iterdir())


def test_executor_without_tasks_starts_no_pipeline(executor, monkeypatch, tmp_path):
    monkeypatch.delattr(beam, "Pipeline")
    executor(halve, [], on_result=None)
    assert not executor.counters and not list(tmp_path.iterdir())


def test_executor_reports_a_pipeline_that_its_runner_cancels(executor, monkeypatch, tmp_path):
    run = beam.Pipeline.run

    def cancel(self):
        result = run(self)
        monkeypatch.setattr(result, "wait_until_finish", lambda: "CANCELLED", raising=False)
        return result

    monkeypatch.setattr(beam.Pipeline, "run", cancel)
    with pytest.raises(errors.UserError, match=r"the pipeline ended as CANCELLED; its runner's log has the reason\."):
        executor(halve, [2], on_result=None)
    assert not list(tmp_path.iterdir())


def test_dead_letter_table_is_deleted_when_there_are_none(tmp_path):
    path = pipeline.write_dead_letters(str(tmp_path), [("b", "x"), ("a", "y, z"), ("b", "x")])
    with open(path, encoding="utf-8") as file:
        assert file.read() == 'input,reason\na,"y, z"\nb,x\n'
    for _ in range(2):
        assert pipeline.write_dead_letters(str(tmp_path), []) is None
        assert not list(tmp_path.iterdir())
