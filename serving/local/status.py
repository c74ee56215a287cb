"""How a request can end: gRPC's codes, which TF-Serving answers with in both protocols."""

from __future__ import annotations

import enum
import re

import tensorflow as tf


class Code(enum.IntEnum):
    """gRPC's codes, as far as they occur here."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


# As TF-Serving's HTTP server translates them; every other code is a 500.
_HTTP = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}

# TensorFlow's own words are followed by the place in the graph and preceded by what is known of the trace.
_ASSERTION = re.compile(r"assertion failed: \[(.*?)\]\s*(?:\[\[|\[Op:|$)", re.DOTALL)
_TRACE = re.compile(r"Graph execution error:\s*")
_PLACE = re.compile(r"\s*\[(?:\[|Op:).*", re.DOTALL)
_NODE = re.compile(r"\{\{node ([^}]*)\}\}")


class Refused(Exception):
    """A request's end without an answer.

    Args:
      code: why.
      message: what, got, cure; names the input where one is at fault.
      http: its HTTP status, where that says more than the code.
    """

    def __init__(self, code: Code, message: str, http: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.http = http or _HTTP.get(code, 500)


def of_tensorflow(error: tf.errors.OpError) -> Refused:
    """What TensorFlow raised, as the client is told it: an assertion's own words, else the operation and its words."""
    code = Code(error.error_code) if error.error_code in list(Code) else Code.INTERNAL
    if asserted := _ASSERTION.search(error.message):
        return Refused(code, asserted[1])
    node = _NODE.search(error.message)
    words = _PLACE.sub("", _TRACE.sub("", error.message))
    return Refused(code, f"{node[1].rpartition('/')[2]}: {words}" if node else words)
