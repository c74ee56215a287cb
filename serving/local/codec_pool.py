"""Where messages are converted: small ones in threads, larger JSON in two processes by size.

Python's JSON parsers hold the interpreter's lock while they build a list, and 60 MB of `[]` become 20 million of them:
in this process, no other request would be answered meanwhile. One process is for messages of a few frames, which do
not wait for larger ones. They have a limit of memory, import no TensorFlow, and end with the server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import importlib
import multiprocessing
import multiprocessing.connection
import pathlib
import signal
from collections.abc import Callable
from typing import TypeVar

import grpc

from fomm_tf.serving.local import memory, priority, status

Result = TypeVar("Result")


class CodecPool:
    """Runs conversions outside of the event loop.

    Args:
      num_threads: for small messages.
      max_bytes: the size of the largest message.
      timeout: seconds for one message in a process.
    """

    def __init__(self, num_threads: int, max_bytes: int, timeout: float) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="codec")
        self._medium = Parser(memory.PARSING_FACTOR * min(max_bytes, memory.MEDIUM_BYTES), timeout, background=False)
        self._large = Parser(memory.PARSING_FACTOR * max_bytes, timeout, background=True)

    async def run(self, function: Callable[[], Result], size: int = 0) -> Result:
        """Runs a function of a message.

        Args:
          function: for a large message, one that can be pickled.
          size: of the message, in bytes; 0 for a function that must run in this process.

        Raises:
          status.RpcError: from the function; RESOURCE_EXHAUSTED if the message takes too much memory or time.
        """
        loop = asyncio.get_running_loop()
        if size <= memory.SMALL_BYTES:
            return await loop.run_in_executor(self._threads, function)
        parser = self._medium if size <= memory.MEDIUM_BYTES else self._large
        try:
            return await loop.run_in_executor(parser.thread, parser.run, function)
        except MemoryError:
            raise status.RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "request: its values take too much memory or time; send fewer values in a request.",
                http_status=status.CONTENT_TOO_LARGE,
            ) from None

    def close(self) -> None:
        """Stops the threads after their current work, and the processes."""
        for parser in (self._medium, self._large):
            parser.thread.shutdown(cancel_futures=True)
            parser.close()
        self._threads.shutdown()


class Parser:
    """Runs functions in a process that starts with the first one.

    Args:
      max_bytes: its limit of memory, beyond what Python itself takes.
      timeout: seconds for one function.
      background: whether the process has a low priority.

    Attributes:
      thread: the only one that may call `run`.
    """

    def __init__(self, max_bytes: int, timeout: float, background: bool) -> None:
        self._max_bytes, self._timeout, self._background = max_bytes, timeout, background
        self.thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="parser")
        self._process: multiprocessing.Process | None = None
        self._connection: multiprocessing.connection.Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process, if it has started."""
        return self._process and self._process.pid

    def run(self, function: Callable[[], Result]) -> Result:
        """Returns the function's result, or raises what it raises.

        Raises:
          MemoryError: if it needs too much memory or time.
        """
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(other, self._max_bytes, self._background), daemon=True)
            self._process.start()
            other.close()
        try:
            self._connection.send(function)
            if not self._connection.poll(self._timeout):
                raise EOFError
            result = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            raise MemoryError from None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def _serve(connection: multiprocessing.connection.Connection, max_bytes: int, background: bool) -> None:
    """Runs functions until the other end is closed, as at the end of the server."""
    if background:
        priority.lower()
    importlib.import_module("fomm_tf.serving.local.json_codec")  # before memory is limited
    gc.disable()  # JSON has no cycles, and the collector's time grows with the square of the number of lists
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    with contextlib.suppress(OSError, ImportError, ValueError):  # platforms without such limits
        import resource

        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[5])  # data and stack
        limit = pages * resource.getpagesize() + max_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(EOFError):
        while True:
            function = connection.recv()
            try:
                result = function()
            except Exception as error:
                result = error
            connection.send(result)
            # The message, or an error's traceback with its values, would count in the memory of the next one.
            del function, result
