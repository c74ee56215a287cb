"""The client's exceptions, and its retries with exponential backoff."""

from __future__ import annotations

import random
import time

UNAVAILABLE = "UNAVAILABLE"

_FIRST_DELAY, _MAX_DELAY = 0.1, 2.0


class ArgumentError(ValueError):
    """An argument that the server would reject, or that cannot be sent. Nothing was sent."""


class ServerError(Exception):
    """A request failed.

    Attributes:
      code: name of the gRPC status code, such as `NOT_FOUND`, for both protocols.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Backoff:
    """Exponential backoff with jitter for the retries of one request, while the server is unavailable.

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
        if error.code != UNAVAILABLE or now >= self._end:
            raise error
        delay = random.uniform(0.5, 1.0) * self._delay
        self._delay = min(2 * self._delay, _MAX_DELAY)
        return min(delay, self._end - now)
