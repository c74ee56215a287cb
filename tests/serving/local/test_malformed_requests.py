"""Nonsense and requests that are costly to parse: each gets the right status, and others are answered."""

import concurrent.futures
import json
import os
import signal
import sys

import grpc
import httpx
import in_process
import numpy as np
import psutil
import pytest
import servers
import tensorflow as tf
from in_process import PREDICT, assert_answered, connect, read_all
from tensorflow_serving.apis import predict_pb2

from fomm_tf.serving.local import priority


@pytest.mark.parametrize("field", [b"\x12\x00", b"\x1a\x00", b"\x5b\x5c"], ids=["inputs", "filters", "groups"])
def test_grpc_refuses_too_many_fields(server, log, field):
    with pytest.raises(grpc.RpcError) as raised:
        server.channel.unary_unary(PREDICT)(field * 2**21)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "20,000 fields" in raised.value.details()


@pytest.mark.parametrize("kind", ["lists", "numbers"])
def test_large_json_does_not_stop_others(server, log, kind):
    part = {"lists": b"[],", "numbers": b"1,"}[kind]
    body = b'{"signature_name": "double", "inputs": [' + part * (2**23 // len(part) - 40) + part[:-1] + b"]}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        large = pool.submit(httpx.post, f"{server.url}:predict", content=body, timeout=in_process.TIMEOUT)
        answered = 0
        while not large.done():
            assert_answered(server)
            answered += 1
        assert large.result().status_code in (400, 413)
        assert answered > 1
    process = psutil.Process(server.core.codecs._large.pid)
    assert process.nice() == psutil.Process().nice() + (priority.NICENESS if sys.platform == "linux" else 0)
    assert server.core._bytes == 0


def test_request_whose_parsing_process_is_killed_is_refused(log):
    """As by the system, when memory runs out; the next request has a new process."""
    with in_process.serve(max_request_bytes=2**20) as server:
        rows = np.ones((8_000, 2)).tolist()
        assert server.post("double", rows).status_code == 400, "more than 64 frames"
        os.kill(server.core.codecs._medium.pid, signal.SIGKILL)
        assert [server.post("double", rows).status_code for _ in range(2)] == [413, 400]


REQUESTS = {
    "version of 5,000 digits": (f"/v1/models/fomm/versions/{'1' * 5000}", 400),
    "encoded name": ("/v1/models/%66omm/metadata:predict", 400),
    "line break": ("/v1/models/fomm%0a/versions/1/", 400),
    "Arabic digits": ("/v1/models/fomm/versions/%D9%A1", 400),
    "outside of /v1": ("/v2/models/fomm", 404),
    "nothing": ("/", 404),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_rest_rejects_path(server, log, name):
    path, code = REQUESTS[name]
    with connect(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {code}".encode())
    assert json.loads(body)["error"]


@pytest.mark.parametrize("name", [r"\ud800", r"\u0000", r"\n"])
def test_rest_answers_unusual_names(server, log, name):
    for body in (
        f'{{"signature_name": "{name}", "inputs": [1]}}',
        f'{{"signature_name": "double", "inputs": {{"{name}": 1}}}}',
    ):
        answer = httpx.post(f"{server.url}:predict", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "data", "code"),
    [
        (PREDICT, b"\xff\xff\xff", "INVALID_ARGUMENT"),
        ("/tensorflow.serving.PredictionService/GetModelMetadata", b"\x0a\xff", "INVALID_ARGUMENT"),
        ("/tensorflow.serving.PredictionService/Classify", b"", "UNIMPLEMENTED"),
        ("/grpc.health.v1.Health/Check", b"\xff", "INVALID_ARGUMENT"),
        ("/nothing", b"", "UNIMPLEMENTED"),
    ],
)
def test_grpc_rejects_what_it_cannot_parse(server, log, method, data, code):
    with pytest.raises(grpc.RpcError) as raised:
        server.channel.unary_unary(method)(data)
    assert raised.value.code().name == code


def test_grpc_reflection_rejects_what_it_cannot_parse(server, log):
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with pytest.raises(grpc.RpcError) as raised:
        list(server.channel.stream_stream(method)(iter([b"\xff"])))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_rejects_levels_out_of_range(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fomm", "levels"
    tensor = request.inputs["levels"]
    tensor.dtype = 4
    for size in (1, 2):
        tensor.tensor_shape.dim.add(size=size)
    tensor.int_val.extend([1, 300])
    with pytest.raises(grpc.RpcError, match="0 to 255"):
        server.predictions.Predict(request)


def test_server_refuses_images_of_too_many_pixels():
    image = tf.io.encode_png(np.zeros((1000, 1000, 3), np.uint8)).numpy()
    images = {"images": np.array([image, b"no image"], object)}
    with in_process.serve(max_pixels=1_500_000) as server:
        assert server.call("images", images)["y"][1] == b"no imageno image"
        images["images"] = np.array([image, image], object)
        with pytest.raises(
            grpc.RpcError, match=r"images: its images declare 2,000,000 pixels; expected at most 1,500,000"
        ):
            server.call("images", images)


def test_grpc_rejects_unknown_outputs(server):
    request = servers.message("double", in_process.ONE)
    request.output_filter.extend(["y", "z", "a"])
    with pytest.raises(grpc.RpcError, match=r"output_filter: got unknown a, z; expected some of: y\.") as raised:
        server.predictions.Predict(request)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
