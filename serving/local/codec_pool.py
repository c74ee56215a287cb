"""Where messages are converted: small ones in threads, large JSON in a process of its own.

Python's JSON parsers hold the interpreter's lock while they build a list, and 60 MB of `[]` become 20 million of them:
in this process, no other request would be answered meanwhile. The parsing process has a limit of memory, imports no
TensorFlow, and ends with the server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.process
import contextlib
import functools
import gc
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import threading
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
    """

    def __init__(self, num_threads: int, max_bytes: int) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="codec")
        self._max_bytes = max_bytes
        self._process = self._start()

    async def run(self, function: Callable[[], Result], size: int = 0) -> Result:
        """Runs a function of a message.

        Args:
          function: for a large message, one that can be pickled.
          size: of the message, in bytes; 0 for a function that must run in this process.

        Raises:
          status.RpcError: from the function; RESOURCE_EXHAUSTED if the message takes too much memory.
        """
        if size <= _LARGE:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        process = self._process
        try:
            return await asyncio.wrap_future(process.submit(function))
        except (MemoryError, concurrent.futures.process.BrokenProcessPool):
            if self._process is process:
                process.shutdown(wait=False)
                self._process = self._start()
            raise status.RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "request: its values take too much memory; send fewer values in a request.",
                http_status=status.CONTENT_TOO_LARGE,
            ) from None

    def close(self) -> None:
        """Stops the threads and the process after their current work."""
        self._process.shutdown(cancel_futures=True)
        self._threads.shutdown()

    def _start(self) -> concurrent.futures.ProcessPoolExecutor:
        """Creates the pool, whose process starts with its first message."""
        initializer = functools.partial(_prepare_process, _MEMORY_FACTOR * self._max_bytes)
        return concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=initializer)


def _prepare_process(max_bytes: int) -> None:
    """Limits the memory beyond what the process has now, and ends it with its parent."""
    gc.disable()  # JSON has no cycles, and the collector's time grows with the square of the number of lists
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(OSError, ImportError, ValueError):  # platforms without such limits
        import resource

        os.nice(5)
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[5])  # data and stack
        limit = pages * resource.getpagesize() + max_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _exit_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
