import concurrent.futures
import threading
import types

import pytest

from fomm_tf.inference import ahead


def test_items_come_in_order_from_one_other_thread():
    threads = set()

    def items():
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(ahead.ahead(items(), 3)) == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("depth", [1, 4])
def test_as_many_items_are_made_before_they_are_asked_for(depth):
    made = threading.Semaphore(0)

    def items():
        for number in range(20):
            made.release()
            yield number

    stream = ahead.ahead(items(), depth)
    assert next(stream) == 0
    for _ in range(1 + depth):
        assert made.acquire(timeout=60)
    stream.close()


@pytest.mark.parametrize("depth", [1, 4])
def test_no_more_items_are_made_than_that(monkeypatch, depth):
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
    monkeypatch.setattr(ahead, "concurrent", types.SimpleNamespace(futures=futures))
    made = []
    stream = ahead.ahead((made.append(number) or number for number in range(20)), depth)
    for asked in range(1, 10):
        next(stream)
        assert len(made) == asked + depth


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield from "ab"
        raise ValueError("c is bad")

    stream = ahead.ahead(items(), 8)
    assert [next(stream), next(stream)] == ["a", "b"]
    with pytest.raises(ValueError, match="c is bad"):
        next(stream)


def test_nothing_is_left_running_when_the_reader_goes_away():
    before = threading.active_count()
    stream = ahead.ahead(iter(int, 1), 2)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_no_item_is_no_item():
    assert list(ahead.ahead([], 2)) == []
