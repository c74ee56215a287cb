"""TF-Serving's JSON in row and columnar format, decoded and encoded."""

import base64
import json

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fomm_tf.serving.local import inputs as codec_inputs
from fomm_tf.serving.local import json_codec, status

SPECS = {
    "frames": codec_inputs.Spec("float32", (None, 2, 3)),
    "levels": codec_inputs.Spec("uint8", (None, 2)),
    "switch": codec_inputs.Spec("bool", (None,)),
    "bytes": codec_inputs.Spec("string", (None, None)),
}
SIZES = codec_inputs.Sizes(max_frames=100, max_bytes=2**20)


@st.composite
def inputs(draw):
    count = draw(st.integers(1, 3))
    floats = st.floats(-1e6, 1e6, width=32)
    images = st.lists(st.binary(max_size=5), min_size=2, max_size=2)
    return {
        "frames": draw(arrays.arrays(np.float32, (count, 2, 3), elements=floats)),
        "levels": draw(arrays.arrays(np.uint8, (count, 2))),
        "switch": draw(arrays.arrays(np.bool_, count)),
        "bytes": np.array(draw(st.lists(images, min_size=count, max_size=count)), object),
    }


def as_json(array):
    if array.dtype == object:
        return [[{"b64": base64.b64encode(data).decode()} for data in row] for row in array]
    return array.tolist()


def decode(body, *names):
    """Decodes a body for a signature with these inputs."""
    return json_codec.decode(body, {"serving_default": {name: SPECS[name] for name in names}}, SIZES).arrays


@given(inputs(), st.booleans())
def test_decode_restores_arrays(sent, row_format):
    columns = {name: as_json(array) for name, array in sent.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    body = {"signature_name": "s", **({"instances": rows} if row_format else {"inputs": columns})}
    prediction = json_codec.decode(json.dumps(body).encode(), {"s": SPECS}, SIZES)
    assert (prediction.signature, prediction.row_format) == ("s", row_format)
    decoded = prediction.arrays
    assert decoded.keys() == sent.keys()
    for name, array in sent.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].tolist() == array.tolist()


@given(inputs())
def test_encode_row_and_columnar_format_agree(outputs):
    outputs = {("bytes_bytes" if name == "bytes" else name): array for name, array in outputs.items()}
    columns = json.loads(json_codec.encode(outputs, row_format=False))["outputs"]
    rows = json.loads(json_codec.encode(outputs, row_format=True))["predictions"]
    for name, array in outputs.items():
        assert columns[name] == [row[name] for row in rows]
        if array.dtype != object:
            np.testing.assert_array_equal(np.array(columns[name], array.dtype), array)
        else:
            assert columns[name] == as_json(array)


def test_encode_uses_base64_for_names_that_end_in_bytes():
    text = {"text": np.array([b"a\xff"], object)}
    assert json.loads(json_codec.encode(text, row_format=False)) == {"outputs": ["a\ufffd"]}
    text = {"text_bytes": np.array([b"a\xff"], object)}
    assert json.loads(json_codec.encode(text, row_format=True)) == {"predictions": [{"b64": "Yf8="}]}


def test_decode_reads_nan_and_infinity():
    body = b'{"inputs": [[[NaN, Infinity, -Infinity], [0, 1, 2]]]}'
    frames = decode(body, "frames")["frames"]
    np.testing.assert_array_equal(frames[0, 0], [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frames", [[["1"] * 3] * 2], "float32"),
        ("frames", [[[None] * 3] * 2], "float32"),
        ("frames", [[[1.0] * 3]], "shape"),
        ("frames", 1.0, "shape"),
        ("frames", [], "shape"),
        ("frames", {"a": 1}, "float32"),
        ("levels", [[0, 256]], "0 to 255"),
        ("levels", [[-1, 0]], "0 to 255"),
        ("levels", [[0.5, 1]], "uint8"),
        ("levels", [[True, False]], "uint8"),
        ("levels", [[True, 2]], "true or false"),
        ("frames", [[[0.5, True, 0.5]] * 2], "true or false"),
        ("levels", [[10**30, 1]], "uint8"),
        ("switch", [1], "bool"),
        ("bytes", ["a"], "nested"),
        ("bytes", [[["a"]]], "nested 2 deep"),
        ("bytes", [[1]], "b64"),
        ("bytes", [[{"b64": "a"}]], "base64"),
        ("bytes", [["a"], ["b", "c"]], "length"),
        ("bytes", [["\ud800"]], "surrogate"),
        ("bytes", [[]], "empty"),
        ("bytes", [["a"] * 101], "at most 100"),
    ],
)
def test_decode_rejects_invalid_tensor(name, value, message):
    with pytest.raises(status.RpcError, match=message) as raised:
        decode(json.dumps({"inputs": {name: value}}).encode(), name)
    assert raised.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert name in raised.value.message


@pytest.mark.parametrize(
    "body", [b'{"inputs": {"\\ud800": 1}}', b'{"inputs": 1, "signature_name": "\\udfff"}'], ids=["input", "signature"]
)
def test_decode_reports_a_lone_surrogate_in_a_name(body):
    with pytest.raises(status.RpcError) as raised:
        decode(body, "frames")
    assert raised.value.message.encode()
    assert "\\ud" in raised.value.message


def test_decode_accepts_booleans_and_numbers_in_one_request():
    arrays_of = decode(b'{"inputs": {"switch": [true], "levels": [[1, 2]]}}', "switch", "levels")
    assert arrays_of["switch"].tolist() == [True]
    assert arrays_of["levels"].tolist() == [[1, 2]]


def test_decode_takes_true_in_text_for_no_boolean():
    body = b'{"inputs": {"bytes": [["true", ":false,"]], "levels": [[1, 2]]}}'
    arrays_of = decode(body, "bytes", "levels")
    assert arrays_of["bytes"].tolist() == [[b"true", b":false,"]]
    assert arrays_of["levels"].tolist() == [[1, 2]]
