"""gRPC: TF-Serving's PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.local import servable, status
from serving.local.core import Core

_CODES = {code.value[0]: code for code in grpc.StatusCode}
METADATA_FIELD = "signature_def"


def serve(core: Core, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """A server, not started yet.

    Args:
      core: what answers.
      host, port: where; 0 is any free port.

    Returns:
      The server and its port.

    Raises:
      OSError: if the port is taken.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", core.limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Predictions(core), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(core), server)
    try:
        return server, server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from error


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        async with _ending(context):
            with self._core.admit("GRPC"), self._core.versions.lease(*_names(request.model_spec)) as used:
                signature = request.model_spec.signature_name or servable.DEFAULT_SIGNATURE
                specs, outputs = used.inputs(signature), _chosen(request, used.outputs(signature))
                remaining = context.time_remaining()
                deadline = time.monotonic() + (self._core.limits.seconds if remaining is None else remaining)

                def decode() -> servable.Arrays:
                    servable.check_names(signature, request.inputs, specs)
                    return {name: _decode(name, request.inputs[name], specs[name], self._core) for name in specs}

                def encode() -> predict_pb2.PredictResponse:
                    tensors = {name: tf.make_tensor_proto(answer[name]) for name in outputs}
                    return predict_pb2.PredictResponse(
                        model_spec=_spec(request.model_spec.name, used.version, signature), outputs=tensors
                    )

                answer = await self._core.predict(used, signature, decode, deadline)
                return await self._core.work(encode)

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        async with _ending(context):
            if list(request.metadata_field) != [METADATA_FIELD]:
                raise servable.invalid(
                    f"metadata_field is {list(request.metadata_field)}; give {METADATA_FIELD!r}, the only one."
                )
            with self._core.versions.lease(*_names(request.model_spec)) as used:
                response = get_model_metadata_pb2.GetModelMetadataResponse(
                    model_spec=_spec(request.model_spec.name, used.version)
                )
                response.metadata[METADATA_FIELD].Pack(used.definitions)
                return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        async with _ending(context):
            return status_of(self._core, *_names(request.model_spec))


def status_of(
    core: Core, name: str, version: int | None, label: str | None
) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of one version or of all.

    Raises:
      status.Refused: if there is none such.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, (state, error) in core.versions.states(name, version, label).items():
        added = response.model_version_status.add(version=number, state=state)
        added.status.error_code, added.status.error_message = (status.Code.UNKNOWN if error else 0), error
    return response


def _names(spec: model_pb2.ModelSpec) -> tuple[str, int | None, str | None]:
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


def _spec(name: str, version: int, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _chosen(request: predict_pb2.PredictRequest, outputs: set[str]) -> set[str]:
    unknown = set(request.output_filter) - outputs
    if unknown:
        raise servable.invalid(f"output_filter names {sorted(unknown)}; there are {', '.join(sorted(outputs))}.")
    return set(request.output_filter) or outputs


def _decode(name: str, proto: tensor_pb2.TensorProto, spec: tf.TensorSpec, core: Core) -> object:
    """The array of a message whose shape has been found right."""
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise servable.invalid(f"{name} has no definite shape; give one without unknown sizes.")
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
    except TypeError:
        raise servable.invalid(f"{name} has no known dtype; give {spec.dtype.name}.") from None
    servable.check_shape(name, dtype, shape, spec, core.limits.frames)
    # A message may state one value for a whole array.
    if math.prod(shape) * (1 if dtype == tf.string else dtype.size) > core.limits.request_bytes:
        raise servable.invalid(f"{name} of shape {shape} is larger than a request may be; send it in parts.")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise servable.invalid(f"{name} does not hold the values of its shape {shape}: {error}") from None


@contextlib.asynccontextmanager
async def _ending(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Tells the client how a call ended that is not answered."""
    try:
        yield
    except status.Refused as error:
        await context.abort(_CODES[error.code], error.message)
