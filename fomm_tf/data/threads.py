"""A pool of threads with a progress bar, for work that releases the GIL: decoding, resizing and encoding of clips."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import tqdm

Result = TypeVar("Result")

_MAX_THREADS = 16


def run(work: Callable[[int, threading.Event], Result], numbers: Sequence[int], label: str, unit: str) -> list[Result]:
    """Calls `work` once for each number.

    Args:
      work: takes a number and an event, which is set after Ctrl-C or an error: it should end then.
      numbers: what it is called with.
      label: of the progress bar.
      unit: of the progress bar.

    Returns:
      The results, in the order of `numbers`.
    """
    if not numbers:
        return []
    stop = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1))
    try:
        results = pool.map(work, numbers, itertools.repeat(stop))
        return list(tqdm.tqdm(results, total=len(numbers), desc=label, unit=unit, disable=None))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
