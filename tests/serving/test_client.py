"""The client against a server of a few sums, through real sockets; against real servers see test_animate.py."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
import types

import fakes
import httpx
import numpy as np
import pytest
import servers

from serving import client as clients
from serving import failures, over_grpc, rest, signatures, target

KINDS = ["rest", "grpc", "rest, asyncio", "grpc, asyncio"]
PROTOCOLS = ["rest", "grpc"]
CLIP = np.random.default_rng(1).integers(0, 256, (21, 6, 8, 3), np.uint8)
SOURCE = CLIP[20]
PICTURES = [fakes.JPEG + bytes([number] * number) for number in range(1, 20)]
_ENVELOPE = 4096  # what a message is thought to need beside its tensors


@pytest.fixture(scope="module")
def running():
    with fakes.serve() as server:
        yield server


@pytest.fixture
def mortal():
    """A server of the test's own, which may stop it."""
    with fakes.serve() as server:
        yield server


@pytest.fixture
def server(running):
    running.asked.clear()
    running.faults.clear()
    running.described = 0
    return running


class Blocking:
    """An AsyncClient called as a Client is, so that one test fits both."""

    def __init__(self, place, **options):
        self._runner = asyncio.Runner()
        self._client = clients.AsyncClient(place, **options)

    def __getattr__(self, name):
        attribute = getattr(type(self._client), name)
        if isinstance(attribute, property):
            return self._await(getattr(self._client, name))
        if name.startswith("animate"):
            return lambda *given, **options: self._drain(getattr(self._client, name)(*given, **options))
        return lambda *given, **options: self._await(getattr(self._client, name)(*given, **options))

    def _drain(self, stream):
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._await(anext(stream))

    def _await(self, awaitable):
        async def wait():
            return await awaitable

        return self._runner.run(wait())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._await(self._client.close())
        self._runner.close()


def connect(server, kind, **options):
    protocol, _, way = kind.partition(", ")
    place = {"rest": server.rest, "grpc": server.grpc}[protocol]
    return (Blocking if way else clients.Client)(place, protocol=protocol, **options)


def whole(model, frames, source, relative=True, adapt_scale=False):
    """A clip animated at once: what all clients must give."""
    switches = {"relative": np.array([relative]), "adapt_scale": np.array([adapt_scale])}
    initial = {"initial_value": np.zeros((1, 2, 2), np.float32), "initial_jacobian": np.zeros((1, 2, 2, 2), np.float32)}
    inputs = {"use_initial": np.array([False])} | initial | switches
    if isinstance(source, bytes):
        pictures = {"source": np.array([source], object), "driving": np.array([frames], object)}
        return model.predict("animate_jpeg", pictures | inputs)["frames_bytes"][0].tolist()
    return model.predict("animate_uint8", {"source": source[None], "driving": frames[None]} | inputs)["frames"][0]


