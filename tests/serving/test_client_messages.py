"""How the client splits its inputs into messages, against the fake server."""

import itertools
import json

import client_kinds
import fake_model
import numpy as np
import pytest
from client_kinds import CLIP, JPEGS, KINDS, PROTOCOLS, SOURCE

from fomm_tf.serving import client as clients
from fomm_tf.serving import grpc_transport, json_body, rest_transport, signatures, target

ENVELOPE = 4096  # bytes that a message needs beside its tensors


@pytest.mark.parametrize("installed", [True, False], ids=["orjson", "json"])
def test_json_body_restores_every_float32(monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(json_body, "orjson", None)
    limits = np.finfo(np.float32)
    bits = np.random.default_rng(3).integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    extremes = np.float32([0, limits.max, -limits.max, limits.tiny, limits.smallest_subnormal, 1 / 3, 1 - 6e-8, 1e10])
    values = np.concatenate([bits[np.isfinite(bits)], extremes])
    codec = rest_transport.Codec(target.Target("localhost:1", "fomm", None, None, 1.0, 1.0, 2**30))
    body = codec.predict_request(signatures.Call("detect", {"frames": values})).body
    np.testing.assert_array_equal(np.float32(json.loads(body)["inputs"]["frames"]), values)


@pytest.mark.parametrize(
    ("protocol_module", "orjson_installed"),
    [(rest_transport, True), (rest_transport, False), (grpc_transport, True)],
    ids=["rest", "rest without orjson", "grpc"],
)
def test_size_is_an_upper_bound(monkeypatch, protocol_module, orjson_installed):
    if not orjson_installed:
        monkeypatch.setattr(json_body, "orjson", None)
    generator = np.random.default_rng(4)
    codec = protocol_module.Codec(target.Target("localhost:1", "fomm", None, None, 1.0, 1.0, 2**30))

    def serialized_size(tensor):
        request = codec.predict_request(signatures.Call("s", {"x": tensor}))
        return len(request.body) if protocol_module is rest_transport else request.message.ByteSize()

    images = np.empty([1, 40], object)
    images[0] = [generator.bytes(length) for length in range(1000, 1040)]
    bits = generator.integers(0, 2**32, [1, 500, 2], np.uint32).view(np.float32)
    largest = -1.23456789e-05 * np.ones([1, 500, 2, 2], np.float32)
    cases = [np.full([1, 4, 20, 20, 3], 255, np.uint8), np.where(np.isfinite(bits), bits, 0), largest, images]
    for tensor in cases:
        assert serialized_size(tensor) <= protocol_module.size(tensor) + 100, tensor.dtype
        assert serialized_size(tensor) >= protocol_module.size(tensor) / 2, tensor.dtype


@pytest.mark.parametrize("kind", KINDS)
def test_clip_chunks_have_equal_length_and_the_first_keypoints(fake, kind):
    with client_kinds.connect(fake, kind) as client:
        assert len(list(client.animate(SOURCE, CLIP, batch_size=6))) == 21
        assert client_kinds.chunk_lengths(fake) == [6, 6, 6, 6]
        assert [request.inputs["use_initial"].item() for request in fake.requests] == [False, True, True, True]
        first = fake.model.predict("detect_uint8", {"frames": CLIP[:1]})
        for request in fake.requests[1:]:
            np.testing.assert_array_equal(request.inputs["initial_value"], first["value"])
            np.testing.assert_array_equal(request.inputs["initial_jacobian"], first["jacobian"])
        sent = np.concatenate([request.inputs["driving"][0] for request in fake.requests])
        np.testing.assert_array_equal(sent, np.concatenate([CLIP, CLIP[-1:], CLIP[-1:], CLIP[-1:]]))
        fake.requests.clear()
        assert len(list(client.animate(SOURCE, CLIP[:12], batch_size=6))) == 12
        assert len(list(client.animate_jpeg(JPEGS[0], JPEGS[:2], batch_size=3))) == 2
        assert client_kinds.chunk_lengths(fake) == [6, 6, 3]


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_detect_and_render_send_eight_frames_per_request(fake, kind):
    with client_kinds.connect(fake, kind) as client:
        keypoints, source = client.detect(CLIP), client.encode_source(SOURCE)
        assert [len(request.inputs["frames"]) for request in fake.requests[:-1]] == [8, 8, 5]
        fake.requests.clear()
        client.render(source, keypoints)
        assert [request.inputs["value"].shape[:2] for request in fake.requests] == [(1, 8), (1, 8), (1, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_messages_respect_max_message_bytes(fake, kind):
    size = {"rest": rest_transport.size, "grpc": grpc_transport.size}[kind[:4]]
    with client_kinds.connect(fake, kind) as client:
        keypoints, source = client.detect(CLIP), client.encode_source(SOURCE)
        rendered = client.render(source, keypoints)
    fake.requests.clear()
    limit = ENVELOPE + 4 * size(CLIP[0])  # the source and the keypoints need bytes too
    with client_kinds.connect(fake, kind, max_message_bytes=limit) as client:
        animated = list(client.animate(SOURCE, CLIP))
        np.testing.assert_array_equal(animated, client_kinds.animate_at_once(fake.model, CLIP, SOURCE))
        assert set(client_kinds.chunk_lengths(fake)) == {2}
        assert max(request.size for request in fake.requests) <= limit
        fake.requests.clear()
        np.testing.assert_array_equal(client.detect(CLIP).value, keypoints.value)
        assert [len(request.inputs["frames"]) for request in fake.requests] == [4, 4, 4, 4, 4, 1]
    fake.requests.clear()
    constant = sum(map(size, (source.image, source.features, source.source_lowres, *source.keypoints)))
    poses = sum(size(part[:1]) for part in keypoints)
    for limit, length in {constant + 5 * poses: 2, constant + 3 * size(np.float32(CLIP[0])): 5}.items():
        with client_kinds.connect(fake, kind, max_message_bytes=ENVELOPE + limit) as client:
            np.testing.assert_array_equal(client.render(source, keypoints), rendered)
        assert {request.inputs["value"].shape[1] for request in fake.requests} == {length}, "the answer's frames count"
        fake.requests.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_messages_respect_max_message_bytes(fake, kind):
    images = [fake_model.JPEG + bytes(100 * (number % 7)) for number in range(40)]
    available = 1500 + 800
    with client_kinds.connect(fake, kind, max_message_bytes=ENVELOPE + available) as client:
        assert list(client.animate_jpeg(JPEGS[0], images)) == client_kinds.animate_at_once(fake.model, images, JPEGS[0])
    assert max(request.size for request in fake.requests) <= ENVELOPE + available
    lengths = client_kinds.chunk_lengths(fake)
    assert lengths == sorted(lengths, reverse=True), "a clip's T never grows"
    assert 1 < lengths[-1] < 8
    sent = b"".join(data for request in fake.requests for data in request.inputs["driving"][0])
    assert len(sent) < 1.5 * sum(map(len, images))
    with client_kinds.connect(fake, kind, max_message_bytes=ENVELOPE + available) as client:
        animated = list(client.animate_jpeg(JPEGS[0], [fake_model.JPEG + bytes(900)]))
        assert len(animated) == 1, "padded with as many frames as fit"


@pytest.mark.parametrize("kind", KINDS)
def test_frame_larger_than_max_message_bytes_is_rejected(fake, kind):
    frame, image = np.ones([6, 8, 3], np.float32), fake_model.JPEG + bytes(1000)
    with client_kinds.connect(fake, kind, max_message_bytes=600) as client:
        for request in (
            lambda: client.detect(frame[None]),
            lambda: client.encode_source(frame),
            lambda: list(client.animate_jpeg(image, [fake_model.JPEG])),
            lambda: list(client.animate_jpeg(fake_model.JPEG, [image])),
        ):
            with pytest.raises(
                clients.ArgumentError, match="bytes; expected at most `max_message_bytes` 600; raise it"
            ):
                request()
        assert not fake.requests
        assert len(list(client.animate_jpeg(fake_model.JPEG, [fake_model.JPEG] * 3))) == 3
        assert max(request.size for request in fake.requests) <= 600


@pytest.mark.parametrize("kind", KINDS)
def test_animate_consumes_driving_one_chunk_at_a_time(fake, kind):
    consumed = []

    def driving():
        for number in itertools.count():
            consumed.append(number)
            yield CLIP[number % 21]

    with client_kinds.connect(fake, kind) as client:
        animated = client.animate(SOURCE, driving(), batch_size=4)
        assert not consumed
        for number in range(42):
            next(animated)
            assert len(consumed) == len(client_kinds.chunk_lengths(fake)) * 4 == 4 * (number // 4 + 1)
