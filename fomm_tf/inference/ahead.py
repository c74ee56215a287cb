"""Work that overlaps: the next items of a stream are made in a thread while the present one is used."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yields `items`, in order, made in one thread of its own.

    Args:
      items: taken from in that thread only.
      depth: how many items are made before they are asked for, at most.

    Raises:
      Whatever `items` raises, when its turn comes.
    """
    stream = iter(items)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque(pool.submit(next, stream, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, stream, _END))
                yield item
        finally:
            for future in waiting:
                future.cancel()
