"""The part of the server that both protocols share: admission, budgets, checks and batching."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TypeVar

import grpc

from fomm_tf import video
from fomm_tf.serving.local import batching, codec_pool, inputs, memory, metrics, servable, status, versions

Result = TypeVar("Result")

_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
# What an encoded image counts for that has no readable header: as many pixels as the exported models accept.
_UNKNOWN_PIXELS = 25_000_000
# Pixels that cost as much as one frame.
_PIXELS_PER_FRAME = 1_000_000
# Seconds for which a request waits for bytes of the budget.
_BUDGET_WAIT = 1.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """The server's limits."""

    max_requests: int = 128  # complete requests in the server at once, queued or computed
    max_request_bytes: int = 16 * 2**20  # size of a request
    max_total_bytes: int = 512 * 2**20  # of all requests and answers in memory
    max_connections: int = 512  # of each protocol
    max_frames: int = 64  # frames, or other items along a signature's variable axes, of a request
    max_pixels: int = 100_000_000  # that the encoded images of a request declare
    timeout: float = 60.0  # seconds for a request without a deadline
    idle_timeout: float = 10.0  # seconds for a header, the next part of a body, or a gRPC message
    max_batch_frames: int = 8  # frames of requests that are batched; a request of more is a large one
    num_threads: int = 1  # batches of small requests, and as many large ones, computed at once

    @property
    def max_answer_bytes(self) -> int:
        """Of the outputs of a request."""
        return self.max_total_bytes // 4

    @property
    def max_runs(self) -> int:
        """How many runs of the model there are at once."""
        return 2 * self.num_threads

    @property
    def max_memory(self) -> int:
        """Bytes that the process takes at most, beside the loaded model."""
        runs, connections = self.max_runs * memory.RUN_BYTES, self.max_connections * memory.CONNECTION_BYTES
        return self.max_total_bytes + runs + connections


