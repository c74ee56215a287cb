"""How a request fails, and when it is sent again."""

from __future__ import annotations

import random
import time

UNAVAILABLE = "UNAVAILABLE"

# Seconds before the second try, doubled with each further one.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class ArgumentError(ValueError):
    """What a server would refuse, or could not be sent: nothing was."""


class ServerError(Exception):
    """A server gave no answer.

    Attributes:
      code: gRPC's name of the reason, such as `NOT_FOUND`, whatever the protocol.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Retries:
    """When one request is sent again: while the server is unavailable, at growing intervals that differ by chance.

    Args:
      patience: seconds from the first failure to the last try.
    """

    def __init__(self, patience: float) -> None:
        self._patience, self._pause, self._end = patience, _FIRST_PAUSE, None

    def after(self, error: ServerError) -> float:
        """Seconds to wait before the next try.

        Raises:
          ServerError: the given one, if there is no next try.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._patience
        if error.code != UNAVAILABLE or now >= self._end:
            raise error
        pause = random.uniform(0.5, 1.0) * self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return min(pause, self._end - now)
