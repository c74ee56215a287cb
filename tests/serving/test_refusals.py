"""Rejected requests: their status code and message, and that they do not harm the server."""

import json
import socket
import struct
import zlib

import grpc
import httpx
import numpy as np
import psutil
import pytest
import tensorflow as tf
from google.protobuf import json_format
from servers import as_json, message, metric
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION
HTTP = {INVALID: 400, NOT_FOUND: 404, FAILED: 400}

FRAME = np.zeros((1, 128, 128, 3), np.uint8)


def clip(**changes):
    """Returns the inputs of animate_uint8, with changes; None removes an input."""
    request = {
        "source": FRAME,
        "driving": FRAME[:, np.newaxis],
        "use_initial": np.array([False]),
        "initial_value": np.zeros((1, 10, 2), np.float32),
        "initial_jacobian": np.zeros((1, 10, 2, 2), np.float32),
        "relative": np.array([True]),
        "adapt_scale": np.array([False]),
    }
    return {name: array for name, array in (request | changes).items() if array is not None}


def encoded_image(data):
    return {"frames": np.array([data], object)}


def png(width, height):
    """Returns a PNG's header without its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = tf.io.encode_jpeg(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)).numpy()

# Name -> signature, inputs, code, part of the message.
CASES = {
    "unknown signature": ("nothing", encoded_image(JPEG), FAILED, "nothing"),
    "missing input": ("animate_uint8", clip(driving=None), INVALID, "driving"),
    "unknown input": ("animate_uint8", clip(more=np.zeros(1, np.float32)), INVALID, "more"),
    "mispart input": ("detect_uint8", {"images": FRAME}, INVALID, "frames"),
    "wrong rank": ("detect_uint8", {"frames": FRAME[0]}, INVALID, "frames"),
    "wrong size": ("detect_uint8", {"frames": FRAME[:, :64]}, INVALID, "frames"),
    "wrong dtype": ("detect_uint8", {"frames": np.float32(FRAME) + 0.5}, INVALID, "frames"),
    "empty batch": ("detect_uint8", {"frames": FRAME[:0]}, INVALID, "frames"),
    "no driving frame": ("animate_uint8", clip(driving=FRAME[:, np.newaxis][:, :0]), INVALID, "driving"),
    "unequal batches": ("animate_uint8", clip(source=np.concatenate([FRAME, FRAME])), INVALID, "source"),
    "NaN frame": ("detect", {"frames": np.full_like(FRAME, np.nan, np.float32)}, INVALID, "frames"),
    "infinite frame": ("detect", {"frames": np.full_like(FRAME, np.inf, np.float32)}, INVALID, "frames"),
    "frame above 1": ("detect", {"frames": np.full_like(FRAME, 200, np.float32)}, INVALID, "frames"),
    "NaN keypoints": ("animate_uint8", clip(initial_value=np.full((1, 10, 2), np.nan, np.float32)), INVALID, "initial"),
    "no bytes": ("detect_jpeg", encoded_image(b""), INVALID, "frames"),
    "corrupt JPEG": ("detect_jpeg", encoded_image(JPEG[:20] + b"\0" * 40 + JPEG[60:]), INVALID, "frames"),
    "truncated JPEG": ("detect_jpeg", encoded_image(JPEG[:25]), INVALID, "frames"),
    "not an image": ("detect_jpeg", encoded_image(b"not an image at all"), INVALID, "frames"),
    "20,000 x 20,000 pixels": ("detect_jpeg", encoded_image(png(20_000, 20_000)), INVALID, "frames"),
}


@pytest.mark.parametrize("name", CASES)
def test_grpc_rejects(server, name):
    signature, inputs, code, part = CASES[name]
    with pytest.raises(grpc.RpcError) as raised:
        server.call(signature, inputs)
    assert raised.value.code() == code
    assert part in raised.value.details()


# TF-Serving's REST API ignores unknown inputs.
@pytest.mark.parametrize("name", sorted(CASES.keys() - {"unknown input"}))
def test_rest_rejects(server, name):
    assert_rest_rejects(server, name)


def test_rest_rejects_an_unknown_input(embedded):
    assert_rest_rejects(embedded, "unknown input")


def assert_rest_rejects(server, name):
    signature, inputs, code, part = CASES[name]
    # Not httpx's own JSON, which does not write NaN.
    body = json.dumps({"signature_name": signature, "inputs": as_json(inputs)})
    response = httpx.post(f"{server.url}:predict", content=body, timeout=60)
    assert response.status_code == HTTP[code], response.text[:300]
    assert part in response.json()["error"]


BODIES = {
    "empty": (b"", "JSON"),
    "truncated": (b'{"signature_name": "detect_jpeg", "inputs": [', "JSON"),
    "invalid UTF-8": (b'{"signature_name": "\xff\xfe"}', ""),
    "a list": (b"[1, 2]", "object"),
    "deep lists": (b"[" * 100_000, "JSON"),
    "no inputs": (b'{"signature_name": "detect_jpeg"}', "inputs"),
    "both formats": (b'{"signature_name": "detect_jpeg", "inputs": ["a"], "instances": ["a"]}', "instances"),
    "no instances": (b'{"signature_name": "detect_jpeg", "instances": []}', "instances"),
    "instances with different keys": (
        b'{"signature_name": "detect_jpeg", "instances": [{"frames": "a"}, {"other": "a"}]}',
        "instances",
    ),
    "a number for a signature": (b'{"signature_name": 5, "inputs": ["a"]}', "signature_name"),
    "one list for several inputs": (b'{"signature_name": "animate_jpeg", "inputs": ["a"]}', "inputs"),
    "broken base64": (b'{"signature_name": "detect_jpeg", "inputs": {"frames": [{"b64": "a*"}]}}', "base64"),
    "base64 of a number": (b'{"signature_name": "detect_jpeg", "inputs": {"frames": [{"b64": 5}]}}', ""),
    "ragged lists": (b'{"signature_name": "detect_uint8", "inputs": {"frames": [[1, 2], [3]]}}', ""),
    "a number of 400 digits": (b'{"signature_name": "detect_uint8", "inputs": {"frames": [[%s]]}}' % (b"9" * 400), ""),
    "an object for a tensor": (b'{"signature_name": "detect_uint8", "inputs": {"frames": {"a": 1}}}', ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_rest_rejects_invalid_body(server, name):
    body, part = BODIES[name]
    response = httpx.post(f"{server.url}:predict", content=body, timeout=60)
    assert response.status_code == 400, response.text[:300]
    assert part in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "code"), [("unknown", 404), ("fomm/versions/9", 404), ("fomm/labels/nothing", 400), ("", 400)]
)
def test_rest_rejects_unknown_model(server, path, code):
    base = server.url.removesuffix("fomm") + path
    body = {"signature_name": "metadata", "inputs": {"request": [""]}}
    answers = [httpx.get(base), httpx.get(f"{base}/metadata"), httpx.post(f"{base}:predict", json=body)]
    assert [answer.status_code for answer in answers] == [code] * 3
    assert all(answer.json()["error"] for answer in answers)


@pytest.mark.parametrize(
    ("spec", "code"),
    [({"name": "unknown"}, NOT_FOUND), ({"version": 9}, NOT_FOUND), ({"label": "nothing"}, INVALID)],
    ids=["model", "version", "label"],
)
def test_grpc_rejects_unknown_model(server, spec, code):
    request = message("metadata", {"request": np.array([b""], object)}, **spec)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.CopyFrom(request.model_spec)
    calls = [lambda: server.predictions.Predict(request), lambda: server.predictions.GetModelMetadata(metadata)]
    if "label" not in spec:
        state = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
        calls.append(lambda: server.models.GetModelStatus(state))
    for call in calls:
        with pytest.raises(grpc.RpcError) as raised:
            call()
        assert raised.value.code() == code
        assert raised.value.details()


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "DT_UINT8", "tensor_shape": {"unknown_rank": True}},
        {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": -1}] + [{"size": 128}] * 2 + [{"size": 3}]}},
        {
            "dtype": "DT_UINT8",
            "tensor_shape": {"dim": [{"size": s} for s in (2, 128, 128, 3)]},
            "tensor_content": "AA==",
        },
        {"dtype": "DT_RESOURCE", "tensor_shape": {"dim": [{"size": s} for s in (1, 128, 128, 3)]}},
        {"dtype": 9999, "tensor_shape": {"dim": [{"size": s} for s in (1, 128, 128, 3)]}},
    ],
    ids=["unknown rank", "negative size", "too few bytes", "a resource", "unknown dtype"],
)
def test_grpc_rejects_an_inconsistent_tensor(embedded, tensor):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fomm", "detect_uint8"
    json_format.ParseDict(tensor, request.inputs["frames"])
    with pytest.raises(grpc.RpcError) as raised:
        embedded.predictions.Predict(request)
    assert raised.value.code() == INVALID
    assert "frames" in raised.value.details()


def test_server_rejects_a_request_above_max_mib(embedded):
    """The tests start the embedded server with 8 MiB and 32 frames."""
    large = np.zeros((200, 128, 128, 3), np.uint8)
    with pytest.raises(grpc.RpcError) as raised:
        embedded.call("detect_uint8", {"frames": large})
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    response = httpx.post(f"{embedded.url}:predict", content=large.tobytes())
    assert response.status_code == 413
    assert "split the request" in response.json()["error"]
    response = httpx.post(f"{embedded.url}:predict", content=(large[:20].tobytes() for _ in range(100)))
    assert response.status_code == 413, "without a Content-Length"


def test_server_rejects_too_many_frames(embedded):
    for name, inputs in (
        ("detect_jpeg", {"frames": np.array([JPEG] * 33, object)}),
        ("animate_uint8", clip(driving=np.repeat(FRAME[:, np.newaxis], 33, axis=1))),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            embedded.call(name, inputs)
        assert raised.value.code() == INVALID
        assert "at most 32" in raised.value.details()


def test_grpc_rejects_one_value_for_a_huge_shape(embedded):
    """A message of a few bytes can declare any shape; no array of this shape is allocated."""
    request = message("detect_jpeg", {"frames": np.array([b"x"], object)})
    request.inputs["frames"].tensor_shape.dim[0].size = 10**12
    with pytest.raises(grpc.RpcError) as raised:
        embedded.predictions.Predict(request)
    assert raised.value.code() == INVALID


def test_rest_rejects_other_paths_and_methods(embedded):
    assert httpx.get(f"http://{embedded.rest}/").status_code == 404
    assert httpx.put(embedded.url).status_code == 400
    assert httpx.get(f"{embedded.url}:predict").status_code == 400
    assert httpx.post(embedded.url).status_code == 400
    assert "v1/models" in httpx.get(f"http://{embedded.rest}/v2").json()["error"]


def test_requests_of_disconnected_clients_are_not_computed(embedded):
    """In both protocols, while another client's clip is computed: requests of so many frames wait for it."""

    def batches():
        return metric(embedded, "batch_size_count")

    def cancelled():
        return metric(embedded, "request_count", status="CANCELLED")

    many = {"frames": np.repeat(FRAME, 9, axis=0)}
    before, long = (batches(), cancelled()), clip(driving=np.repeat(FRAME[:, np.newaxis], 32, axis=1))
    busy = embedded.predictions.Predict.future(message("animate_uint8", long))
    while not metric(embedded, "admitted_requests"):
        assert not busy.done(), "the long request finished too soon"
    disconnected = embedded.predictions.Predict.future(message("detect_uint8", many))
    body = json.dumps({"signature_name": "detect_uint8", "inputs": as_json(many)}).encode()
    host, port = embedded.rest.split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/models/fomm:predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        while metric(embedded, "admitted_requests") < 3:
            assert not busy.done(), "the long request finished too soon"
    disconnected.cancel()
    busy.result()
    assert embedded.call("detect_uint8", {"frames": FRAME})
    assert (batches(), cancelled()) == (before[0] + 2, before[1] + 2)


@pytest.mark.slow
def test_bad_requests_do_not_leak_memory(embedded):
    good = {"frames": np.repeat(FRAME, 2, axis=0)}
    expected = embedded.call("detect_uint8", good)
    process = psutil.Process(embedded.process.pid)

    cases = [
        (message(signature, inputs), json.dumps({"signature_name": signature, "inputs": as_json(inputs)}))
        for signature, inputs, _, _ in CASES.values()
    ]

    def send_bad(count):
        with httpx.Client() as client:
            for number in range(count // 2):
                request, body = cases[number % len(cases)]
                with pytest.raises(grpc.RpcError):
                    embedded.predictions.Predict(request)
                assert client.post(f"{embedded.url}:predict", content=body).status_code >= 400

    send_bad(100)  # memory that grows once: threads, pools, caches
    before = process.memory_info().rss
    send_bad(500)
    growth = process.memory_info().rss - before
    assert growth < 30e6, f"{growth / 1e6:.0f} MB more after 500 bad requests"
    outputs = embedded.call("detect_uint8", good)
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array)
