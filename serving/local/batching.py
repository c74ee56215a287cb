"""Requests in a row, joined where they fit: what has come while the threads were busy is computed together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import time

import numpy as np

from serving.local import metrics, status
from serving.local.servable import Arrays, Servable


@dataclasses.dataclass(eq=False)
class _Request:
    """One that waits; equal to itself alone.

    Attributes:
      key: servable, signature and the inputs' shapes without the batch axis: those of one key can be joined.
      inputs: all with `rows` on axis 0.
      deadline: `time.monotonic` after which nobody waits for it.
      answer: where its outputs go.
    """

    key: tuple
    inputs: Arrays
    rows: int
    deadline: float
    answer: asyncio.Future


class Batcher:
    """Runs requests on a few threads, the oldest first; belongs to one event loop.

    Args:
      threads: how many batches are computed at once.
      max_rows: of a joined batch; a larger request runs by itself.
      watch: told of every batch.
    """

    def __init__(self, threads: int, max_rows: int, watch: metrics.Metrics) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._max_rows, self._watch = max_rows, watch
        self._waiting: list[_Request] = []
        self._idle = threads

    async def submit(self, servable: Servable, signature: str, inputs: Arrays, rows: int, deadline: float) -> Arrays:
        """Waits for the turn and the answer.

        Args:
          servable, signature: what to run.
          inputs: checked, each with `rows` on axis 0.
          rows: how many.
          deadline: `time.monotonic` after which it need not run any more.

        Raises:
          status.Refused: as the model does; DEADLINE_EXCEEDED.
        """
        shapes = tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))
        key = (servable, signature, shapes)
        request = _Request(key, inputs, rows, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._start()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await request.answer
        except TimeoutError:
            raise status.Refused(
                status.Code.DEADLINE_EXCEEDED, "no answer within the request's deadline; send less, or allow more time."
            ) from None

    def close(self) -> None:
        """Ends the threads, after what they are computing."""
        self._pool.shutdown()

    def _start(self) -> None:
        while self._idle and (batch := self._next()):
            self._idle -= 1
            asyncio.get_running_loop().create_task(self._compute(batch))

    def _next(self) -> list[_Request]:
        """The oldest request that somebody waits for, with those that fit; none stays behind that nobody waits for."""
        now = time.monotonic()
        waiting = [each for each in self._waiting if not each.answer.done() and each.deadline > now]
        batch, rows = [], 0
        for request in waiting:
            if not batch or (request.key == batch[0].key and rows + request.rows <= self._max_rows):
                batch.append(request)
                rows += request.rows
        self._waiting = [each for each in waiting if each not in batch]
        return batch

    async def _compute(self, batch: list[_Request]) -> None:
        answers = await self._attempt(batch)
        if len(batch) > 1 and isinstance(answers[0], status.Refused):
            # One spoilt request must not spoil the others.
            answers = [answer for request in batch for answer in await self._attempt([request])]
        self._idle += 1
        for request, answer in zip(batch, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        self._start()

    async def _attempt(self, batch: list[_Request]) -> list[Arrays] | list[Exception]:
        began = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _run_joined, batch)
        except Exception as error:
            return [error] * len(batch)
        finally:
            self._watch.batch(sum(request.rows for request in batch), time.perf_counter() - began)


def _run_joined(batch: list[_Request]) -> list[Arrays]:
    servable, signature, _ = batch[0].key
    if len(batch) == 1:
        return [servable.run(signature, batch[0].inputs)]
    joined = {name: np.concatenate([request.inputs[name] for request in batch]) for name in batch[0].inputs}
    ends = np.cumsum([request.rows for request in batch])[:-1]
    parts = {name: np.split(array, ends) for name, array in servable.run(signature, joined).items()}
    return [{name: arrays[number] for name, arrays in parts.items()} for number in range(len(batch))]
