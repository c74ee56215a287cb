"""What the synchronous and the asynchronous client have in common: all that does not depend on how one waits."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from serving import failures, signatures
from serving.target import Room, Target

PROTOCOLS = ("rest", "grpc")
TIMEOUT, PATIENCE = 60.0, 30.0
_MAX_MESSAGE_BYTES = 16 * 2**20


class Connection:
    """A model behind a server, reached by a protocol; for the arguments see `serving.client.Client`."""

    def __init__(
        self,
        server: str,
        model: str = "fomm",
        version: int | None = None,
        label: str | None = None,
        protocol: str = "rest",
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
    ) -> None:
        self._target = Target(server, model, version, label, timeout, patience, max_message_bytes)
        wire = _load(protocol)
        self._codec, self._room = wire.Codec(self._target), Room(wire.size, max_message_bytes)
        self._transport = self._connect(wire)
        self._known: signatures.Model | None = None

    def _connect(self, wire: types.ModuleType) -> Any:
        raise NotImplementedError

    def _learn(self, answer: Any) -> signatures.Model:
        self._known = self._read(lambda: signatures.read(self._codec.read_metadata(answer)), "metadata")
        return self._known

    def _understand(self, answer: Any, call: signatures.Call) -> signatures.Tensors:
        return self._read(lambda: self._codec.read(answer, self._known.outputs[call.signature]), call.signature)

    def _read(self, read: Callable[[], Any], asked: str) -> Any:
        try:
            return read()
        except (KeyError, TypeError, ValueError) as error:
            details = f"its answer is not that of an exported model ({type(error).__name__}: {error})"
            raise self._target.failure("FAILED_PRECONDITION", details, asked) from error


def _load(protocol: str) -> types.ModuleType:
    """The protocol's module, which only it needs."""
    try:
        if protocol == "rest":
            from serving import rest

            return rest
        if protocol == "grpc":
            from serving import over_grpc

            return over_grpc
    except ImportError as error:
        raise ImportError(
            f"protocol {protocol} needs packages that are not installed ({error}); install them by "
            'pip install -e ".[serving]".'
        ) from error
    raise failures.ArgumentError(f"protocol is {protocol!r}; give {' or '.join(PROTOCOLS)}.")
