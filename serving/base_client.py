"""What the synchronous and the asynchronous client share: everything that does not wait."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from fomm_tf.serving import failures, signatures
from fomm_tf.serving.target import MessageBudget, Target

PROTOCOLS = ("rest", "grpc")
BATCH_SIZE, TIMEOUT, RETRY_TIMEOUT = 8, 60.0, 30.0
_MAX_MESSAGE_BYTES = 16 * 2**20


class BaseClient:
    """A served model, reached over one protocol; for the arguments see `fomm_tf.serving.client.Client`."""

    _TRANSPORT: str  # name of the class in the protocol's module

    def __init__(
        self,
        server: str,
        model: str = "fomm",
        version: int | None = None,
        label: str | None = None,
        protocol: str = "rest",
        timeout: float = TIMEOUT,
        retry_timeout: float = RETRY_TIMEOUT,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
    ) -> None:
        self._target = Target(server, model, version, label, timeout, retry_timeout, max_message_bytes)
        protocol_module = _import_protocol(protocol)
        self._codec = protocol_module.Codec(self._target)
        self._budget = MessageBudget(protocol_module.size, max_message_bytes)
        self._transport = getattr(protocol_module, self._TRANSPORT)(self._target)
        self._cached_model: signatures.Model | None = None

    def _read_model(self, answer: Any) -> signatures.Model:
        self._cached_model = self._decode(lambda: signatures.read(self._codec.read_metadata(answer)), "metadata")
        return self._cached_model

    def _read_outputs(self, answer: Any, call: signatures.Call) -> signatures.Tensors:
        outputs = self._cached_model.outputs
        return self._decode(lambda: self._codec.read(answer, outputs[call.signature]), call.signature)

    def _decode(self, decode: Callable[[], Any], request_name: str) -> Any:
        try:
            return decode()
        except (KeyError, TypeError, ValueError) as error:
            details = f"its answer is not that of an exported model ({type(error).__name__}: {error})"
            raise self._target.failure("FAILED_PRECONDITION", details, request_name) from error


def _import_protocol(protocol: str) -> types.ModuleType:
    """Imports the protocol's module, with the packages that only this protocol needs."""
    try:
        if protocol == "rest":
            from fomm_tf.serving import rest_transport

            return rest_transport
        if protocol == "grpc":
            from fomm_tf.serving import grpc_transport

            return grpc_transport
    except ImportError as error:
        raise ImportError(
            f"`protocol` {protocol} needs packages that are not installed ({error}); install them with: "
            'pip install "fomm-tf[serving]"'
        ) from error
    raise failures.ArgumentError(f"`protocol`: got {protocol!r}; expected {' or '.join(PROTOCOLS)}.")
