"""The batching queue with a model of a few lines: what is batched, what is dropped, what fails alone."""

import asyncio
import threading
import time
import types

import grpc
import numpy as np
import pytest

from fomm_tf.serving.local import batching, metrics, status

TIMEOUT = 60  # seconds; only a failing test waits so long


class Model:
    """Doubles its input; records the rows of each batch; rejects negative numbers; waits until `may_run` is set.

    Attributes:
      started: a semaphore, released at the start of each batch.
      cancellations: of each batch.
    """

    def __init__(self):
        self.batches, self.may_run, self.started = [], threading.Event(), threading.Semaphore(0)
        self.cancellations = []
        self.may_run.set()

    def run(self, signature, inputs, cancellation, _):
        self.started.release()
        self.cancellations.append(cancellation)
        assert self.may_run.wait(TIMEOUT), "the test did not let the batch run"
        self.batches.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise status.RpcError(grpc.StatusCode.INVALID_ARGUMENT, "x is negative")
        if signature == "broken":
            raise ZeroDivisionError
        return {"y": inputs["x"] * 2}

    async def wait_for_start(self):
        """Waits until a batch has started."""
        assert await asyncio.to_thread(self.started.acquire, timeout=TIMEOUT), "no batch has started"


class Clock:
    """The clock of `batching`: `time.monotonic` plus an offset that the test sets."""

    def __init__(self, monkeypatch):
        self.offset = 0.0
        clock = types.SimpleNamespace(monotonic=self.read, perf_counter=time.perf_counter)
        monkeypatch.setattr(batching, "time", clock)

    def read(self):
        return time.monotonic() + self.offset


def submit(batcher, model, value, rows=1, width=3, signature="double", seconds=10 * TIMEOUT, weight=0):
    inputs = {"x": np.full((rows, width), value, np.float32)}
    deadline = batching.time.monotonic() + seconds
    return asyncio.create_task(batcher.submit(model, signature, inputs, rows, deadline, weight))


async def run_tasks():
    """Lets the tasks that `submit` created run until they wait for their answers."""
    await asyncio.sleep(0)


def run(scenario, threads=1, max_weight=8):
    async def main():
        batcher = batching.Batcher(threads, max_weight, metrics.Metrics("m"))
        try:
            return await asyncio.wait_for(scenario(batcher), 2 * TIMEOUT)
        finally:
            batcher.close()

    return asyncio.run(main())


async def submit_while_busy(batcher, model, *requests):
    """Queues requests while another one is computed; returns their outcomes."""
    model.may_run.clear()
    first = submit(batcher, model, 0)
    await model.wait_for_start()
    tasks = [submit(batcher, model, **request) for request in requests]
    await run_tasks()
    assert len(batcher._queue) == len(requests)
    model.may_run.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_batcher_batches_queued_requests_and_splits_the_outputs():
    model = Model()
    answers = run(
        lambda batcher: submit_while_busy(batcher, model, {"value": 1}, {"value": 2, "rows": 3}, {"value": 3})
    )
    assert model.batches == [1, 5]
    assert [answer["y"].tolist() for answer in answers] == [[[2] * 3], [[4] * 3] * 3, [[6] * 3]]


def test_batcher_runs_a_request_at_once_on_an_idle_thread():
    model = Model()

    async def scenario(batcher):
        return await submit(batcher, model, 4)

    assert run(scenario)["y"].tolist() == [[8] * 3]
    assert model.batches == [1]


@pytest.mark.parametrize(
    ("max_weight", "batches"), [(1, [1, 1, 1, 1]), (2, [1, 2, 1]), (3, [1, 3])], ids=["one", "two", "three"]
)
def test_batcher_respects_max_weight(max_weight, batches):
    model = Model()
    requests = [{"value": value} for value in (1, 2, 3)]
    answers = run(lambda batcher: submit_while_busy(batcher, model, *requests), max_weight=max_weight)
    assert model.batches == batches
    assert [answer["y"][0, 0] for answer in answers] == [2, 4, 6]


def test_batcher_runs_a_request_above_max_weight_alone():
    model = Model()
    run(lambda batcher: submit_while_busy(batcher, model, {"value": 1, "rows": 20}, {"value": 2}))
    assert model.batches == [1, 20, 1]


def test_batcher_counts_the_weight_of_requests():
    model = Model()
    run(lambda batcher: submit_while_busy(batcher, model, {"value": 1, "weight": 8}, {"value": 2}, {"value": 3}))
    assert model.batches == [1, 1, 2]


