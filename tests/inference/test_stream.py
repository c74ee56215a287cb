"""Streaming: items computed ahead in a thread of their own."""

import concurrent.futures
import threading
import types

import pytest

from fomm_tf.inference import stream


def test_prefetch_keeps_order_and_uses_one_other_thread():
    threads = set()

    def items():
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(stream.prefetch(items(), 3)) == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("depth", [1, 4])
def test_prefetch_computes_depth_items_ahead(depth):
    made = threading.Semaphore(0)

    def items():
        for number in range(20):
            made.release()
            yield number

    prefetched = stream.prefetch(items(), depth)
    assert next(prefetched) == 0
    for _ in range(1 + depth):
        assert made.acquire(timeout=60)
    prefetched.close()


@pytest.mark.parametrize("depth", [1, 4])
def test_prefetch_computes_no_more_than_depth_items_ahead(monkeypatch, depth):
    """With an executor that does at once what a thread would do some time later."""

    class Inline:
        def __init__(self, _):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            future.set_result(function(*arguments))
            return future

    futures = types.SimpleNamespace(ThreadPoolExecutor=Inline)
    monkeypatch.setattr(stream, "concurrent", types.SimpleNamespace(futures=futures))
    made = []
    prefetched = stream.prefetch((made.append(number) or number for number in range(20)), depth)
    for asked in range(1, 10):
        next(prefetched)
        assert len(made) == asked + depth


def test_prefetch_raises_after_the_items_before_the_error():
    def items():
        yield from "ab"
        raise ValueError("c is bad")

    prefetched = stream.prefetch(items(), 8)
    assert [next(prefetched), next(prefetched)] == ["a", "b"]
    with pytest.raises(ValueError, match="c is bad"):
        next(prefetched)


def test_prefetch_leaves_no_thread_when_closed():
    before = threading.active_count()
    prefetched = stream.prefetch(iter(int, 1), 2)
    next(prefetched)
    prefetched.close()
    assert threading.active_count() == before


def test_prefetch_of_nothing_is_empty():
    assert list(stream.prefetch([], 2)) == []
