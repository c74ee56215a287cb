"""gRPC: TF-Serving's PredictionService (Predict, GetModelMetadata) and ModelService, health and reflection."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from fomm_tf.serving.local import grpc_guard, inputs, status, wire_format
from fomm_tf.serving.local.core import ServerCore

METADATA_FIELD = "signature_def"
_PREDICTION, _MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# Whose health is reported; the empty name is the server's.
_SERVICES = ("", _PREDICTION, _MODEL)
# Streams of one connection, of which each is a call.
_MAX_STREAMS = 100
# A connection takes no new calls after so many times the server's timeout, and is closed when those before had time to
# end: a client that does not read its answer, or watches the server's health, would keep it forever. Clients reconnect.
_CONNECTION_TIMEOUTS = 10


class GrpcServer:
    """The gRPC server; listens from `start` on.

    Args:
      core: answers the requests.
    """

    def __init__(self, core: ServerCore) -> None:
        limits, methods = core.limits, _Methods(core)
        self._guard, self._health = grpc_guard.Guard(core), _Health()
        milliseconds = int(1000 * limits.timeout)
        self._server = grpc.aio.server(
            interceptors=[self._guard],
            options=[
                ("grpc.max_receive_message_length", limits.max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.max_connection_age_ms", _CONNECTION_TIMEOUTS * milliseconds),
                ("grpc.max_connection_age_grace_ms", milliseconds + int(1000 * limits.idle_timeout)),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=limits.max_connections,
        )
        self._server.add_generic_rpc_handlers(methods.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [_PREDICTION, _MODEL, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listens, and answers.

        Args:
          host: address to listen on.
          port: 0 is any free port.
          credentials: for TLS.

        Returns:
          The port.

        Raises:
          OSError: if the port is taken.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        for service in _SERVICES:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()
        return port

    async def stop(self, seconds: float) -> None:
        """Ends when the calls that have arrived are answered, or after so many seconds."""
        await self._health.enter_graceful_shutdown()
        self._guard.end_streams()
        await self._server.stop(seconds)


class _Health(health.aio.HealthServicer):
    """Health checks, without what the package keeps forever for each unknown name that is watched."""

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext) -> None:
        """See grpc.health.v1."""
        if request.service not in _SERVICES:
            message = f"service: got an unknown one; expected one of: {', '.join(map(repr, _SERVICES))}."
            raise status.RpcError(grpc.StatusCode.NOT_FOUND, message)
        await super().Watch(request, context)


class _Methods:
    """The methods of both services of TF-Serving; other methods are UNIMPLEMENTED."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def handlers(self) -> Sequence[grpc.GenericRpcHandler]:
        """The methods by service."""
        prediction = {
            "Predict": _handler(self.predict, predict_pb2.PredictRequest),
            "GetModelMetadata": _handler(self.get_metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        model = {
            "GetModelStatus": _handler(self.get_status, get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": _handler(self.reload, model_management_pb2.ReloadConfigRequest),
        }
        return [
            grpc.method_handlers_generic_handler(_PREDICTION, prediction),
            grpc.method_handlers_generic_handler(_MODEL, model),
        ]

    async def predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Predict."""
        core = self._core
        with core.record("GRPC"), core.admit(), core.versions.lease(*_model_key(request.model_spec)) as version:
            signature = request.model_spec.signature_name or inputs.DEFAULT_SIGNATURE
            specs = inputs.find_signature(version.inputs, signature)
            output_names = _filter_outputs(request, version.outputs(signature))
            remaining = context.time_remaining()
            deadline = time.monotonic() + min(
                core.limits.timeout, core.limits.timeout if remaining is None else remaining
            )

            def decode() -> inputs.Arrays:
                inputs.check_names(signature, request.inputs, specs)
                return {name: _decode(name, request.inputs[name], specs[name], core.sizes) for name in specs}

            def encode() -> predict_pb2.PredictResponse:
                tensors = {name: tf.make_tensor_proto(outputs[name]) for name in output_names}
                return predict_pb2.PredictResponse(
                    model_spec=_model_spec(request.model_spec.name, version.version, signature), outputs=tensors
                )

            arrays = await core.codecs.run(decode)
            async with core.predict(version, signature, arrays, deadline) as outputs:
                return await core.codecs.run(encode)

    async def get_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, _: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata."""
        fields = list(request.metadata_field)
        message = f"metadata_field: got {str(fields)[:200]}; expected [{METADATA_FIELD!r}]."
        status.require(fields == [METADATA_FIELD], message)
        with self._core.versions.lease(*_model_key(request.model_spec)) as version:
            response = get_model_metadata_pb2.GetModelMetadataResponse(
                model_spec=_model_spec(request.model_spec.name, version.version)
            )
            response.metadata[METADATA_FIELD].Pack(version.definitions)
            return response

    async def get_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, _: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus."""
        return get_status(self._core, *_model_key(request.model_spec))

    async def reload(
        self, request: model_management_pb2.ReloadConfigRequest, _: grpc.aio.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """HandleReloadConfigRequest: new labels for the one model; new versions are looked for at once."""
        configs = request.config.model_config_list.config
        names = [config.name for config in configs]
        expected = self._core.versions.name
        status.require(names == [expected], f"config: got models {str(names)[:200]}; expected [{expected!r}].")
        base_path = configs[0].base_path
        message = "base_path: got another directory; expected none, or that of the server's `--model`."
        status.require(not base_path or self._core.versions.is_directory(base_path), message)
        await self._core.versions.reload(dict(configs[0].version_labels))
        return model_management_pb2.ReloadConfigResponse()


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


def _handler(function: Callable, request: type[message.Message]) -> grpc.RpcMethodHandler:
    parse = functools.partial(wire_format.parse, request)
    return grpc.unary_unary_rpc_method_handler(function, parse, lambda answer: answer.SerializeToString())


def _model_key(spec: model_pb2.ModelSpec) -> tuple[str, int | None, str | None]:
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


def _model_spec(name: str, version: int, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _filter_outputs(request: predict_pb2.PredictRequest, outputs: Iterable[str]) -> set[str]:
    unknown = set(request.output_filter).difference(outputs)
    if unknown:
        raise status.invalid_argument(
            f"output_filter: got unknown {', '.join(sorted(unknown))[:200]}; "
            f"expected some of: {', '.join(sorted(outputs))}."
        )
    return set(request.output_filter or outputs)


def _decode(name: str, proto: tensor_pb2.TensorProto, spec: inputs.Spec, sizes: inputs.Sizes) -> np.ndarray:
    """Converts an input to an array, after its shape is checked: one value may stand for an array of any size."""
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise status.invalid_argument(f"{name}: got a shape with unknown sizes; expected a fully defined shape.")
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
    except TypeError:
        raise status.invalid_argument(f"{name}: got an unknown dtype; expected {spec.dtype}.") from None
    inputs.check_shape(name, dtype.name, shape, spec, sizes)
    if dtype == tf.uint8 and proto.int_val and not 0 <= min(proto.int_val) <= max(proto.int_val) <= 255:
        raise status.invalid_argument(f"{name}: got values outside of 0 to 255.")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise status.invalid_argument(f"{name}: its values do not match its shape {shape}: {error}") from None
