"""Both protocols on their ports until a signal comes; then what has been taken is answered."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from fomm_tf import errors
from serving.local import rest, rpc, status
from serving.local.core import Core

_LOOK_SECONDS = 1.0


class _RestServer(uvicorn.Server):
    """Leaves signals alone: two protocols are to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(host: str, port: int) -> socket.socket:
    """Takes a port without listening yet: who comes before the model is loaded is refused, not kept waiting."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError:
        listener.close()
        raise
    return listener


async def run(core: Core, host: str, grpc_port: int, rest_port: int, quiet: bool) -> None:
    """Loads the model, serves it, and returns after SIGINT or SIGTERM when all requests are answered.

    Args:
      core: what answers.
      host: the address to listen on.
      grpc_port, rest_port: 0 is any free port.
      quiet: say nothing.

    Raises:
      errors.UserError: if the model cannot be loaded or a port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        rpc_server, grpc_port = rpc.serve(core, host, grpc_port)
        listener = _bind(host, rest_port)
    except OSError as error:
        raise errors.UserError(
            f"a port of {host} is taken: {error}; give another --grpc-port or --rest-port."
        ) from None
    with listener:
        try:
            await core.versions.load_first()
        except status.Refused as error:
            raise errors.UserError(error.message) from None
        watching = asyncio.create_task(core.versions.watch(_LOOK_SECONDS))
        await rpc_server.start()
        # The task below has not run when the ports are announced; who connects by then waits for it.
        listener.listen()
        rest_server = _RestServer(
            uvicorn.Config(
                rest.application(core),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
            )
        )
        serving = asyncio.create_task(rest_server.serve(sockets=[listener]))
        if not quiet:
            name, rest_port = core.versions.name, listener.getsockname()[1]
            print(f"{name}: gRPC {host}:{grpc_port}, REST http://{host}:{rest_port}/v1/models/{name}", flush=True)
        await stop.wait()
        watching.cancel()
        rest_server.should_exit = True
        await asyncio.gather(rpc_server.stop(core.limits.seconds), serving)
        core.close()
