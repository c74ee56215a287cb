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

from fomm_tf.serving.local import servable, status
from fomm_tf.serving.local.core import ServerCore

METADATA_FIELD = "signature_def"


def create_server(core: ServerCore, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """Creates a gRPC server without starting it.

    Args:
      core: answers the requests.
      host: address to listen on.
      port: 0 is any free port.

    Returns:
      The server and its port.

    Raises:
      OSError: if the port is taken.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", core.limits.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(core), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(core), server)
    try:
        return server, server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from error


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core: ServerCore) -> None:
        self._core = core

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        async with _abort_on_error(context):
            with self._core.admit("GRPC"), self._core.versions.lease(*_model_key(request.model_spec)) as version:
                signature = request.model_spec.signature_name or servable.DEFAULT_SIGNATURE
                specs, output_names = version.inputs(signature), _filter_outputs(request, version.outputs(signature))
                remaining = context.time_remaining()
                deadline = time.monotonic() + (self._core.limits.timeout if remaining is None else remaining)

                def decode() -> servable.Arrays:
                    servable.check_names(signature, request.inputs, specs)
                    return {name: _decode(name, request.inputs[name], specs[name], self._core) for name in specs}

                def encode() -> predict_pb2.PredictResponse:
                    tensors = {name: tf.make_tensor_proto(outputs[name]) for name in output_names}
                    return predict_pb2.PredictResponse(
                        model_spec=_model_spec(request.model_spec.name, version.version, signature), outputs=tensors
                    )

                outputs = await self._core.predict(version, signature, decode, deadline)
                return await self._core.run_in_thread(encode)

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        async with _abort_on_error(context):
            if list(request.metadata_field) != [METADATA_FIELD]:
                raise status.invalid_argument(
                    f"metadata_field: got {list(request.metadata_field)}; expected [{METADATA_FIELD!r}]."
                )
            with self._core.versions.lease(*_model_key(request.model_spec)) as version:
                response = get_model_metadata_pb2.GetModelMetadataResponse(
                    model_spec=_model_spec(request.model_spec.name, version.version)
                )
                response.metadata[METADATA_FIELD].Pack(version.definitions)
                return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core: ServerCore) -> None:
        self._core = core

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        async with _abort_on_error(context):
            return get_status(self._core, *_model_key(request.model_spec))


def get_status(
    core: ServerCore, name: str, version: int | None, label: str | None
) -> get_model_status_pb2.GetModelStatusResponse:
    """Returns the status of one version or of all.

    Raises:
      status.RpcError: if there is no such version.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, (state, error) in core.versions.states(name, version, label).items():
        added = response.model_version_status.add(version=number, state=state)
        code = grpc.StatusCode.UNKNOWN if error else grpc.StatusCode.OK
        added.status.error_code, added.status.error_message = code.value[0], error
    return response


def _model_key(spec: model_pb2.ModelSpec) -> tuple[str, int | None, str | None]:
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


def _model_spec(name: str, version: int, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _filter_outputs(request: predict_pb2.PredictRequest, outputs: set[str]) -> set[str]:
    unknown = set(request.output_filter) - outputs
    if unknown:
        raise status.invalid_argument(
            f"output_filter: got unknown {', '.join(sorted(unknown))}; expected some of: {', '.join(sorted(outputs))}."
        )
    return set(request.output_filter) or outputs


def _decode(name: str, proto: tensor_pb2.TensorProto, spec: tf.TensorSpec, core: ServerCore) -> object:
    """Converts an input to an array, after its shape is checked."""
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise status.invalid_argument(f"{name}: got a shape with unknown sizes; expected a fully defined shape.")
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
    except TypeError:
        raise status.invalid_argument(f"{name}: got an unknown dtype; expected {spec.dtype.name}.") from None
    servable.check_shape(name, dtype, shape, spec, core.limits.max_frames)
    # A message may give one value for the whole array, of any size.
    if math.prod(shape) * (1 if dtype == tf.string else dtype.size) > core.limits.max_request_bytes:
        raise status.invalid_argument(
            f"{name}: got shape {shape}; expected at most {core.limits.max_request_bytes:,} bytes; split the request."
        )
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise status.invalid_argument(f"{name}: its values do not match its shape {shape}: {error}") from None


@contextlib.asynccontextmanager
async def _abort_on_error(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Aborts a call with the status of a raised `RpcError`."""
    try:
        yield
    except status.RpcError as error:
        await context.abort(error.code, error.message)