def test_batcher_cancels_a_batch_when_all_its_requests_are_cancelled(monkeypatch):
    model, cancelled = Model(), threading.Event()
    gates = [threading.Event(), threading.Event()]
    monkeypatch.setattr(model, "may_run", types.SimpleNamespace(wait=lambda _: gates[len(model.batches)].wait(TIMEOUT)))
    monkeypatch.setattr(batching.Cancellation, "cancel", lambda _: cancelled.set())

    async def scenario(batcher):
        first = submit(batcher, model, 0)
        await model.wait_for_start()
        pair = [submit(batcher, model, 1), submit(batcher, model, 2)]
        await run_tasks()
        gates[0].set()
        await first
        await model.wait_for_start()
        pair[0].cancel()
        await asyncio.gather(pair[0], return_exceptions=True)
        assert not cancelled.is_set(), "one of the two is still needed"
        pair[1].cancel()
        assert await asyncio.to_thread(cancelled.wait, TIMEOUT)
        gates[1].set()

    run(scenario)
    assert model.batches == [1, 2]


def test_batcher_separates_shapes_signatures_and_models():
    model, other = Model(), Model()

    async def scenario(batcher):
        model.may_run.clear()
        tasks = [submit(batcher, model, 0)]
        await model.wait_for_start()
        tasks += [submit(batcher, model, 1), submit(batcher, model, 2, width=4)]
        tasks += [submit(batcher, model, 3, signature="twice"), submit(batcher, other, 4), submit(batcher, model, 5)]
        await run_tasks()
        model.may_run.set()
        return [(await task)["y"][0, 0] for task in tasks]

    assert run(scenario) == [0, 2, 4, 6, 8, 10]
    assert model.batches == [1, 2, 1, 1]
    assert other.batches == [1]


def test_batcher_fails_an_invalid_request_alone():
    model = Model()
    answers = run(lambda batcher: submit_while_busy(batcher, model, {"value": 1}, {"value": -1}, {"value": 3}))
    assert [type(answer) for answer in answers] == [dict, status.RpcError, dict]
    assert model.batches == [1, 3, 1, 1, 1]
    assert answers[2]["y"].tolist() == [[6] * 3]


def test_batcher_raises_a_bug_to_its_request_only():
    model = Model()

    async def scenario(batcher):
        with pytest.raises(ZeroDivisionError):
            await submit(batcher, model, 1, signature="broken")
        return await submit(batcher, model, 1)

    assert run(scenario)["y"].tolist() == [[2] * 3]


def test_batcher_drops_expired_and_cancelled_requests(monkeypatch):
    """While another request is computed, one expires and one is cancelled."""
    model, clock = Model(), Clock(monkeypatch)

    async def scenario(batcher):
        monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.read)
        model.may_run.clear()
        first = submit(batcher, model, 0)
        await model.wait_for_start()
        expired, cancelled, kept = (
            submit(batcher, model, 1, seconds=TIMEOUT),
            submit(batcher, model, 2, width=4),
            submit(batcher, model, 3, width=5),
        )
        await run_tasks()
        assert len(batcher._queue) == 3
        clock.offset = 1.5 * TIMEOUT
        with pytest.raises(status.RpcError) as raised:
            await expired
        assert not model.batches, "the deadline does not wait for the running batch"
        cancelled.cancel()
        model.may_run.set()
        await asyncio.gather(first, kept)
        return raised.value.code

    assert run(scenario) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert model.batches == [1, 1]


def test_batcher_drops_a_request_whose_timeout_is_still_to_fire(monkeypatch):
    """The deadline is over, but the event loop has not run the request's timeout yet."""
    model, clock = Model(), Clock(monkeypatch)

    async def scenario(batcher):
        model.may_run.clear()
        first = submit(batcher, model, 0)
        await model.wait_for_start()
        expired = submit(batcher, model, 1, seconds=TIMEOUT)
        await run_tasks()
        clock.offset = 1.5 * TIMEOUT
        model.may_run.set()
        await first
        expired.cancel()

    run(scenario)
    assert model.batches == [1]


def test_batcher_uses_all_threads():
    model = Model()

    async def scenario(batcher, threads):
        model.may_run.clear()
        tasks = [submit(batcher, model, value, width=3 + value) for value in range(2)]
        for _ in range(threads):
            await model.wait_for_start()
        queued = len(batcher._queue)
        model.may_run.set()
        await asyncio.gather(*tasks)
        return queued

    assert run(lambda batcher: scenario(batcher, 2), threads=2) == 0
    assert run(lambda batcher: scenario(batcher, 1), threads=1) == 1


def test_batcher_does_not_run_what_is_cancelled_before_its_thread_starts():
    model = Model()

    async def scenario(batcher):
        task = submit(batcher, model, 1)
        await run_tasks()
        assert not batcher._queue, "the batch has been taken"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await submit(batcher, model, 2)

    assert run(scenario)["y"].tolist() == [[4] * 3]
    assert model.batches == [1]
