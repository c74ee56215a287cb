"""JSON with NumPy arrays, with orjson and without."""

import json

import numpy as np
import pytest

from fomm_tf.serving import json_body


@pytest.fixture(params=["orjson", "json"], autouse=True)
def implementation(request, monkeypatch):
    if request.param == "json":
        monkeypatch.setattr(json_body, "orjson", None)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, :, ::2],
        np.float32([[0.1, -1e-30], [3e30, 0]]),
        np.array([True, False]),
        np.zeros([2, 0, 3], np.float32),
    ],
    ids=["uint8", "not contiguous", "float32", "bool", "empty"],
)
def test_dumps_restores_array(array):
    document = json_body.loads(json_body.dumps({"x": array, "name": "é"}))
    assert document["name"] == "é"
    np.testing.assert_array_equal(np.array(document["x"], array.dtype).reshape(array.shape), array)


def test_dumps_rejects_other_objects():
    with pytest.raises(TypeError):
        json_body.dumps({"x": object()})


def test_loads_reads_nan_and_infinity():
    assert np.isnan(json_body.loads(b"[NaN]")[0])
    assert json_body.loads(b"[-Infinity, 1]") == [-np.inf, 1]


def test_loads_rejects_invalid_json():
    with pytest.raises(json.JSONDecodeError, match="char 3"):
        json_body.loads(b"[1,")