class ServerCore:
    """One model behind both protocols; belongs to one event loop.

    Args:
      version_manager: the model's versions.
      limits: the server's limits.
      token: what clients must send as `Authorization: Bearer TOKEN`; None lets all in.

    Attributes:
      stopping: set when the server ends: whatever has not arrived by then is not waited for.
    """

    def __init__(self, version_manager: versions.VersionManager, limits: Limits, token: str | None = None) -> None:
        self.versions, self.limits, self.token = version_manager, limits, token
        self.stopping = asyncio.Event()
        self.metrics = metrics.Metrics(version_manager.name)
        # Large requests wait for each other, and leave the processor to small ones.
        self._small, self._large = (
            batching.Batcher(limits.num_threads, limits.max_batch_frames, self.metrics, background)
            for background in (False, True)
        )
        self.codecs = codec_pool.CodecPool(limits.max_runs, limits.max_request_bytes, limits.timeout)
        self._admitted = self._bytes = 0
        self._freed = asyncio.Event()
        self.metrics.watch("queued_requests", "Requests that wait for a thread.", self._count_queued)
        self.metrics.watch("admitted_requests", "Requests that are queued or computed.", lambda: self._admitted)
        self.metrics.watch("message_bytes", "Bytes of requests and answers in memory.", lambda: self._bytes)

    @property
    def sizes(self) -> inputs.Sizes:
        """Limits of a request's inputs."""
        return inputs.Sizes(self.limits.max_frames, self.limits.max_request_bytes)

    @contextlib.contextmanager
    def record(self, entrypoint: str) -> Iterator[None]:
        """Counts and times a request by its outcome."""
        start, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            yield
        except status.RpcError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            raise
        finally:
            self.metrics.count_request(code.name, entrypoint, time.perf_counter() - start)

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Admits a request that has arrived; rejects it if the server is full.

        Raises:
          status.RpcError: UNAVAILABLE.
        """
        if self._admitted >= self.limits.max_requests:
            raise status.unavailable(f"the queue is full: {self._admitted} requests are queued")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextlib.contextmanager
    def hold_bytes(self) -> Iterator[HeldBytes]:
        """Yields a request's share of the byte budget, which is returned when the block ends."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            held.set(0)

    async def wait_for_input(self, awaitable: Awaitable[Result], seconds: float) -> Result:
        """Awaits something from a client, for a time, and not once the server is stopping.

        Raises:
          status.RpcError: DEADLINE_EXCEEDED or UNAVAILABLE.
        """
        task, stop = asyncio.ensure_future(awaitable), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if stop.done():
                raise status.unavailable("the server is stopping")
            raise status.RpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"nothing arrived for {seconds:g} s; send the request faster.",
                http_status=status.REQUEST_TIMEOUT,
            )
        finally:
            task.cancel()
            stop.cancel()

    @contextlib.asynccontextmanager
    async def predict(
        self, version: servable.Servable, signature: str, arrays: inputs.Arrays, deadline: float
    ) -> AsyncIterator[inputs.Arrays]:
        """Runs a signature and yields its outputs, which count in the byte budget until the block ends.

        Args:
          version: the leased version.
          signature: its name.
          arrays: the inputs, with checked shapes.
          deadline: `time.monotonic` after which the answer is not needed.

        Raises:
          status.RpcError: from the model, DEADLINE_EXCEEDED, or UNAVAILABLE.
        """
        rows, frames = inputs.check_batch(arrays), inputs.count_frames(arrays, version.inputs[signature])
        size, limit = inputs.answer_bytes(version.outputs(signature), rows, frames), self.limits.max_answer_bytes
        message = f"{signature}: the answer would have {size:,} bytes; expected at most {limit:,}; split the request."
        status.require(size <= limit, message)
        pixels = 0
        if any(array.dtype == object for array in arrays.values()):
            pixels = await self.codecs.run(lambda: _count_pixels(arrays, self.limits.max_pixels))
        weight = max(frames, pixels // _PIXELS_PER_FRAME)
        batcher = self._small if weight <= self.limits.max_batch_frames else self._large
        with self.hold_bytes() as held:
            await held.add(size)
            yield await batcher.submit(version, signature, arrays, rows, deadline, weight)

    def close(self) -> None:
        """Stops the threads after their current work."""
        self._small.close()
        self._large.close()
        self.codecs.close()

    def _count_queued(self) -> int:
        return self._small.queued + self._large.queued

    async def _take(self, count: int) -> None:
        try:
            async with asyncio.timeout(_BUDGET_WAIT):
                while self._bytes + count > self.limits.max_total_bytes:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise status.unavailable(f"requests of {self._bytes:,} bytes are in memory") from None
        self._bytes += count


class HeldBytes:
    """Bytes of the budget that one request holds."""

    def __init__(self, core: ServerCore) -> None:
        self._core, self._count = core, 0

    async def add(self, count: int) -> None:
        """Takes more.

        Raises:
          status.RpcError: UNAVAILABLE, if the budget is used up.
        """
        await self._core._take(count)
        self._count += count

    def set(self, count: int) -> None:
        """Holds so many instead, without waiting: for what is in memory already."""
        self._core._bytes += count - self._count
        self._count = count
        self._core._freed.set()


def _count_pixels(arrays: inputs.Arrays, max_pixels: int) -> int:
    """Returns how many pixels the encoded images among the inputs declare.

    Raises:
      status.RpcError: if they are more than the limit; names the input.
    """
    total = 0
    for name, array in arrays.items():
        for data in array.flat if array.dtype == object else ():
            if data.startswith(_IMAGE_MAGIC):
                height, width = video.declared_size(data) or (1, _UNKNOWN_PIXELS)
                total += height * width
        message = f"{name}: its images declare {total:,} pixels; expected at most {max_pixels:,}; make them smaller."
        status.require(total <= max_pixels, message)
    return total
