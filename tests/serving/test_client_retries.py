"""Retries, deadlines and error codes of the client, against the fake server."""

import asyncio
import concurrent.futures
import time
import types

import client_kinds
import fake_server
import httpx
import numpy as np
import pytest
from client_kinds import CLIP, KINDS, SOURCE

from fomm_tf.serving import client as clients
from fomm_tf.serving import grpc_transport, rest_transport, target


def restart_at_first_retry(fake, monkeypatch):
    """Restarts the stopped server on its ports when the client waits for its first retry.

    Returns:
      The delays in seconds; the list grows.
    """
    delays, sleep = [], time.sleep

    def sleep_and_restart(seconds):
        if not delays:
            fake.start()
        delays.append(seconds)
        sleep(seconds)

    client_kinds.replace_sleep(monkeypatch, sleep_and_restart)
    return delays


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        *((kind, [503, 429]) for kind in KINDS),
        *((kind, [fault, fault]) for kind in KINDS[::2] for fault in ("drop", "hang up")),
        ("rest", [502]),
    ],
)
def test_client_retries_while_the_server_is_unavailable_or_busy(fake, kind, faults):
    fake.faults.extend(faults)
    with client_kinds.connect(fake, kind, retry_timeout=5.0) as client:
        animated = list(client.animate(SOURCE, CLIP))
        np.testing.assert_array_equal(animated, client_kinds.animate_at_once(fake.model, CLIP, SOURCE))
    assert len(fake.requests) == 3 + len(faults)
    for request in fake.requests[1 : 1 + len(faults)]:
        np.testing.assert_array_equal(request.inputs["driving"], fake.requests[0].inputs["driving"])


@pytest.mark.parametrize("kind", KINDS)
def test_animate_continues_after_a_server_restart(stoppable_fake, kind, monkeypatch):
    def driving():
        for number, frame in enumerate(CLIP):
            if number == 10:
                stoppable_fake.stop()
            yield frame

    delays = restart_at_first_retry(stoppable_fake, monkeypatch)
    with client_kinds.connect(stoppable_fake, kind, retry_timeout=60.0) as client:
        animated = list(client.animate(SOURCE, driving()))
        np.testing.assert_array_equal(animated, client_kinds.animate_at_once(stoppable_fake.model, CLIP, SOURCE))
    assert delays
    assert len(stoppable_fake.requests) == 3, "no part was answered twice"


@pytest.mark.parametrize("kind", KINDS[1::2])
def test_grpc_client_retries_when_the_server_stops_during_a_request(stoppable_fake, kind, monkeypatch):
    delays = restart_at_first_retry(stoppable_fake, monkeypatch)
    with fake_server.Hold() as hold, concurrent.futures.ThreadPoolExecutor(1) as pool:
        stoppable_fake.faults.append(hold)

        def stop():
            assert hold.arrived.wait(fake_server.TIMEOUT)
            stoppable_fake.stop()

        stopped = pool.submit(stop)
        with client_kinds.connect(stoppable_fake, kind, retry_timeout=60.0) as client:
            animated = list(client.animate(SOURCE, CLIP))
            np.testing.assert_array_equal(animated, client_kinds.animate_at_once(stoppable_fake.model, CLIP, SOURCE))
        stopped.result()
    assert delays
    assert len(stoppable_fake.requests) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_client_waits_as_long_as_the_server_asks(fake, kind, monkeypatch):
    delays = []
    client_kinds.replace_sleep(monkeypatch, delays.append)
    fake.retry_after = 7
    with client_kinds.connect(fake, kind, retry_timeout=60.0) as client:
        fake.faults.extend([429, 503])
        client.detect(CLIP[:1])
    assert delays == [7.0, 7.0]


@pytest.mark.parametrize("kind", KINDS)
def test_client_gives_up_after_retry_timeout(fake, kind, monkeypatch):
    clock, delays = client_kinds.Clock(), []

    def advance(seconds):
        delays.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(target, "time", types.SimpleNamespace(monotonic=clock))
    client_kinds.replace_sleep(monkeypatch, advance)
    with client_kinds.connect(fake, kind, retry_timeout=0.5) as client:
        client.detect(CLIP[:1])
        fake.requests.clear()
        fake.faults.extend([503] * 100)
        with pytest.raises(clients.ServerError, match="injected status 503") as caught:
            client.detect(CLIP[:1])
    assert caught.value.code == "UNAVAILABLE"
    assert sum(delays) == pytest.approx(0.5)
    assert len(fake.requests) == 1 + len(delays)
    assert 3 <= len(delays) <= 5
    with client_kinds.connect(fake, kind, retry_timeout=0.0) as client:
        fake.requests.clear()
        with pytest.raises(clients.ServerError):
            client.detect(CLIP[:1])
    assert len(fake.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "code"), [(400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (500, "INTERNAL")])
