"""Failed requests: gRPC status codes, which TF-Serving uses in both protocols."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    import tensorflow as tf

REQUEST_TIMEOUT, CONTENT_TOO_LARGE = 408, 413
# Seconds after which a client that was refused for lack of capacity may try again.
RETRY_AFTER = 1

# HTTP status, as in TF-Serving; 500 for all other codes.
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# TensorFlow's error codes are gRPC's.
_CODES = {code.value[0]: code for code in grpc.StatusCode}

# TensorFlow's message is followed by the position in the graph and preceded by a note on the trace.
_ASSERTION = re.compile(r"assertion failed: \[(.*?)\]\s*(?:\[\[|\[Op:|$)", re.DOTALL)
_TRACE = re.compile(r"Graph execution error:\s*")
_POSITION = re.compile(r"\s*\[(?:\[|Op:).*", re.DOTALL)
_NODE = re.compile(r"\{\{node ([^}]*)\}\}")


class RpcError(Exception):
    """A request fails with a status code.

    Args:
      code: the gRPC status code.
      message: what is wrong, and what is expected; names the input that is at fault.
      http_status: where it is more specific than the one for `code`.
    """

    def __init__(self, code: grpc.StatusCode, message: str, http_status: int | None = None) -> None:
        # Names from requests may hold what UTF-8 cannot represent.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        self.code, self.message = code, message
        self.http_status = http_status or _HTTP_STATUS.get(code, 500)

    def __reduce__(self) -> tuple:
        """Exceptions are pickled with the arguments of `Exception` only."""
        return RpcError, (self.code, self.message, self.http_status)


def invalid_argument(message: str) -> RpcError:
    """Returns an error with the code INVALID_ARGUMENT."""
    return RpcError(grpc.StatusCode.INVALID_ARGUMENT, message)


def require(condition: object, message: str) -> None:
    """Raises an error with the code INVALID_ARGUMENT if the condition is false."""
    if not condition:
        raise invalid_argument(message)


def cancelled() -> RpcError:
    """Returns an error with the code CANCELLED."""
    return RpcError(grpc.StatusCode.CANCELLED, "the client disconnected, or its deadline passed.")


def unavailable(reason: str) -> RpcError:
    """Returns an error with the code UNAVAILABLE: the server lacks capacity for now."""
    return RpcError(grpc.StatusCode.UNAVAILABLE, f"{reason}; retry later.")


def from_tensorflow(error: tf.errors.OpError) -> RpcError:
    """Converts TensorFlow's error: the message of an assertion, else the operation and its message."""
    code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
    if assertion := _ASSERTION.search(error.message):
        return RpcError(code, assertion[1])
    node = _NODE.search(error.message)
    message = _POSITION.sub("", _TRACE.sub("", error.message))
    return RpcError(code, f"{node[1].rpartition('/')[2]}: {message}" if node else message)
