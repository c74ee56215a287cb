"""The protocols through real sockets: what TF-Serving's clients rely on, for each available server."""

import base64
import signal

import grpc
import httpx
import numpy as np
import pytest
import servers
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from fomm_tf.export import examples

SIGNATURES = [
    *(f"{name}{form}" for name in ("detect", "encode_source", "animate") for form in ("", "_uint8", "_jpeg")),
    *("transfer", "render", "render_details", "metadata", "serving_default"),
]


@pytest.fixture(scope="module")
def signatures(model):
    return tf.saved_model.load(str(model / "1")).signatures


@pytest.fixture(scope="module")
def requests(signatures):
    inputs_of = examples.make(signatures, count=2)
    return {name: {key: tensor.numpy() for key, tensor in inputs.items()} for name, inputs in inputs_of.items()}


@pytest.fixture(scope="module")
def expected(signatures, requests):
    def answer(name, inputs):
        return {key: tensor.numpy() for key, tensor in signatures[name](**inputs).items()}

    return {name: answer(name, inputs) for name, inputs in requests.items()}


def from_json(value, like):
    """Converts a REST output to an array with the dtype and shape of `like`."""
    if like.dtype == object and isinstance(np.ravel(value)[0], dict):
        value = np.vectorize(lambda item: base64.b64decode(item["b64"]), otypes=[object])(value)
    elif like.dtype == object:
        value = np.vectorize(str.encode, otypes=[object])(value)
    array = np.array(value, like.dtype)
    assert array.shape == like.shape
    return array


