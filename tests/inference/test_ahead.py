import threading

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
    count = 0

    def items():
        nonlocal count
        for number in range(20):
            count += 1
            made.release()
            yield number

    stream = ahead.ahead(items(), depth)
    assert next(stream) == 0
    for _ in range(1 + depth):
        assert made.acquire(timeout=10)
    assert not made.acquire(timeout=0.1)
    assert count == 1 + depth


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