def test_client_does_not_retry_other_errors(fake, kind, status, code):
    fake.faults.append(status)
    with client_kinds.connect(fake, kind, version=7) as client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP[:1])
    assert caught.value.code == code
    assert len(fake.requests) == 1
    address = fake.rest if "rest" in kind else fake.grpc
    beginning = f"Server {address} failed detect_uint8 of model fomm version 7: {code}: injected status {status}; "
    assert str(caught.value).startswith(beginning)


@pytest.mark.parametrize(
    ("status", "code"), [(413, "RESOURCE_EXHAUSTED"), (418, "UNKNOWN"), (504, "DEADLINE_EXCEEDED")]
)
def test_rest_client_maps_http_status_to_code(fake, status, code):
    fake.faults.append(status)
    with client_kinds.connect(fake, "rest") as client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP[:1])
    assert (caught.value.code, len(fake.requests)) == (code, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_client_does_not_retry_after_the_deadline(stoppable_fake, kind, monkeypatch):
    """The server delays its answer until the client has given up."""
    sent, protocol_module = [], grpc_transport if "grpc" in kind else rest_transport
    transport = protocol_module.AsyncTransport if "asyncio" in kind else protocol_module.Transport
    send = transport.send

    def record(self, request):
        sent.append(request.name)
        return send(self, request)

    monkeypatch.setattr(transport, "send", record)
    with client_kinds.connect(stoppable_fake, kind) as first:
        first.detect(CLIP[:1])
        sent.clear()
        with fake_server.Hold() as hold, client_kinds.connect(stoppable_fake, kind, timeout=0.3) as second:
            # Its metadata request would not be answered within this timeout.
            model = getattr(first, "_client", first)._cached_model
            getattr(second, "_client", second)._cached_model = model
            stoppable_fake.faults.append(hold)
            with pytest.raises(clients.ServerError) as caught:
                second.detect(CLIP[:1])
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert sent == ["detect_uint8"]


@pytest.mark.parametrize("kind", KINDS[1::2])
@pytest.mark.parametrize("timeout", [500.0, 5000.0])
def test_grpc_client_sends_the_deadline(fake, kind, timeout):
    fake.time_remaining.clear()
    with client_kinds.connect(fake, kind, timeout=timeout) as client:
        client.detect(CLIP[:1])
    (remaining,) = fake.time_remaining
    assert timeout / 2 < remaining < 1.01 * timeout, "gRPC rounds it"


@pytest.mark.parametrize("kind", KINDS[::2])
def test_rest_deadline_ends_a_slow_answer(fake, kind, monkeypatch):
    """Each chunk arrives in time, but not all of them: after 25, 50 and 75 s of 60."""
    clock, chunks, timeouts = client_kinds.Clock(), [], []

    class SlowStream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            for number in range(20):
                clock.advance(25)
                chunks.append(number)
                yield b" "

        async def __aiter__(self):
            for chunk in iter(self):
                for _ in range(5):  # lets the loop run the timers that the clock has made due
                    await asyncio.sleep(0)
                yield chunk

    def answer(_, request):
        timeouts.append(request.extensions["timeout"])
        return httpx.Response(200, stream=SlowStream())

    async def answer_in_loop(_, request):
        return answer(_, request)

    with client_kinds.connect(fake, kind, timeout=60.0) as client:
        client.detect(CLIP[:1])
        monkeypatch.setattr(rest_transport, "time", types.SimpleNamespace(monotonic=clock))
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_in_loop)
        if "asyncio" in kind:
            monkeypatch.setattr(client._runner.get_loop(), "time", clock)
        with pytest.raises(clients.ServerError, match="no answer in 60 s") as caught:
            client.detect(CLIP[:1])
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert len(chunks) == 3
    assert timeouts == [dict.fromkeys(("connect", "read", "write", "pool"), 60.0)]


def test_backoff_doubles_up_to_two_seconds(monkeypatch):
    clock = client_kinds.Clock()
    monkeypatch.setattr(target, "time", types.SimpleNamespace(monotonic=clock))
    backoff, delays = target.Backoff(20.0), []
    error = clients.ServerError("UNAVAILABLE", "unavailable")
    with pytest.raises(clients.ServerError, match="unavailable"):
        while True:
            delays.append(backoff.next_delay(error))
            clock.advance(delays[-1])
    assert clock() == pytest.approx(120.0)
    expected = np.minimum(0.1 * 2.0 ** np.arange(len(delays)), 2.0)[:-1]
    shares = np.array(delays[:-1]) / expected
    assert ((shares >= 0.5) & (shares <= 1)).all()
    assert shares.std() > 0.02
    with pytest.raises(clients.ServerError, match="wrong"):
        target.Backoff(20.0).next_delay(clients.ServerError("INTERNAL", "wrong"))
