"""Both protocols on their ports until SIGINT or SIGTERM; admitted requests are answered before the exit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from fomm_tf import errors
from fomm_tf.serving.local import grpc_service, rest_app, status
from fomm_tf.serving.local.core import ServerCore

_POLL_SECONDS = 1.0


class _RestServer(uvicorn.Server):
    """Does not handle signals: they stop both protocols."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(host: str, port: int) -> socket.socket:
    """Binds a port without listening: until the model is loaded, connections are refused rather than kept waiting."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


async def run(core: ServerCore, host: str, grpc_port: int, rest_port: int, quiet: bool) -> None:
    """Loads the model and serves it until SIGINT or SIGTERM; returns when all admitted requests are answered.

    Args:
      core: answers the requests.
      host: the address to listen on.
      grpc_port: 0 is any free port.
      rest_port: 0 is any free port.
      quiet: print nothing.

    Raises:
      errors.UserError: if the model cannot be loaded or a port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        grpc_server, grpc_port = grpc_service.create_server(core, host, grpc_port)
        listener = _bind(host, rest_port)
    except OSError as error:
        raise errors.UserError(
            f"cannot listen on {host}: {error}; choose another `grpc_port` or `rest_port`."
        ) from None
    with listener:
        try:
            await core.versions.load_initial()
        except status.RpcError as error:
            raise errors.UserError(error.message) from None
        watcher = asyncio.create_task(core.versions.watch(_POLL_SECONDS))
        await grpc_server.start()
        # The REST task below has not run when the ports are announced; early connections wait for it.
        listener.listen()
        rest_server = _RestServer(
            uvicorn.Config(
                rest_app.create_app(core),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
            )
        )
        rest_task = asyncio.create_task(rest_server.serve(sockets=[listener]))
        if not quiet:
            name, rest_port = core.versions.name, listener.getsockname()[1]
            print(f"{name}: gRPC {host}:{grpc_port}, REST http://{host}:{rest_port}/v1/models/{name}", flush=True)
        await stop.wait()
        watcher.cancel()
        rest_server.should_exit = True
        await asyncio.gather(grpc_server.stop(core.limits.timeout), rest_task)
        core.close()
