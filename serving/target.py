"""Whom a client asks, and what one message may hold."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from serving import failures

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]]+):[0-9]{1,5}")
# Names, shapes and brackets of a message.
_ENVELOPE = 4096

_CURES = {
    "CANCELLED": "send it again",
    "DEADLINE_EXCEEDED": "give a longer timeout or a smaller batch",
    "FAILED_PRECONDITION": "give the server a model that was exported by python -m export",
    "INVALID_ARGUMENT": "give what the model's signature takes",
    "NOT_FOUND": "name a model, a version or a label that it serves",
    "RESOURCE_EXHAUSTED": "send less at once, or later",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A model behind a server.

    Attributes:
      server: `HOST:PORT`.
      model: its name.
      version: its number, or None.
      label: a version's label, or None; with neither the server takes its highest version.
      timeout: seconds that a request may take.
      patience: seconds for which a request is repeated while the server is unavailable.
      max_message_bytes: of a request, and of an answer as far as it can be told beforehand.
    """

    server: str
    model: str
    version: int | None
    label: str | None
    timeout: float
    patience: float
    max_message_bytes: int

    def __post_init__(self) -> None:
        if not _SERVER.fullmatch(self.server):
            raise failures.ArgumentError(f"server is {self.server!r}; give HOST:PORT, such as localhost:8501.")
        if not self.model:
            raise failures.ArgumentError("model has no name; give the one that it is served by, such as fomm.")
        if self.version is not None and self.label is not None:
            raise failures.ArgumentError(f"both version {self.version} and label {self.label!r} are named; give one.")
        if self.version is not None and self.version < 0:
            raise failures.ArgumentError(f"version is {self.version}; give 0 or more.")
        if not self.timeout > 0 or not self.patience >= 0:
            raise failures.ArgumentError(
                f"timeout is {self.timeout:g} s and patience {self.patience:g} s; give more than 0, and 0 or more."
            )

    def failure(self, code: str, details: str, asked: str) -> failures.ServerError:
        """What is raised when there is no answer.

        Args:
          code: gRPC's name of it.
          details: what the server or the network said.
          asked: a signature's name, or `metadata`.
        """
        details = " ".join(details.split()).rstrip(".") or "no details"
        which = f"model {self.model}"
        which += "" if self.version is None else f" version {self.version}"
        which += "" if self.label is None else f" label {self.label}"
        if code == failures.UNAVAILABLE:
            return failures.ServerError(
                code,
                f"No server answers at {self.server} ({asked} of {which}: {details}); start one there, as by python -m "
                f"serving local --model DIR, name the port of the right protocol, or wait longer than "
                f"{self.patience:g} s.",
            )
        cure = _CURES.get(code, "see the server's log")
        return failures.ServerError(code, f"{self.server} refuses {asked} of {which}: {code}: {details}; {cure}.")

    def check_size(self, size: int, asked: str) -> None:
        """Refuses a request that is too large.

        Raises:
          failures.ArgumentError: if it has more bytes than `max_message_bytes`.
        """
        if size > self.max_message_bytes:
            raise failures.ArgumentError(
                f"a request to {asked} has {size:,} bytes, more than max_message_bytes {self.max_message_bytes:,}; "
                "raise that, up to what the server takes, or send less by JPEG or by protocol grpc."
            )


@dataclasses.dataclass(frozen=True)
class Room:
    """What one message may hold.

    Attributes:
      size: bytes of a tensor in the protocol, at most.
      limit: bytes of a message.
    """

    size: Callable[[np.ndarray], int]
    limit: int

    def beside(self, tensors: Mapping[str, np.ndarray]) -> int:
        """Bytes that are left beside these."""
        return self.limit - _ENVELOPE - sum(map(self.size, tensors.values()))
