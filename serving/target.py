"""The server and model that a client talks to: errors, retries with exponential backoff, and message sizes."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import time
from collections.abc import Callable, Mapping

import numpy as np

UNAVAILABLE, BUSY = "UNAVAILABLE", "RESOURCE_EXHAUSTED"
_FIRST_DELAY, _MAX_DELAY = 0.1, 2.0
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]]+):[0-9]{1,5}")
# Bytes for the names, shapes and brackets of a message.
_ENVELOPE = 4096

_ADVICE = {
    "CANCELLED": "send it again",
    "DEADLINE_EXCEEDED": "use a longer `timeout` or a smaller `batch_size`",
    "FAILED_PRECONDITION": "serve a model that was exported by fomm export",
    "INVALID_ARGUMENT": "send what the model's signature expects",
    "UNAUTHENTICATED": "give the server's `token_file`",
    "NOT_FOUND": "name a `model`, `version` or `label` that is served",
    "RESOURCE_EXHAUSTED": "send smaller requests, or retry later",
}


class ArgumentError(ValueError):
    """An argument that the server would reject, or that cannot be sent. Nothing was sent."""


class ServerError(Exception):
    """A request failed.

    Attributes:
      code: name of the gRPC status code, such as `NOT_FOUND`, for both protocols.
      retry_after: seconds after which the server asked to try again; None if it did not.
      is_permanent: whether the same request cannot succeed, as one that is too large.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.code, self.retry_after, self.is_permanent = code, retry_after, is_permanent


class Backoff:
    """Exponential backoff with jitter for the retries of one request, while the server is unavailable or busy.

    A clip needs no more: its frames are sent in requests that are retried one by one.

    Args:
      retry_timeout: seconds from the first failure to the last retry.
    """

    def __init__(self, retry_timeout: float) -> None:
        self._retry_timeout, self._delay, self._end = retry_timeout, _FIRST_DELAY, None

    def next_delay(self, error: ServerError) -> float:
        """Returns the seconds to wait before the next retry.

        Raises:
          ServerError: `error` itself, if the request must not be retried.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._retry_timeout
        if error.code not in (UNAVAILABLE, BUSY) or error.is_permanent or now >= self._end:
            raise error
        delay = random.uniform(0.5, 1.0) * self._delay
        self._delay = min(2 * self._delay, _MAX_DELAY)
        return min(max(delay, error.retry_after or 0.0), self._end - now)


@dataclasses.dataclass(frozen=True)
class Target:
    """A model on a server."""

    server: str  # `HOST:PORT`
    model: str  # its name
    version: int | None  # its number, or None
    label: str | None  # a version label, or None; without both the server uses its highest version
    timeout: float  # deadline of a request, in seconds
    retry_timeout: float  # seconds for which a request is retried while the server is unavailable or busy
    max_message_bytes: int  # limit of a request, and of an answer as far as its size is known in advance
    token: str | None = None  # what the server asks for
    ca_file: str | None = None  # PEM file of the authority that signed the server's certificate; without it, no TLS

    def __post_init__(self) -> None:
        if not _SERVER.fullmatch(self.server):
            raise ArgumentError(f"`server`: got {self.server!r}; expected HOST:PORT, such as localhost:8501.")
        if not self.model:
            raise ArgumentError("`model`: got an empty name; expected the name it is served under, e.g. fomm.")
        if self.version is not None and self.label is not None:
            raise ArgumentError(
                f"`version` and `label`: got {self.version} and {self.label!r}; expected at most one of them."
            )
        if self.version is not None and self.version < 0:
            raise ArgumentError(f"`version`: got {self.version}; expected at least 0.")
        if self.ca_file is not None and not os.path.isfile(self.ca_file):
            raise ArgumentError(f"`ca_file`: {self.ca_file} does not exist; expected a certificate, a PEM file.")
        if not self.timeout > 0:
            raise ArgumentError(f"`timeout`: got {self.timeout:g} s; expected more than 0.")
        if not self.retry_timeout >= 0:
            raise ArgumentError(f"`retry_timeout`: got {self.retry_timeout:g} s; expected at least 0.")

    def failure(
        self,
        code: str,
        details: str,
        request_name: str,
        retry_after: float | None = None,
        is_permanent: bool = False,
    ) -> ServerError:
        """Returns the exception for a failed request.

        Args:
          code: name of the gRPC status code.
          details: message of the server or the network.
          request_name: a signature's name, or `metadata`.
          retry_after: see `ServerError`.
          is_permanent: see `ServerError`.
        """
        details = " ".join(details.split()).rstrip(".") or "no details"
        model = f"model {self.model}"
        model += "" if self.version is None else f" version {self.version}"
        model += "" if self.label is None else f" label {self.label}"
        if code == UNAVAILABLE:
            return ServerError(
                code,
                f"Server {self.server} is unavailable ({request_name} of {model}: {details}); start one, e.g. with "
                f"fomm serve --model DIR, check that the port is that of `protocol`, or use a longer "
                f"`retry_timeout` than {self.retry_timeout:g} s.",
                retry_after,
            )
        advice = _ADVICE.get(code, "see the server's log")
        return ServerError(
            code,
            f"Server {self.server} failed {request_name} of {model}: {code}: {details}; {advice}.",
            retry_after,
            is_permanent,
        )

    def check_size(self, size: int, request_name: str) -> None:
        """Checks the size of a serialized request.

        Raises:
          ArgumentError: if it has more bytes than `max_message_bytes`.
        """
        if size > self.max_message_bytes:
            raise ArgumentError(
                f"request to {request_name}: got {size:,} bytes; expected at most `max_message_bytes` "
                f"{self.max_message_bytes:,}; raise it up to the server's limit, send JPEG, or use `protocol` grpc."
            )


@dataclasses.dataclass(frozen=True)
class MessageBudget:
    """The size limit of one message."""

    size: Callable[[np.ndarray], int]  # returns an upper bound of a tensor's bytes in the protocol
    limit: int  # bytes of a message

    def remaining(self, tensors: Mapping[str, np.ndarray]) -> int:
        """Returns the bytes that remain for further tensors in a message with these."""
        return self.limit - _ENVELOPE - sum(map(self.size, tensors.values()))
