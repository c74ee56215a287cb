"""Protobuf messages before they are parsed: values as they are sent are accepted, millions of fields are not."""

import google.protobuf.message
import grpc
import numpy as np
import pytest
import servers
from tensorflow_serving.apis import predict_pb2

from fomm_tf.serving.local import memory, status, wire_format

MANY = wire_format.MAX_FIELDS + 1


def field(number, payload):
    """A field of bytes."""
    size, prefix = len(payload), [number << 3 | 2]
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes([*prefix, size]) + payload


def tensor(payload):
    """A request with this tensor as an input."""
    return field(2, field(1, b"x") + field(2, payload))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_arrays_are_accepted(dtype):
    request = servers.message("detect", {"x": np.ones((4, 300, 300), dtype)})
    data = request.SerializeToString()
    assert len(data) > memory.SMALL_BYTES
    assert wire_format.parse(predict_pb2.PredictRequest, data) == request


@pytest.mark.parametrize("number", [5, 7, 11], ids=["float_val", "int_val", "bool_val"])
def test_packed_values_are_accepted(number):
    count = 4 * MANY
    parsed = wire_format.parse(predict_pb2.PredictRequest, tensor(field(number, b"\0" * count)))
    values = parsed.inputs["x"]
    assert len(values.float_val) + len(values.int_val) + len(values.bool_val) in (count, count // 4)


REFUSED = {
    "inputs": b"\x12\0" * MANY,
    "filters": b"\x1a\0" * MANY,
    "groups": b"\x5b\x5c" * MANY,
    "unknown": b"\x7d\0\0\0\0" * MANY,
    "dimensions": tensor(field(2, b"\x12\0" * 2 * MANY)),
    "strings": tensor(b"\x42\0" * 2 * MANY),
    "variants": tensor(b"\x7a\0" * 2 * MANY),
    "unpacked": tensor(b"\x38\1" * 2 * MANY),
    "inputs of one": b"".join(tensor(b"\x42\0") for _ in range(MANY)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_many_fields_are_refused(name):
    data = REFUSED[name] + b"\x1a\x80\x80\x04" + bytes(2**16)
    with pytest.raises(status.RpcError) as raised:
        wire_format.parse(predict_pb2.PredictRequest, data)
    assert raised.value.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("data", [b"\xff" * 2**17, b"\x1a\xff\xff\xff\x7f" + bytes(2**17), b"\x0a" + b"\xff" * 2**17])
def test_what_cannot_be_read_is_left_to_the_parser(data):
    with pytest.raises(google.protobuf.message.DecodeError):
        wire_format.parse(predict_pb2.PredictRequest, data)
