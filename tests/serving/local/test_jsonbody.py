"""TF-Serving's JSON, both forms, there and back."""

import base64
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.local import jsonbody, status

SPECS = {
    "frames": tf.TensorSpec([None, 2, 3], tf.float32, "frames"),
    "levels": tf.TensorSpec([None, 2], tf.uint8, "levels"),
    "switch": tf.TensorSpec([None], tf.bool, "switch"),
    "bytes": tf.TensorSpec([None, None], tf.string, "bytes"),
}


@st.composite
def inputs(draw):
    count = draw(st.integers(1, 3))
    floats = st.floats(-1e6, 1e6, width=32)
    pictures = st.lists(st.binary(max_size=5), min_size=2, max_size=2)
    return {
        "frames": draw(arrays.arrays(np.float32, (count, 2, 3), elements=floats)),
        "levels": draw(arrays.arrays(np.uint8, (count, 2))),
        "switch": draw(arrays.arrays(np.bool_, count)),
        "bytes": np.array(draw(st.lists(pictures, min_size=count, max_size=count)), object),
    }


def plain(array):
    if array.dtype == object:
        return [[{"b64": base64.b64encode(each).decode()} for each in row] for row in array]
    return array.tolist()


@given(inputs(), st.booleans())
def test_what_is_sent_arrives(arrays_sent, by_rows):
    columns = {name: plain(array) for name, array in arrays_sent.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    body = {"signature_name": "s", **({"instances": rows} if by_rows else {"inputs": columns})}
    parsed = jsonbody.parse(json.dumps(body).encode())
    assert (parsed.signature, parsed.by_rows) == ("s", by_rows)
    decoded = jsonbody.decode(parsed, SPECS, most=100)
    assert decoded.keys() == arrays_sent.keys()
    for name, array in arrays_sent.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].tolist() == array.tolist()


@given(inputs())
def test_answers_in_rows_and_columns_say_the_same(outputs):
    outputs = {("bytes_bytes" if name == "bytes" else name): array for name, array in outputs.items()}
    columns = json.loads(jsonbody.encode(outputs, by_rows=False))["outputs"]
    rows = json.loads(jsonbody.encode(outputs, by_rows=True))["predictions"]
    for name, array in outputs.items():
        assert columns[name] == [row[name] for row in rows]
        if array.dtype != object:
            np.testing.assert_array_equal(np.array(columns[name], array.dtype), array)
        else:
            assert columns[name] == plain(array)


def test_bytes_are_base64_only_where_the_name_says_so():
    text = {"said": np.array([b"a\xff"], object)}
    assert json.loads(jsonbody.encode(text, by_rows=False)) == {"outputs": ["a\ufffd"]}
    text = {"said_bytes": np.array([b"a\xff"], object)}
    assert json.loads(jsonbody.encode(text, by_rows=True)) == {"predictions": [{"b64": "Yf8="}]}


def test_nan_is_read_as_tf_serving_reads_it():
    parsed = jsonbody.parse(b'{"inputs": [[[NaN, Infinity, -Infinity], [0, 1, 2]]]}')
    found = jsonbody.decode(parsed, {"frames": SPECS["frames"]}, most=1)["frames"]
    np.testing.assert_array_equal(found[0, 0], [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("name", "value", "said"),
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
        ("levels", [[10**30, 1]], "uint8"),
        ("switch", [1], "bool"),
        ("bytes", ["a"], "nested"),
        ("bytes", [[["a"]]], "b64"),
        ("bytes", [[{"b64": "a"}]], "base64"),
        ("bytes", [["a"], ["b", "c"]], "length"),
        ("bytes", [[]], "empty"),
        ("bytes", [["a"] * 101], "at most 100"),
    ],
)
def test_what_is_no_such_tensor(name, value, said):
    parsed = jsonbody.parse(json.dumps({"inputs": {name: value}}).encode())
    with pytest.raises(status.Refused, match=said) as raised:
        jsonbody.decode(parsed, {name: SPECS[name]}, most=100)
    assert raised.value.code == status.Code.INVALID_ARGUMENT
    assert name in raised.value.message
