"""The queue with models of a few lines instead of networks: what is joined, what is dropped, what fails alone."""

import asyncio
import threading
import time
import types

import numpy as np
import pytest

from serving.local import batching, metrics, status

SECONDS = 60  # no test waits so long, unless it fails


class Model:
    """Doubles; records the rows of each batch; refuses negative numbers; waits while `held`.

    Attributes:
      entered: a semaphore, released by each batch that begins.
    """

    def __init__(self):
        self.batches, self.held, self.entered = [], threading.Event(), threading.Semaphore(0)
        self.held.set()

    def run(self, signature, inputs):
        self.entered.release()
        assert self.held.wait(SECONDS), "the test did not let the batch go on"
        self.batches.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise status.Refused(status.Code.INVALID_ARGUMENT, "x is negative")
        if signature == "broken":
            raise ZeroDivisionError
        return {"y": inputs["x"] * 2}

    async def begin(self):
        """Waits until a batch has begun."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=SECONDS), "no batch has begun"


class Clock:
    """The clock of `batching`: `time.monotonic`, and ahead of it when the test says so."""

    def __init__(self, monkeypatch):
        self.ahead = 0.0
        clock = types.SimpleNamespace(monotonic=self.read, perf_counter=time.perf_counter)
        monkeypatch.setattr(batching, "time", clock)

    def read(self):
        return time.monotonic() + self.ahead


def submit(batcher, model, value, rows=1, width=3, signature="double", seconds=10 * SECONDS):
    inputs = {"x": np.full((rows, width), value, np.float32)}
    deadline = batching.time.monotonic() + seconds
    return asyncio.create_task(batcher.submit(model, signature, inputs, rows, deadline))


async def queue():
    """Lets the tasks that `submit` has made begin: each goes on until it waits for its answer."""
    await asyncio.sleep(0)


def run(scenario, threads=1, max_rows=8):
    async def main():
        batcher = batching.Batcher(threads, max_rows, metrics.Metrics("m"))
        try:
            return await asyncio.wait_for(scenario(batcher), 2 * SECONDS)
        finally:
            batcher.close()

    return asyncio.run(main())


async def fill(batcher, model, *requests):
    """One request is computed, and held, while the others come; then all are let go. Gives the others' outcomes."""
    model.held.clear()
    first = submit(batcher, model, 0)
    await model.begin()
    tasks = [submit(batcher, model, **request) for request in requests]
    await queue()
    assert len(batcher._waiting) == len(requests)
    model.held.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_is_joined_and_each_gets_its_own():
    model = Model()
    answers = run(lambda batcher: fill(batcher, model, {"value": 1}, {"value": 2, "rows": 3}, {"value": 3}))
    assert model.batches == [1, 5]
    assert [answer["y"].tolist() for answer in answers] == [[[2] * 3], [[4] * 3] * 3, [[6] * 3]]


def test_an_idle_thread_takes_a_request_at_once():
    model = Model()

    async def one(batcher):
        return await submit(batcher, model, 4)

    assert run(one)["y"].tolist() == [[8] * 3]
    assert model.batches == [1]


@pytest.mark.parametrize(
    ("max_rows", "batches"), [(1, [1, 1, 1, 1]), (2, [1, 2, 1]), (3, [1, 3])], ids=["alone", "two", "three"]
)
def test_a_batch_has_no_more_rows_than_that(max_rows, batches):
    model = Model()
    requests = [{"value": value} for value in (1, 2, 3)]
    answers = run(lambda batcher: fill(batcher, model, *requests), max_rows=max_rows)
    assert model.batches == batches
    assert [answer["y"][0, 0] for answer in answers] == [2, 4, 6]


def test_a_request_of_more_rows_runs_alone():
    model = Model()
    run(lambda batcher: fill(batcher, model, {"value": 1, "rows": 20}, {"value": 2}))
    assert model.batches == [1, 20, 1]


def test_other_shapes_signatures_and_models_are_not_joined():
    model, other = Model(), Model()

    async def scenario(batcher):
        model.held.clear()
        tasks = [submit(batcher, model, 0)]
        await model.begin()
        tasks += [submit(batcher, model, 1), submit(batcher, model, 2, width=4)]
        tasks += [submit(batcher, model, 3, signature="twice"), submit(batcher, other, 4), submit(batcher, model, 5)]
        await queue()
        model.held.set()
        return [(await task)["y"][0, 0] for task in tasks]

    assert run(scenario) == [0, 2, 4, 6, 8, 10]
    assert model.batches == [1, 2, 1, 1]
    assert other.batches == [1]


def test_a_spoilt_request_fails_alone():
    model = Model()
    answers = run(lambda batcher: fill(batcher, model, {"value": 1}, {"value": -1}, {"value": 3}))
    assert [type(answer) for answer in answers] == [dict, status.Refused, dict]
    assert model.batches == [1, 3, 1, 1, 1]
    assert answers[2]["y"].tolist() == [[6] * 3]


def test_a_bug_reaches_those_who_asked_and_nobody_later():
    model = Model()

    async def scenario(batcher):
        with pytest.raises(ZeroDivisionError):
            await submit(batcher, model, 1, signature="broken")
        return await submit(batcher, model, 1)

    assert run(scenario)["y"].tolist() == [[2] * 3]


def test_nobody_computes_what_nobody_waits_for(monkeypatch):
    """Two requests go while a third is computed: one at its deadline, one because its client has gone."""
    model, clock = Model(), Clock(monkeypatch)

    async def scenario(batcher):
        monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.read)
        model.held.clear()
        first = submit(batcher, model, 0)
        await model.begin()
        late, gone, kept = (
            submit(batcher, model, 1, seconds=SECONDS),
            submit(batcher, model, 2, width=4),
            submit(batcher, model, 3, width=5),
        )
        await queue()
        assert len(batcher._waiting) == 3
        clock.ahead = 1.5 * SECONDS
        with pytest.raises(status.Refused) as raised:
            await late
        assert not model.batches, "the deadline waits for nothing"
        gone.cancel()
        model.held.set()
        await asyncio.gather(first, kept)
        return raised.value.code

    assert run(scenario) == status.Code.DEADLINE_EXCEEDED
    assert model.batches == [1, 1]


def test_a_deadline_that_is_over_before_the_turn_comes_counts_at_once(monkeypatch):
    """The clock is past it, though the loop has not woken the request yet."""
    model, clock = Model(), Clock(monkeypatch)

    async def scenario(batcher):
        model.held.clear()
        first = submit(batcher, model, 0)
        await model.begin()
        late = submit(batcher, model, 1, seconds=SECONDS)
        await queue()
        clock.ahead = 1.5 * SECONDS
        model.held.set()
        await first
        late.cancel()

    run(scenario)
    assert model.batches == [1]


def test_two_threads_compute_at_once():
    model = Model()

    async def scenario(batcher, threads):
        model.held.clear()
        tasks = [submit(batcher, model, value, width=3 + value) for value in range(2)]
        for _ in range(threads):
            await model.begin()
        waiting = len(batcher._waiting)
        model.held.set()
        await asyncio.gather(*tasks)
        return waiting

    assert run(lambda batcher: scenario(batcher, 2), threads=2) == 0
    assert run(lambda batcher: scenario(batcher, 1), threads=1) == 1
