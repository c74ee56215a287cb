"""Both protocols on their ports until SIGINT or SIGTERM; admitted requests are answered before the exit."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

import grpc
from starlette.middleware import cors

from fomm_tf import errors
from fomm_tf.serving.local import animate_routes, grpc_service, jobs, rest_app, rest_server, status
from fomm_tf.serving.local.core import ServerCore

_POLL_SECONDS = 1.0


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    grpc_port: int  # 0 is any free port
    rest: socket.socket  # from `listen.bind`
    certificate: tuple[str, str] | None = None  # PEM files of certificate and key, for TLS
    cors: tuple[str, ...] = ()  # origins whose pages may call the REST API


class Animation(NamedTuple):
    """How whole files are animated."""

    animate: jobs.Animate
    max_frames: int  # of one animation
    max_upload_bytes: int


async def run(core: ServerCore, address: Address, quiet: bool, animation: Animation | None = None) -> None:
    """Loads the model and serves it until SIGINT or SIGTERM; returns when all admitted requests are answered.

    Args:
      core: answers the requests.
      address: where to listen; its socket is closed at the end.
      quiet: print nothing.
      animation: for `:animate`; None leaves that out.

    Raises:
      errors.UserError: if the model cannot be loaded or the gRPC port is taken meanwhile.
    """
    stop, name = asyncio.Event(), core.versions.name
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with address.rest:
        if not quiet:
            print(f"{name}: loading", file=sys.stderr, flush=True)
        loading, stopped = asyncio.ensure_future(core.versions.load_initial()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            raise KeyboardInterrupt
        try:
            loading.result()
        except status.RpcError as error:
            raise errors.UserError(error.message) from None
        announce = (lambda line: None) if quiet else (lambda line: print(f"{name}: {line}", flush=True))
        await serve(core, address, stop, announce, animation)


async def serve(
    core: ServerCore,
    address: Address,
    stop: asyncio.Event,
    announce: Callable[[str], None],
    animation: Animation | None = None,
) -> None:
    """Serves a loaded model until `stop` is set; see `run`.

    Args:
      core: answers the requests.
      address: where to listen.
      stop: set to end.
      announce: called with a line that names the ports, when both can be connected to.
      animation: see `run`.
    """
    grpc_server, listener = grpc_service.GrpcServer(core), address.rest
    credentials = None
    if address.certificate:
        cert, key = (pathlib.Path(file).read_bytes() for file in address.certificate)
        credentials = grpc.ssl_server_credentials([(key, cert)])
    try:
        grpc_port = await grpc_server.start(address.host, address.grpc_port, credentials)
    except OSError as error:
        raise errors.UserError(f"cannot listen on {address.host}: {error}; choose another `grpc_port`.") from None
    watcher = asyncio.create_task(core.versions.watch(_POLL_SECONDS))
    # The REST task below has not run when the ports are announced; early connections wait for it.
    listener.listen(core.limits.max_connections)
    animations = animation and jobs.Jobs(core, animation.animate, animation.max_frames)
    routes = animate_routes.AnimateRoutes(core, animations, animation.max_upload_bytes).routes() if animation else ()
    app = rest_app.RestApp(core, routes)
    if address.cors:
        app = cors.CORSMiddleware(app, allow_origins=address.cors, allow_methods=["*"], allow_headers=["*"])
    rest = rest_server.RestServer(app, core, address.certificate)
    rest_task = asyncio.create_task(rest.serve(sockets=[listener]))
    scheme, rest_port = "https" if address.certificate else "http", listener.getsockname()[1]
    host = f"[{address.host}]" if ":" in address.host else address.host
    announce(f"gRPC {host}:{grpc_port}, REST {scheme}://{host}:{rest_port}/v1/models/{core.versions.name}")
    await stop.wait()
    core.stopping.set()
    watcher.cancel()
    rest.should_exit = True
    ends = [grpc_server.stop(core.limits.timeout), rest_task]
    await asyncio.gather(*ends, *([animations.close()] if animations else []))
    core.close()