class Clock:
    """A `time.monotonic` that moves when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


def pause_with(monkeypatch, pause):
    """Lets both clients call `pause(seconds)` instead of sleeping between two tries."""

    async def pause_in_loop(seconds):
        pause(seconds)

    monkeypatch.setattr(clients, "time", types.SimpleNamespace(sleep=pause))
    monkeypatch.setattr(clients, "asyncio", types.SimpleNamespace(sleep=pause_in_loop))


def lengths(server):
    """T of each part."""
    return [asked.inputs["driving"].shape[1] for asked in server.asked]


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_gives_what_the_model_gives(server, kind):
    model = server.model
    found = model.predict("detect_uint8", {"frames": CLIP})
    encoded = model.predict("encode_source_uint8", {"source": SOURCE[None]})
    with connect(server, kind) as client:
        assert (client.frame_size, client.num_keypoints) == ((6, 8), 2)
        detected = client.detect(CLIP)
        assert detected.value.dtype == detected.jacobian.dtype == np.float32
        np.testing.assert_array_equal(detected.value, found["value"])
        np.testing.assert_array_equal(detected.jacobian, found["jacobian"])
        source = client.encode(SOURCE)
        for name in ("image", "features", "source_lowres"):
            np.testing.assert_array_equal(getattr(source, name), encoded[name])
        np.testing.assert_array_equal(source.keypoints.value, encoded["source_value"])
        np.testing.assert_array_equal(source.keypoints.jacobian, encoded["source_jacobian"])
        initial = clients.Keypoints(detected.value[3:4], detected.jacobian[3:4])
        moved = client.transfer(source, detected, initial, adapt_scale=True)
        np.testing.assert_allclose(moved.value, encoded["source_value"] + 1.5 * (found["value"] - initial.value), 1e-6)
        for name, part in client.transfer(source, detected, initial, relative=False)._asdict().items():
            np.testing.assert_array_equal(part, found[name])
        rendered = client.render(source, moved)
        assert (rendered.shape, rendered.dtype) == ((21, 6, 8, 3), np.float32)
        np.testing.assert_allclose(
            rendered, encoded["image"] / (2 + np.abs(moved.value.sum((1, 2))))[:, None, None, None], rtol=1e-5
        )
        for options in ({}, {"relative": False}, {"adapt_scale": True}):
            frames = list(client.animate(SOURCE, iter(CLIP), **options))
            assert all(frame.dtype == np.uint8 for frame in frames)
            np.testing.assert_array_equal(frames, whole(model, CLIP, SOURCE, **options))
        assert list(client.animate_jpeg(PICTURES[0], iter(PICTURES))) == whole(model, PICTURES, PICTURES[0])
    assert server.described == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_zeroth_order_has_no_jacobians(kind):
    with fakes.serve(fakes.Model(jacobian=False)) as server, connect(server, kind) as client:
        detected = client.detect(CLIP)
        assert detected.jacobian is None
        np.testing.assert_array_equal(detected.value, server.model.predict("detect_uint8", {"frames": CLIP})["value"])
        source = client.encode(SOURCE)
        assert source.keypoints.jacobian is None
        moved = client.transfer(source, detected, clients.Keypoints(detected.value[:1], None))
        assert moved.jacobian is None
        assert client.render(source, moved).shape == CLIP.shape
        assert len(list(client.animate(SOURCE, CLIP))) == len(CLIP)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "place"), [({}, None), ({"version": 7}, "/versions/7"), ({"label": "stable"}, "/labels/stable")]
)
def test_the_version_or_the_label_is_named(server, kind, options, place):
    with connect(server, kind, **options) as client:
        client.detect(CLIP[:1])
    assert [asked.place for asked in server.asked] == [place]


@pytest.mark.parametrize("kind", KINDS)
def test_float_frames_arrive_as_they_are(server, kind):
    frames = np.random.default_rng(2).random((3, 6, 8, 3))
    with connect(server, kind) as client:
        client.detect(frames)
        client.encode(frames[:1])
        animated = list(client.animate(frames[0], frames))
    detect, encode = server.asked[:2]
    assert (detect.signature, encode.signature) == ("detect", "encode_source")
    np.testing.assert_array_equal(detect.inputs["frames"], frames.astype(np.float32))
    np.testing.assert_array_equal(encode.inputs["source"], frames[:1].astype(np.float32))
    levels = np.rint(frames.astype(np.float32) * 255).astype(np.uint8)
    np.testing.assert_array_equal(animated, whole(server.model, levels, levels[0]))


def test_every_float32_survives_json():
    limits = np.finfo(np.float32)
    bits = np.random.default_rng(3).integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    extremes = np.float32([0, limits.max, -limits.max, limits.tiny, limits.smallest_subnormal, 1 / 3, 1 - 6e-8, 1e10])
    values = np.concatenate([bits[np.isfinite(bits)], extremes])
    codec = rest.Codec(target.Target("localhost:1", "fomm", None, None, 1.0, 1.0, 2**30))
    body = codec.ask(signatures.Call("detect", {"frames": values})).body
    np.testing.assert_array_equal(np.float32(json.loads(body)["inputs"]["frames"]), values)


@pytest.mark.parametrize("wire", [rest, over_grpc], ids=PROTOCOLS)
def test_no_message_is_larger_than_was_thought(wire):
    draw = np.random.default_rng(4)
    codec = wire.Codec(target.Target("localhost:1", "fomm", None, None, 1.0, 1.0, 2**30))

    def measured(tensor):
        request = codec.ask(signatures.Call("s", {"x": tensor}))
        return len(request.body) if wire is rest else request.message.ByteSize()

    pictures = np.empty([1, 40], object)
    pictures[0] = [draw.bytes(length) for length in range(1000, 1040)]
    bits = draw.integers(0, 2**32, [1, 500, 2], np.uint32).view(np.float32)
    largest = -1.23456789e-05 * np.ones([1, 500, 2, 2], np.float32)
    cases = [np.full([1, 4, 20, 20, 3], 255, np.uint8), np.where(np.isfinite(bits), bits, 0), largest, pictures]
    for tensor in cases:
        assert measured(tensor) <= wire.size(tensor) + 100, tensor.dtype
        assert measured(tensor) >= wire.size(tensor) / 2, tensor.dtype


@pytest.mark.parametrize("kind", KINDS)
def test_all_parts_of_a_clip_have_one_length_and_carry_its_first_keypoints(server, kind):
    with connect(server, kind) as client:
        assert len(list(client.animate(SOURCE, CLIP, batch_size=6))) == 21
        assert lengths(server) == [6, 6, 6, 6]
        assert [asked.inputs["use_initial"].tolist() for asked in server.asked] == [[False], [True], [True], [True]]
        first = server.model.predict("detect_uint8", {"frames": CLIP[:1]})
        for asked in server.asked[1:]:
            np.testing.assert_array_equal(asked.inputs["initial_value"], first["value"])
            np.testing.assert_array_equal(asked.inputs["initial_jacobian"], first["jacobian"])
        sent = np.concatenate([asked.inputs["driving"][0] for asked in server.asked])
        np.testing.assert_array_equal(sent, np.concatenate([CLIP, CLIP[-1:], CLIP[-1:], CLIP[-1:]]))
        server.asked.clear()
        assert len(list(client.animate(SOURCE, CLIP[:12], batch_size=6))) == 12
        assert len(list(client.animate_jpeg(PICTURES[0], PICTURES[:2], batch_size=3))) == 2
        assert lengths(server) == [6, 6, 3]


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_detected_and_rendered_frames_go_eight_at_a_time(server, kind):
    with connect(server, kind) as client:
        keypoints, source = client.detect(CLIP), client.encode(SOURCE)
        assert [len(asked.inputs["frames"]) for asked in server.asked[:-1]] == [8, 8, 5]
        server.asked.clear()
        client.render(source, keypoints)
        assert [asked.inputs["value"].shape[:2] for asked in server.asked] == [(1, 8), (1, 8), (1, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_messages_stay_below_their_limit_and_results_the_same(server, kind):
    size = {"rest": rest.size, "grpc": over_grpc.size}[kind[:4]]
    with connect(server, kind) as client:
        keypoints, source = client.detect(CLIP), client.encode(SOURCE)
        rendered = client.render(source, keypoints)
    server.asked.clear()
    limit = _ENVELOPE + 4 * size(CLIP[0])  # the source and the keypoints take room too
    with connect(server, kind, max_message_bytes=limit) as client:
        np.testing.assert_array_equal(list(client.animate(SOURCE, CLIP)), whole(server.model, CLIP, SOURCE))
        assert set(lengths(server)) == {2}
        assert max(asked.size for asked in server.asked) <= limit
        server.asked.clear()
        np.testing.assert_array_equal(client.detect(CLIP).value, keypoints.value)
        assert [len(asked.inputs["frames"]) for asked in server.asked] == [4, 4, 4, 4, 4, 1]
    server.asked.clear()
    fixed = sum(map(size, (source.image, source.features, source.source_lowres, *source.keypoints)))
    poses = sum(size(part[:1]) for part in keypoints)
    for limit, length in {fixed + 5 * poses: 2, fixed + 3 * size(np.float32(CLIP[0])): 5}.items():
        with connect(server, kind, max_message_bytes=_ENVELOPE + limit) as client:
            np.testing.assert_array_equal(client.render(source, keypoints), rendered)
        assert {asked.inputs["value"].shape[1] for asked in server.asked} == {length}, "the answer's frames count"
        server.asked.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_many_sizes_stay_below_the_limit(server, kind):
    pictures = [fakes.JPEG + bytes(100 * (number % 7)) for number in range(40)]
    room = 1500 + 800
    with connect(server, kind, max_message_bytes=_ENVELOPE + room) as client:
        assert list(client.animate_jpeg(PICTURES[0], pictures)) == whole(server.model, pictures, PICTURES[0])
    assert max(asked.size for asked in server.asked) <= _ENVELOPE + room
    found = lengths(server)
    assert found == sorted(found, reverse=True), "a clip's T never grows"
    assert 1 < found[-1] < 8
    sent = b"".join(each for asked in server.asked for each in asked.inputs["driving"][0])
    assert len(sent) < 1.5 * sum(map(len, pictures))
    with connect(server, kind, max_message_bytes=_ENVELOPE + room) as client:
        assert len(list(client.animate_jpeg(PICTURES[0], [fakes.JPEG + bytes(900)]))) == 1, "filled up with what fits"


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_that_no_message_holds_is_refused(server, kind):
    frame, picture = np.ones([6, 8, 3], np.float32), fakes.JPEG + bytes(1000)
    with connect(server, kind, max_message_bytes=600) as client:
        for ask in (
            lambda: client.detect(frame[None]),
            lambda: client.encode(frame),
            lambda: list(client.animate_jpeg(picture, [fakes.JPEG])),
            lambda: list(client.animate_jpeg(fakes.JPEG, [picture])),
        ):
            with pytest.raises(clients.ArgumentError, match="bytes, more than max_message_bytes 600; raise that"):
                ask()
        assert not server.asked
        assert len(list(client.animate_jpeg(fakes.JPEG, [fakes.JPEG] * 3))) == 3
        assert max(asked.size for asked in server.asked) <= 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_read_a_part_at_a_time(server, kind):
    taken = []

    def driving():
        for number in itertools.count():
            taken.append(number)
            yield CLIP[number % 21]

    with connect(server, kind) as client:
        animated = client.animate(SOURCE, driving(), batch_size=4)
        assert not taken
        for number in range(42):
            next(animated)
            assert len(taken) == len(lengths(server)) * 4 == 4 * (number // 4 + 1)


def start_in_first_pause(server, monkeypatch):
    """A server that was stopped comes back on its ports when the client waits for its second try.

    Returns:
      The pauses, in seconds; the list grows.
    """
    pauses, sleep = [], time.sleep

    def pause(seconds):
        if not pauses:
            server.start()
        pauses.append(seconds)
        sleep(seconds)

    pause_with(monkeypatch, pause)
    return pauses


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        *((kind, [503, 503]) for kind in KINDS),
        *((kind, [fault, fault]) for kind in KINDS[::2] for fault in ("drop", "hang up")),
        ("rest", [502]),
    ],
)
def test_what_an_unavailable_server_leaves_unanswered_is_asked_again(server, kind, faults):
    server.faults.extend(faults)
    with connect(server, kind, patience=5.0) as client:
        np.testing.assert_array_equal(list(client.animate(SOURCE, CLIP)), whole(server.model, CLIP, SOURCE))
    assert len(server.asked) == 3 + len(faults)
    for asked in server.asked[1 : 1 + len(faults)]:
        np.testing.assert_array_equal(asked.inputs["driving"], server.asked[0].inputs["driving"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_gets_over_a_server_that_is_started_anew(mortal, kind, monkeypatch):
    def driving():
        for number, frame in enumerate(CLIP):
            if number == 10:
                mortal.stop()
            yield frame

    pauses = start_in_first_pause(mortal, monkeypatch)
    with connect(mortal, kind, patience=60.0) as client:
        np.testing.assert_array_equal(list(client.animate(SOURCE, driving())), whole(mortal.model, CLIP, SOURCE))
    assert pauses
    assert len(mortal.asked) == 3, "no part was answered twice"


@pytest.mark.parametrize("kind", KINDS[1::2])
def test_a_grpc_server_that_stops_while_it_computes_is_asked_again(mortal, kind, monkeypatch):
    pauses = start_in_first_pause(mortal, monkeypatch)
    with fakes.Hold() as hold, concurrent.futures.ThreadPoolExecutor(1) as pool:
        mortal.faults.append(hold)

        def stop():
            assert hold.arrived.wait(fakes.SECONDS)
            mortal.stop()

        stopped = pool.submit(stop)
        with connect(mortal, kind, patience=60.0) as client:
            np.testing.assert_array_equal(list(client.animate(SOURCE, CLIP)), whole(mortal.model, CLIP, SOURCE))
        stopped.result()
    assert pauses
    assert len(mortal.asked) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_patience_ends(server, kind, monkeypatch):
    clock, pauses = Clock(), []

    def pause(seconds):
        pauses.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(failures, "time", types.SimpleNamespace(monotonic=clock))
    pause_with(monkeypatch, pause)
    with connect(server, kind, patience=0.5) as client:
        client.detect(CLIP[:1])
        server.asked.clear()
        server.faults.extend([503] * 100)
        with pytest.raises(clients.ServerError, match="made to answer 503") as caught:
            client.detect(CLIP[:1])
    assert caught.value.code == "UNAVAILABLE"
    assert sum(pauses) == pytest.approx(0.5)
    assert len(server.asked) == 1 + len(pauses)
    assert 3 <= len(pauses) <= 5
    with connect(server, kind, patience=0.0) as client:
        server.asked.clear()
        with pytest.raises(clients.ServerError):
            client.detect(CLIP[:1])
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_where_nobody_listens_the_error_says_what_to_start(kind):
    place = f"localhost:{servers.free_port()}"
    client = (Blocking if "asyncio" in kind else clients.Client)(place, protocol=kind[:4], patience=0.2)
    with client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP)
    assert caught.value.code == "UNAVAILABLE"
    for words in (f"No server answers at {place}", "model fomm", "python -m serving local --model DIR", "0.2 s"):
        assert words in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "code"), [(400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL")]
)
def test_any_other_failure_is_final(server, kind, status, code):
    server.faults.append(status)
    with connect(server, kind, version=7) as client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP[:1])
    assert caught.value.code == code
    assert len(server.asked) == 1
    place = server.rest if "rest" in kind else server.grpc
    begins = f"{place} refuses detect_uint8 of model fomm version 7: {code}: made to answer {status}; "
    assert str(caught.value).startswith(begins)


@pytest.mark.parametrize(
    ("status", "code"), [(413, "RESOURCE_EXHAUSTED"), (418, "UNKNOWN"), (504, "DEADLINE_EXCEEDED")]
)
def test_further_statuses_of_http_have_codes(server, status, code):
    server.faults.append(status)
    with connect(server, "rest") as client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP[:1])
    assert (caught.value.code, len(server.asked)) == (code, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_has_a_deadline_and_is_not_asked_again_after_it(mortal, kind, monkeypatch):
    """The server keeps its answer until the client has given up."""
    sent, wire = [], over_grpc if "grpc" in kind else rest
    transport = wire.AsyncTransport if "asyncio" in kind else wire.Transport
    send = transport.send

    def note(self, request):
        sent.append(request.asked)
        return send(self, request)

    monkeypatch.setattr(transport, "send", note)
    with connect(mortal, kind) as patient:
        patient.detect(CLIP[:1])
        sent.clear()
        with fakes.Hold() as hold, connect(mortal, kind, timeout=0.3) as hasty:
            # The model is known already: a question for it has no time to be answered.
            getattr(hasty, "_client", hasty)._known = getattr(patient, "_client", patient)._known
            mortal.faults.append(hold)
            with pytest.raises(clients.ServerError) as caught:
                hasty.detect(CLIP[:1])
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert sent == ["detect_uint8"]


@pytest.mark.parametrize("kind", KINDS[1::2])
@pytest.mark.parametrize("timeout", [500.0, 5000.0])
def test_a_grpc_server_hears_of_the_deadline(server, kind, timeout):
    server.remaining.clear()
    with connect(server, kind, timeout=timeout) as client:
        client.detect(CLIP[:1])
    (remaining,) = server.remaining
    assert timeout / 2 < remaining < 1.01 * timeout, "gRPC rounds it"


@pytest.mark.parametrize("kind", KINDS[::2])
def test_a_rest_deadline_ends_an_answer_that_comes_bit_by_bit(server, kind, monkeypatch):
    """Each part comes in time, but not all of them: at 25 s, 50 s and 75 s of 60."""
    clock, parts, timeouts = Clock(), [], []

    class Drip(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            for number in range(20):
                clock.advance(25)
                parts.append(number)
                yield b" "

        async def __aiter__(self):
            for part in iter(self):
                for _ in range(5):  # turns of the loop, for what the clock has made due
                    await asyncio.sleep(0)
                yield part

    def answer(_, request):
        timeouts.append(request.extensions["timeout"])
        return httpx.Response(200, stream=Drip())

    async def answer_in_loop(_, request):
        return answer(_, request)

    with connect(server, kind, timeout=60.0) as client:
        client.detect(CLIP[:1])
        monkeypatch.setattr(rest, "time", types.SimpleNamespace(monotonic=clock))
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_in_loop)
        if "asyncio" in kind:
            monkeypatch.setattr(client._runner.get_loop(), "time", clock)
        with pytest.raises(clients.ServerError, match="no answer in 60 s") as caught:
            client.detect(CLIP[:1])
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert len(parts) == 3
    assert timeouts == [dict.fromkeys(("connect", "read", "write", "pool"), 60.0)]


def test_pauses_double_up_to_two_seconds_and_end_with_patience(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(failures, "time", types.SimpleNamespace(monotonic=clock))
    retries, pauses = failures.Retries(20.0), []
    error = clients.ServerError("UNAVAILABLE", "away")
    with pytest.raises(clients.ServerError, match="away"):
        while True:
            pauses.append(retries.after(error))
            clock.advance(pauses[-1])
    assert clock() == pytest.approx(120.0)
    wanted = np.minimum(0.1 * 2.0 ** np.arange(len(pauses)), 2.0)[:-1]
    shares = np.array(pauses[:-1]) / wanted
    assert ((shares >= 0.5) & (shares <= 1)).all()
    assert shares.std() > 0.02
    with pytest.raises(clients.ServerError, match="wrong"):
        failures.Retries(20.0).after(clients.ServerError("INTERNAL", "wrong"))


GOOD = clients.Keypoints(np.zeros([3, 2, 2], np.float32), np.zeros([3, 2, 2, 2], np.float32))
ONE = clients.Keypoints(*(part[:1] for part in GOOD))
ENCODED = clients.Encoded(SOURCE[None], SOURCE[None], SOURCE[None], ONE)
FLAWED = np.full([1, 2, 2], np.nan, np.float32)


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("detect", [CLIP[0]], r"frames is \[6, 8, 3\]; give \[N, 6, 8, 3\]"),
        ("detect", [CLIP[:, :, :6]], r"frames is \[21, 6, 6, 3\]"),
        ("detect", [CLIP[:, :, :, :1]], r"frames is \[21, 6, 8, 1\]"),
        ("detect", [CLIP[:0]], "frames is empty"),
        ("detect", [CLIP.astype(int)], "frames is int64; give uint8, or float"),
        ("detect", [CLIP.astype(float)], r"frames reaches from 0 to 255; give float in \[0, 1\]"),
        ("detect", [np.full([1, 6, 8, 3], np.nan)], "frames reaches from nan to nan"),
        ("encode", [CLIP[:2]], "image holds 2 pictures; give one"),
        ("encode", [CLIP[:0]], "image is empty"),
        ("transfer", [ENCODED, GOOD, GOOD], "initial is of 3 frames; give those of one"),
        ("transfer", [ENCODED, GOOD._replace(value=GOOD.value[:, :1]), ONE], r"driving.value is float32 \[3, 1, 2\]"),
        ("transfer", [ENCODED, GOOD._replace(jacobian=None), ONE], "driving has no Jacobians.*give them"),
        ("render", [ENCODED, GOOD._replace(value=GOOD.value[:1])], "keypoints has 1 values and 3 Jacobians"),
        ("render", [ENCODED, ONE._replace(value=FLAWED)], "keypoints.value holds NaN"),
        ("render", [ENCODED, clients.Keypoints(*(part[:0] for part in GOOD))], "N at least 1"),
        ("animate", [CLIP, CLIP], "source holds 21 pictures"),
        ("animate", [SOURCE, []], "driving has no frame"),
        ("animate", [SOURCE, [SOURCE[1:]]], "driving frame 0 is .*6, 8, 3"),
        ("animate", [SOURCE, CLIP, True, False, 0], "batch_size is 0; give 1 or more"),
        ("animate_jpeg", [b"GIF89a", PICTURES], "source begins with b'GIF89a'; give a JPEG or a PNG"),
        ("animate_jpeg", [PICTURES[0], [PICTURES[0], "face.jpg"]], "driving frame 1 is str; give bytes"),
    ],
)
def test_bad_arguments_are_refused_before_they_are_sent(server, method, given, words):
    for kind in KINDS[::2]:
        with connect(server, kind) as client, pytest.raises(clients.ArgumentError, match=words):
            found = getattr(client, method)(*given)
            list(found)
    assert not server.asked


def test_keypoints_without_place_in_the_model_are_refused():
    with (
        fakes.serve(fakes.Model(jacobian=False)) as server,
        connect(server, "rest") as client,
        pytest.raises(clients.ArgumentError, match=r"keypoints has Jacobians, unlike .*; give None"),
    ):
        client.render(ENCODED, GOOD)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server": "localhost"}, "server is 'localhost'; give HOST:PORT"),
        ({"server": "http://localhost:8501"}, "give HOST:PORT"),
        ({"model": ""}, "model has no name"),
        ({"version": 1, "label": "stable"}, "both version 1 and label 'stable'"),
        ({"version": -1}, "version is -1"),
        ({"protocol": "soap"}, "protocol is 'soap'; give rest or grpc"),
        ({"timeout": 0.0}, "timeout is 0 s"),
        ({"patience": -1.0}, "patience -1"),
    ],
)
@pytest.mark.parametrize("make", [clients.Client, clients.AsyncClient])
def test_a_target_that_cannot_be_is_refused(make, options, words):
    with pytest.raises(clients.ArgumentError, match=words):
        make(**{"server": "localhost:8501"} | options)


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_than_ours_is_told_from_one(server, kind, monkeypatch):
    monkeypatch.setattr(server.model, "metadata", lambda: {"signature_def": {}})
    with (
        connect(server, kind) as client,
        pytest.raises(clients.ServerError, match="not that of an exported model") as caught,
    ):
        client.detect(CLIP)
    assert caught.value.code == "FAILED_PRECONDITION"


def test_tasks_share_an_asyncio_client(server):
    async def slowly(frames):
        for frame in frames:
            await asyncio.sleep(0)
            yield frame

    async def all_at_once(protocol, place):
        async with clients.AsyncClient(place, protocol=protocol, patience=0.0) as client:
            await client.frame_size

            async def animate(source, driving):
                return [frame async for frame in client.animate(source, driving)]

            return await asyncio.gather(*(animate(CLIP[k], slowly(CLIP[k : k + 8])) for k in range(4)))

    for protocol in PROTOCOLS:
        # None is answered before all four are there.
        together = threading.Barrier(4, timeout=fakes.SECONDS)
        server.faults.extend([together.wait] * 4)
        animated = asyncio.run(all_at_once(protocol, getattr(server, protocol)))
        for k, frames in enumerate(animated):
            np.testing.assert_array_equal(frames, whole(server.model, CLIP[k : k + 8], CLIP[k]))
        assert not server.faults and not together.broken, "one after the other"


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_is_asked_directly_whatever_the_proxies(server, kind, monkeypatch):
    for name in ("http_proxy", "grpc_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{servers.free_port()}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with connect(server, kind, patience=0.0) as client:
        assert client.frame_size == (6, 8)


_FRESH = """
import sys
import numpy as np
from serving import client
with client.Client(sys.argv[1]) as made:
    made.detect(np.zeros([2, 6, 8, 3], np.uint8))
    assert len(list(made.animate(np.zeros([6, 8, 3]), np.zeros([9, 6, 8, 3])))) == 9
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_rest_loads_neither_tensorflow_nor_fomm_tf(server):
    line = [sys.executable, "-c", _FRESH, server.rest]
    loaded = subprocess.run(line, cwd=servers.ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"serving", "httpx", "numpy"} <= set(loaded)
    assert not {"tensorflow", "tensorflow_serving", "fomm_tf", "grpc", "google", "cv2", "av", "PIL"} & set(loaded)


@pytest.mark.parametrize(("protocol", "module", "package"), [("rest", "rest", "httpx"), ("grpc", "over_grpc", "grpc")])
def test_a_protocol_whose_packages_are_missing_says_so(monkeypatch, protocol, module, package):
    import serving

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"serving.{module}")
    monkeypatch.delattr(serving, module)
    with pytest.raises(ImportError, match=rf'protocol {protocol} needs .*{package}.*pip install -e "\.\[serving\]"'):
        clients.Client("localhost:1", protocol=protocol)
