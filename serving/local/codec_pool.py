"""Where messages are converted: small ones in threads, large JSON in a process of its own.

Python's JSON parsers hold the interpreter's lock while they build a list, and 60 MB of `[]` become 20 million of them:
in this process, no other request would be answered meanwhile. The parsing process has a limit of memory, imports no
TensorFlow, and ends with the server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
from collections.abc import Callable
from typing import TypeVar

import grpc

from fomm_tf.serving.local import status

Result = TypeVar("Result")

# Messages above this number of bytes go to the process. The worst of this size takes about 15 ms.
_LARGE = 64 * 1024
# Bytes of memory for each byte of a message: a list takes 64, and `[],` is three bytes.
_MEMORY_FACTOR = 40


class CodecPool:
    """Runs conversions outside of the event loop.

    Args:
      num_threads: for small messages.
      max_bytes: the size of the largest message.
      timeout: seconds for one message in the process.
    """

    def __init__(self, num_threads: int, max_bytes: int, timeout: float) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="codec")
        self._parser = Parser(_MEMORY_FACTOR * max_bytes, timeout)
        self._parser_thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="parser")

    async def run(self, function: Callable[[], Result], size: int = 0) -> Result:
        """Runs a function of a message.

        Args:
          function: for a large message, one that can be pickled.
          size: of the message, in bytes; 0 for a function that must run in this process.

        Raises:
          status.RpcError: from the function; RESOURCE_EXHAUSTED if the message takes too much memory or time.
        """
        loop = asyncio.get_running_loop()
        if size <= _LARGE:
            return await loop.run_in_executor(self._threads, function)
        try:
            return await loop.run_in_executor(self._parser_thread, self._parser.run, function)
        except MemoryError:
            raise status.RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "request: its values take too much memory or time; send fewer values in a request.",
                http_status=status.CONTENT_TOO_LARGE,
            ) from None

    def close(self) -> None:
        """Stops the threads after their current work, and the process."""
        self._parser_thread.shutdown(cancel_futures=True)
        self._parser.close()
        self._threads.shutdown()


class Parser:
    """Runs functions in a process that starts with the first one; used by one thread.

    Args:
      max_bytes: its limit of memory, beyond what Python itself takes.
      timeout: seconds for one function.
    """

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self._max_bytes, self._timeout = max_bytes, timeout
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
            self._process = context.Process(target=_serve, args=(other, self._max_bytes), daemon=True)
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


def _serve(connection: multiprocessing.connection.Connection, max_bytes: int) -> None:
    """Runs functions until the other end is closed, as at the end of the server."""
    gc.disable()  # JSON has no cycles, and the collector's time grows with the square of the number of lists
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    with contextlib.suppress(OSError, ImportError, ValueError):  # platforms without such limits
        import resource

        os.nice(5)
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
