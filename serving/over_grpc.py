"""TF-Serving's gRPC protocol; importing it loads TensorFlow."""

from __future__ import annotations

import contextlib
import functools
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

from serving import signatures
from serving.target import Target

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # A channel that failed to connect refuses calls until it has tried again; by default that takes up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Request(NamedTuple):
    """What goes over the wire.

    Attributes:
      method: of the PredictionService.
      message: its request.
      asked: the signature, or `metadata`.
    """

    method: str
    message: message.Message
    asked: str


class Codec:
    """Calls to requests and messages to answers, without I/O.

    Args:
      target: whom to ask.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def ask_metadata(self) -> Request:
        """The request for what `signatures.read` takes."""
        asked = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        return Request("GetModelMetadata", asked, "metadata")

    def read_metadata(self, answer: get_model_metadata_pb2.GetModelMetadataResponse) -> Mapping:
        """Its answer."""
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return json_format.MessageToDict(found, preserving_proto_field_name=True)

    def ask(self, call: signatures.Call) -> Request:
        """The request for a call.

        Raises:
          failures.ArgumentError: if it is too large.
        """
        asked = predict_pb2.PredictRequest(model_spec=self._spec(call.signature))
        for name, tensor in call.inputs.items():
            asked.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        self._target.check_size(asked.ByteSize(), call.signature)
        return Request("Predict", asked, call.signature)

    def read(self, answer: predict_pb2.PredictResponse, outputs: Mapping[str, type]) -> signatures.Tensors:
        """Its answer, as far as it is named."""
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
    """Bytes of a tensor in a message."""
    if tensor.dtype == np.object_:
        return sum(len(text) + 6 for text in tensor.flat)  # a tag and a length
    return tensor.nbytes


class Transport:
    """Sends requests.

    Args:
      target: whom to.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(target.server, _OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def send(self, request: Request) -> message.Message:
        """The answer.

        Raises:
          failures.ServerError: if there is none.
        """
        with _told(self._target, request):
            return getattr(self._stub, request.method)(request.message, timeout=self._target.timeout)

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
        with _told(self._target, request):
            return await getattr(stub, request.method)(request.message, timeout=self._target.timeout)

    async def close(self) -> None:
        """Closes the connections."""
        if "_channel" in self.__dict__:
            await self._channel.close()

    @functools.cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Made at the first request, since it belongs to the event loop that runs then."""
        return grpc.aio.insecure_channel(self._target.server, _OPTIONS)


@contextlib.contextmanager
def _told(target: Target, request: Request) -> Iterator[None]:
    """What gRPC raises as `ServerError`."""
    try:
        yield
    except grpc.RpcError as error:
        raise target.failure(error.code().name, error.details() or "", request.asked) from error