def assert_same(outputs, expected):
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype == object:
            assert outputs[name].tolist() == array.tolist(), name
        else:
            assert outputs[name].dtype == array.dtype, name
            np.testing.assert_allclose(outputs[name], array, atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_grpc_matches_signature(server, requests, expected, signature):
    assert_same(server.call(signature, requests[signature]), expected[signature])


@pytest.mark.parametrize("signature", SIGNATURES)
def test_rest_columnar_format_matches_signature(server, requests, expected, signature):
    response = server.post(signature, requests[signature])
    assert response.status_code == 200, response.text[:500]
    assert response.headers["content-type"] == "application/json"
    arrays, outputs = expected[signature], response.json()["outputs"]
    outputs = outputs if len(arrays) > 1 else {next(iter(arrays)): outputs}
    assert_same({name: from_json(value, arrays[name]) for name, value in outputs.items()}, arrays)


@pytest.mark.parametrize("signature", ["detect_uint8", "animate_jpeg", "transfer", "metadata"])
def test_rest_row_format_matches_signature(server, requests, expected, signature):
    inputs, arrays = requests[signature], expected[signature]
    count = len(next(iter(inputs.values())))
    rows = [{name: array[row] for name, array in inputs.items()} for row in range(count)]
    rows = rows if len(inputs) > 1 else [next(iter(row.values())) for row in rows]
    response = server.post(signature, rows, "instances")
    assert response.status_code == 200, response.text[:500]
    predictions = response.json()["predictions"]
    predictions = predictions if len(arrays) > 1 else [{next(iter(arrays)): row} for row in predictions]
    outputs = {name: from_json([row[name] for row in predictions], arrays[name]) for name in predictions[0]}
    assert_same(outputs, arrays)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_grpc_batch_of_any_size(server, signatures, requests, count):
    frames = np.concatenate([requests["detect_uint8"]["frames"]] * 4)[:count]
    keypoints = {name: tensor.numpy() for name, tensor in signatures["detect_uint8"](frames=frames).items()}
    assert_same(server.call("detect_uint8", {"frames": frames}), keypoints)


def test_grpc_batch_of_clips(server, requests, expected):
    inputs = {name: np.concatenate([array, array[:1]]) for name, array in requests["animate_uint8"].items()}
    inputs["relative"] = np.array([True, False])
    outputs = server.call("animate_uint8", inputs)
    assert outputs["frames"].shape[0] == 2
    np.testing.assert_allclose(outputs["frames"][:1], expected["animate_uint8"]["frames"], atol=1)
    assert np.abs(np.int16(outputs["frames"][1]) - outputs["frames"][0]).max() > 8, (
        "the second row uses absolute motion"
    )


def test_animate_jpeg_accepts_png_and_returns_jpeg(server, requests):
    png = tf.io.encode_png(examples.draw((200, 300), 2)[1]).numpy()
    response = server.post("animate_jpeg", requests["animate_jpeg"] | {"source": np.array([png], object)})
    jpeg = base64.b64decode(response.json()["outputs"]["frames_bytes"][0][0]["b64"])
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert tf.io.decode_jpeg(jpeg).shape == (128, 128, 3)


@pytest.mark.parametrize("path", ["", "/versions/1", "/labels/stable"])
def test_version_by_number_and_label(server, requests, expected, path):
    inputs, metadata = requests["metadata"], expected["metadata"]["metadata"][0].decode()
    assert server.post("metadata", inputs, path=path).json() == {"outputs": [metadata]}
    spec = {"": {}, "/versions/1": {"version": 1}, "/labels/stable": {"label": "stable"}}[path]
    assert server.call("metadata", inputs, **spec)["metadata"][0].decode() == metadata
    assert httpx.get(f"{server.url}{path}/metadata").json()["model_spec"]["version"] == "1"
    states = httpx.get(f"{server.url}{path}").json()["model_version_status"]
    assert [state["version"] for state in states] == ["1"]


def test_grpc_answer_contains_its_version(server, requests):
    request = servers.message("metadata", requests["metadata"])
    spec = server.predictions.Predict(request).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("fomm", 1, "metadata")


def test_grpc_output_filter(server, requests, expected):
    request = servers.message("animate_uint8", requests["animate_uint8"])
    request.output_filter.append("initial_value")
    outputs = server.predictions.Predict(request).outputs
    assert list(outputs) == ["initial_value"]
    initial_value = expected["animate_uint8"]["initial_value"]
    np.testing.assert_allclose(tf.make_ndarray(outputs["initial_value"]), initial_value, atol=1e-5)


def test_metadata_of_both_protocols_agree(server, signatures):
    metadata = httpx.get(f"{server.url}/metadata").json()
    assert metadata["model_spec"] == {"name": "fomm", "signature_name": "", "version": "1"}
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(SIGNATURES) <= set(definitions)
    frames = definitions["detect_uint8"]["inputs"]["frames"]
    assert frames["dtype"] == "DT_UINT8"
    assert frames["tensor_shape"]["dim"] == [{"size": size, "name": ""} for size in ("-1", "128", "128", "3")]
    assert frames["tensor_shape"]["unknown_rank"] is False
    assert definitions["detect_uint8"]["method_name"] == "tensorflow/serving/predict"
    for name in SIGNATURES:
        inputs = signatures[name].structured_input_signature[1]
        assert definitions[name]["inputs"].keys() == inputs.keys()
        assert definitions[name]["outputs"].keys() == signatures[name].structured_outputs.keys()

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "fomm"
    response = server.predictions.GetModelMetadata(request)
    definitions_message = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(definitions_message)
    assert response.model_spec.version.value == 1
    unpacked = json_format.MessageToDict(
        definitions_message, including_default_value_fields=True, preserving_proto_field_name=True
    )
    assert unpacked["signature_def"] == definitions


def test_status_of_both_protocols_agree(server):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert httpx.get(server.url).json() == {"model_version_status": [available]}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "fomm"
    (state,) = server.models.GetModelStatus(request).model_version_status
    assert (state.version, state.state, state.status.error_code) == (1, state.AVAILABLE, 0)


def test_metrics_count_requests(server, requests):
    def answered():
        return servers.metric(server, "request_count", status="OK")

    before = answered()
    server.call("metadata", requests["metadata"])
    server.post("metadata", requests["metadata"])
    assert answered() == before + 2


def test_grpc_deadline(server, requests):
    """The server is suspended until the deadline is over; afterwards it answers other requests."""
    if server.process is None:
        pytest.skip("a remote server cannot be suspended")
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(grpc.RpcError) as raised:
            server.call("animate_uint8", requests["animate_uint8"], timeout=0.1)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.call("metadata", requests["metadata"])
