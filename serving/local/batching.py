"""The queue of requests, with dynamic batching: compatible requests that wait for a thread are computed together.

Compared with what others keep:
  * TF-Serving's own batching, `BatchFunction` (`tf.nondifferentiable_batch_function`), is an operation: it must be part
    of the SavedModel, fails the whole batch for one invalid request, and neither drops nor cancels a request;
  * BentoML, Ray Serve and LitServe batch behind servers of their own, without TF-Serving's protocols;
  * packages for asyncio alone (`batched`, `aiobatch`, `async-batcher`) wait a fixed time for a batch to fill. This
    queue waits for a free thread only: a single client pays nothing, and under load batches fill by themselves.
None of them knows of deadlines, or ends the run of a batch that nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import time

import grpc
import numpy as np

from fomm_tf.serving.local import metrics, status
from fomm_tf.serving.local.inputs import Arrays
from fomm_tf.serving.local.servable import Cancellation, Servable


@dataclasses.dataclass(eq=False)
class _Request:
    """A queued request; compared by identity."""

    key: tuple  # servable, signature and shapes of the inputs without the batch axis; equal keys can be batched
    inputs: Arrays  # all with `rows` on axis 0
    rows: int
    weight: int  # what counts for the size of a batch: rows, or more for clips and large images
    deadline: float  # `time.monotonic` after which the answer is not needed
    answer: asyncio.Future  # the future outputs


class Batcher:
    """Runs requests on a few threads, the oldest first; belongs to one event loop.

    Args:
      num_threads: batches computed at once.
      max_weight: of a batch of several requests; a larger request runs alone.
      recorder: counts and times every batch.
      background: whether to compute with low priority.
    """

    def __init__(self, num_threads: int, max_weight: int, recorder: metrics.Metrics, background: bool = False) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="predict")
        self._max_weight, self._recorder, self._background = max_weight, recorder, background
        self._queue: list[_Request] = []
        self._idle_threads = num_threads

    async def submit(
        self, servable: Servable, signature: str, inputs: Arrays, rows: int, deadline: float, weight: int = 0
    ) -> Arrays:
        """Queues a request and waits for its outputs; if the caller is cancelled, so is the run.

        Args:
          servable: the model version.
          signature: what to run.
          inputs: checked, each with `rows` on axis 0.
          rows: how many.
          deadline: `time.monotonic` after which the answer is not needed.
          weight: the rows that it counts for, if they are more than `rows`.

        Raises:
          status.RpcError: from the model, or DEADLINE_EXCEEDED.
        """
        shapes = tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))
        key = (servable, signature, shapes)
        answer = asyncio.get_running_loop().create_future()
        request = _Request(key, inputs, rows, max(rows, weight), deadline, answer)
        self._queue.append(request)
        self._start_batches()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await request.answer
        except TimeoutError:
            raise status.RpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "no answer within the request's deadline; send a smaller request, or a longer deadline.",
            ) from None

    def close(self) -> None:
        """Stops the threads after their current batches."""
        self._pool.shutdown()

    @property
    def queued(self) -> int:
        """How many requests wait for a thread."""
        return sum(not request.answer.done() for request in self._queue)

    def _start_batches(self) -> None:
        while self._idle_threads and (batch := self._next_batch()):
            self._idle_threads -= 1
            asyncio.get_running_loop().create_task(self._compute(batch))

    def _next_batch(self) -> list[_Request]:
        """Takes the oldest request and those that fit into its batch; drops cancelled and expired ones."""
        now = time.monotonic()
        queue = [request for request in self._queue if not request.answer.done() and request.deadline > now]
        batch, weight = [], 0
        for request in queue:
            if not batch or (request.key == batch[0].key and weight + request.weight <= self._max_weight):
                batch.append(request)
                weight += request.weight
        self._queue = [request for request in queue if request not in batch]
        return batch

    async def _compute(self, batch: list[_Request]) -> None:
        answers = await self._try_batch(batch)
        if len(batch) > 1 and isinstance(answers[0], status.RpcError):
            # One invalid request must not fail the others.
            answers = [answer for request in batch for answer in await self._try_batch([request])]
        self._idle_threads += 1
        for request, answer in zip(batch, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        self._start_batches()

    async def _try_batch(self, batch: list[_Request]) -> list[Arrays] | list[Exception]:
        if all(request.answer.done() for request in batch):
            return [status.cancelled()] * len(batch)
        loop, cancellation, start = asyncio.get_running_loop(), Cancellation(), time.perf_counter()
        waiting = len(batch)

        def count_down(_: asyncio.Future) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:  # in a thread, since it waits for one of TensorFlow's
                loop.run_in_executor(None, cancellation.cancel)

        for request in batch:
            request.answer.add_done_callback(count_down)
        try:
            return await loop.run_in_executor(self._pool, _run_batch, batch, cancellation, self._background)
        except Exception as error:
            return [error] * len(batch)
        finally:
            for request in batch:
                request.answer.remove_done_callback(count_down)
            self._recorder.count_batch(sum(request.rows for request in batch), time.perf_counter() - start)


def _run_batch(batch: list[_Request], cancellation: Cancellation, background: bool) -> list[Arrays]:
    servable, signature, _ = batch[0].key

    def run(inputs: Arrays) -> Arrays:
        return servable.run(signature, inputs, cancellation, background)

    if len(batch) == 1:
        return [run(batch[0].inputs)]
    inputs = {name: np.concatenate([request.inputs[name] for request in batch]) for name in batch[0].inputs}
    ends = np.cumsum([request.rows for request in batch])[:-1]
    outputs = {name: np.split(array, ends) for name, array in run(inputs).items()}
    return [{name: arrays[index] for name, arrays in outputs.items()} for index in range(len(batch))]
