"""TF-Serving's gRPC protocol for the client; importing this module imports TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import types
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from fomm_tf.serving import signatures
from fomm_tf.serving.target import Target

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # After a failed connection a channel fails all calls until it reconnects; by default up to two minutes later.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Request(NamedTuple):
    """A gRPC request."""

    method: str  # of the PredictionService
    message: message.Message  # its argument
    name: str  # the signature, or `metadata`, for messages


class Codec:
    """Converts calls to requests and responses to outputs, without I/O.

    Args:
      target: the server and model.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def metadata_request(self) -> Request:
        """The request for what `signatures.read` takes."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        return Request("GetModelMetadata", request, "metadata")

    def read_metadata(self, answer: get_model_metadata_pb2.GetModelMetadataResponse) -> Mapping:
        """Converts the answer to `metadata_request` to JSON."""
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        return json_format.MessageToDict(definitions, preserving_proto_field_name=True)

    def predict_request(self, call: signatures.Call) -> Request:
        """The request for a call.

        Raises:
          ArgumentError: if it is too large.
        """
        request = predict_pb2.PredictRequest(model_spec=self._spec(call.signature))
        for name, tensor in call.inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        self._target.check_size(request.ByteSize(), call.signature)
        return Request("Predict", request, call.signature)

    def read(self, answer: predict_pb2.PredictResponse, outputs: Mapping[str, type]) -> signatures.Tensors:
        """Converts the named outputs of the answer to `predict_request`."""
        return {name: tf.make_ndarray(answer.outputs[name]) for name in outputs}

    def _spec(self, signature: str = "") -> model_pb2.ModelSpec:
        target = self._target
        spec = model_pb2.ModelSpec(name=target.model, signature_name=signature)
        if target.version is not None:
            spec.version.value = target.version
        if target.label is not None:
            spec.version_label = target.label
        return spec


def size(tensor: np.ndarray) -> int:
    """An upper bound of a tensor's bytes in a message, without its name and shape."""
    if tensor.dtype == np.object_:
        return sum(len(data) + 6 for data in tensor.flat)  # a tag and a length
    return tensor.nbytes


class Transport:
    """Sends requests.

    Args:
      target: the server.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = _open_channel(grpc, target)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def send(self, request: Request) -> message.Message:
        """Sends a request and returns the response.

        Raises:
          ServerError: if the request fails.
        """
        with _server_errors(self._target, request):
            return getattr(self._stub, request.method)(
                request.message, timeout=self._target.timeout, metadata=_metadata(self._target)
            )

    def close(self) -> None:
        """Closes the connections."""
        self._channel.close()


class AsyncTransport:
    """`Transport` for asyncio."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def send(self, request: Request) -> message.Message:
        """See `Transport.send`."""
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        with _server_errors(self._target, request):
            return await getattr(stub, request.method)(
                request.message, timeout=self._target.timeout, metadata=_metadata(self._target)
            )

    async def close(self) -> None:
        """Closes the connections."""
        if "_channel" in self.__dict__:
            await self._channel.close()

    @functools.cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Created at the first request, since it belongs to the event loop that is running then."""
        return _open_channel(grpc.aio, self._target)


def _open_channel(module: types.ModuleType, target: Target) -> grpc.Channel | grpc.aio.Channel:
    if target.ca_file is None:
        return module.insecure_channel(target.server, _OPTIONS)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(target.ca_file).read_bytes())
    return module.secure_channel(target.server, credentials, _OPTIONS)


def _metadata(target: Target) -> list[tuple[str, str]]:
    return [] if target.token is None else [("authorization", f"Bearer {target.token}")]


@contextlib.contextmanager
def _server_errors(target: Target, request: Request) -> Iterator[None]:
    """Raises gRPC's exceptions as `ServerError`."""
    try:
        yield
    except grpc.RpcError as error:
        details = error.details() or ""
        delay = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms", "")
        retry_after = int(delay) / 1000 if delay.isdecimal() else None
        # gRPC's own limit of message sizes has the code of a busy server.
        is_permanent = "larger than max" in details
        raise target.failure(error.code().name, details, request.name, retry_after, is_permanent) from error
