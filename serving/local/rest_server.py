"""HTTP connections: uvicorn's protocol with limits of connections and of time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http import h11_impl

from fomm_tf.serving.local import core as cores
from fomm_tf.serving.local import status

_KEEP_ALIVE = 5
_FULL = b'{"error": "the server has too many connections; retry later."}'
_FULL_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b" % (status.RETRY_AFTER, len(_FULL), _FULL)
)


class RestServer(uvicorn.Server):
    """Serves an ASGI application on a socket.

    Args:
      app: the application.
      core: with the limits.
      certificate: PEM files of the certificate and its key, for TLS.
    """

    def __init__(self, app: Callable, core: cores.ServerCore, certificate: tuple[str, str] | None = None) -> None:
        def protocol(*arguments: object, **options: object) -> _Protocol:
            return _Protocol(core.limits, *arguments, **options)

        cert, key = certificate or (None, None)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                log_config=None,
                log_level="critical",  # it would log each malformed request
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=int(core.limits.timeout) + 1,
                ssl_certfile=cert,
                ssl_keyfile=key,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does not handle signals: they stop both protocols."""
        yield


class _Protocol(h11_impl.H11Protocol):
    """Closes a connection that sends no header, or does not read its answer, in time.

    Args:
      limits: of connections and time.
      arguments, options: of uvicorn's protocol.
    """

    def __init__(self, limits: cores.Limits, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Refuses the connection if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            transport.write(_FULL_RESPONSE)
            transport.close()
        else:
            self._start_header_timer()

    def data_received(self, data: bytes) -> None:
        """Starts or stops the time for a header."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        waits_for_header = self.cycle is None or self.cycle.response_complete
        if not waits_for_header:
            self._header_timer = _stop(self._header_timer)
        elif self._header_timer is None and self.timeout_keep_alive_task is None:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        self._header_timer, self._write_timer = _stop(self._header_timer), _stop(self._write_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._write_timer = _stop(self._write_timer)

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self._limits.idle_timeout, self.transport.abort)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
