"""Serves the page until it is stopped; uploaded files and results live in a directory that ends with it."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import pathlib
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping

from fomm_tf import fetch, files
from fomm_tf.app import animate_job, jobs, limits, live, models

_PREFIX = "page-"
# Of a request that uploads no file: options, or a frame of a camera.
_CALL_BYTES = 2**20
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

Scope = MutableMapping[str, object]
Receive = Callable[[], Awaitable[MutableMapping]]
Send = Callable[[MutableMapping], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
      listener: from `fomm_tf.sockets.bind`.
      host: as it was given.
      auth: user and password; None for no authentication.
    """

    listener: socket.socket
    host: str
    auth: tuple[str, str] | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.listener.getsockname()[0].partition("%")[0]).is_loopback

    @property
    def url(self) -> str:
        """For a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.listener.getsockname()[1]}/"


@contextlib.contextmanager
def working_directory() -> Iterator[pathlib.Path]:
    """Yields a directory in the cache for all files of the page, and deletes it at the end.

    Those of servers that were killed are deleted at the start. Temporary files of the libraries go there too.
    """
    root = fetch.cache_folder() / "app"
    root.mkdir(parents=True, exist_ok=True)
    for leftover in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), files.lock(leftover / ".lock"):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    before = tempfile.tempdir, dict(os.environ)
    tempfile.tempdir = str(folder)
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    try:
        with files.lock(folder / ".lock"):
            yield folder
    finally:
        tempfile.tempdir = before[0]
        os.environ.clear()
        os.environ.update(before[1])
        shutil.rmtree(folder, ignore_errors=True)


class UploadGuard:
    """Refuses requests that are too large before they are read, and deletes the oldest files to make space for uploads.

    Args:
      app: the page.
      folder: of uploaded files and results.
      bounds: the limits.
    """

    def __init__(self, app: App, folder: pathlib.Path, bounds: limits.Limits) -> None:
        self._app, self._folder, self._limits = app, folder, bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            headers, is_upload = dict(scope["headers"]), scope["path"].endswith("/upload")
            length = headers.get(b"content-length", b"0").decode("latin-1")
            max_bytes = self._limits.upload_bytes if is_upload else _CALL_BYTES
            if b"transfer-encoding" in headers or not length.isdecimal():
                await _refuse(send, 411, "The length of the request is unknown.")
                return
            if int(length) > max_bytes:
                await _refuse(send, 413, f"The request is too large; expected at most {max_bytes:,} bytes.")
                return
            if is_upload:
                delete_oldest(self._folder, self._limits.disk_bytes - int(length))
        await self._app(scope, receive, send)


async def _refuse(send: Send, code: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def delete_oldest(folder: pathlib.Path, max_bytes: int) -> None:
    """Deletes the files of a directory that were changed first, until the others have at most `max_bytes`."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


@contextlib.contextmanager
def open_app(
    address: Address, pool: models.ModelPool, prepare: animate_job.Prepare, bounds: limits.Limits
) -> Iterator[App]:
    """Yields the page as an ASGI application; running jobs are stopped at the end, and all its files deleted.

    Args:
      address: where it will be served.
      pool: the models.
      prepare: animates a pair as `fomm animate` does.
      bounds: the limits.
    """
    with working_directory() as folder, jobs.warnings_as_notes():
        # Gradio reads the variables that `working_directory` sets when it is imported.
        import fastapi
        import gradio
        from starlette.middleware import trustedhost

        from fomm_tf.app import page
        from fomm_tf.app.site import Site

        uploads, work = folder / "uploads", folder / "jobs"
        for path in (uploads, work):
            path.mkdir()
        queue, sessions = jobs.JobQueue(work, bounds.waiting), live.LiveSessions(bounds.live_sessions)
        may_convert = address.is_loopback or address.auth is not None
        site = Site(pool, queue, sessions, prepare, bounds, may_convert, page.copy_examples(folder))
        without_docs = {"openapi_url": None, "docs_url": None, "redoc_url": None}
        app = fastapi.FastAPI(**without_docs)
        gradio.mount_gradio_app(
            app,
            page.build(site),
            path="/",
            app_kwargs=without_docs,
            auth=address.auth,
            show_error=True,
            max_file_size=bounds.upload_bytes,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            **page.look(),
        )
        app.add_middleware(UploadGuard, folder=uploads, bounds=bounds)
        if address.is_loopback and address.auth is None:
            # A page of another site cannot reach this one by a name that leads here.
            app.add_middleware(trustedhost.TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_NAMES, address.host])
        try:
            yield app
        finally:
            queue.close()


def run(address: Address, app: App, report: Callable[[str], object] = print) -> None:
    """Serves the page until SIGINT or SIGTERM, and closes the socket.

    Args:
      address: where.
      app: from `open_app`.
      report: receives a line when the page can be opened.
    """
    import uvicorn

    with address.listener:
        address.listener.listen()  # connections wait until uvicorn accepts them
        report(f"page: {address.url} (Ctrl-C ends it)")
        settings = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn after its shutdown
            uvicorn.Server(settings).run(sockets=[address.listener])
