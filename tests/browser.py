"""A headless Chromium for tests that are marked `network`, driven by Playwright, and a server for static sites.

The browser is the system's, or else one that the npm registry has.
"""

import contextlib
import functools
import http.server
import io
import os
import pathlib
import platform
import shutil
import tarfile
import threading
from unittest import mock

import brotli
import pytest
from playwright import sync_api

from fomm_tf import fetch

SET = "browser"
CHROMIUM = fetch.Assets(
    packages=(
        fetch.Package(
            client="npm",
            name="@sparticuz/chromium",
            version="153.0.0",
            megabytes=70.0,
            members={
                "package/bin/chromium.br": "38e1e1649db20fa4ea644bf5987688ce81a4c9eb10e7eae8380b74fc0d699fea",
                "package/bin/al2023.tar.br": "a166168dd3e3e9d8743689fff543c5cadb3025c1816c6a154c90dc68a59edd0a",
                "package/bin/fonts.tar.br": "c1307fe5cd607092f0426742b4ab93755eec9a9b7752e47c56408c2bcf3e515b",
            },
        ),
    ),
    terms="The package is MIT-licensed, the Chromium in it BSD-licensed.",
)
_SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FONTS = "<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>"


@contextlib.contextmanager
def launch(folder, *arguments):
    """Yields a Playwright browser; skips the test if there is no Chromium.

    Args:
      folder: an empty directory to unpack it to.
      arguments: of the command line, besides the usual ones.
    """
    program = next(filter(None, map(shutil.which, _SYSTEM)), None)
    environment = {} if program else {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder)}
    program = program or _unpack(folder)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            env=os.environ | environment,
            args=["--disable-gpu", "--disable-dev-shm-usage", *arguments],
        )
        yield browser
        browser.close()


def open_page(chromium, url, seconds, requests, failures, **options):
    """Opens a page that may use the camera; adds addresses of its requests, and what fails in it, to the lists."""
    page = chromium.new_context(permissions=["camera"], **options).new_page()
    page.set_default_timeout(1000 * seconds)
    sync_api.expect.set_options(timeout=1000 * seconds)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page


@contextlib.contextmanager
def serve(folder, prefix="/", isolated=True):
    """Yields the address of a static site, sent with the headers of its file `_headers`.

    Args:
      folder: of the site.
      prefix: path of the site on the server, with a slash at both ends.
      isolated: send those too that make pages cross-origin isolated.
    """
    handler = functools.partial(_Handler, directory=folder, prefix=prefix, isolated=isolated)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{prefix}"
    server.shutdown()
    server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, directory, prefix, isolated):
        self._prefix, self._isolated = prefix, isolated
        super().__init__(*arguments, directory=directory)

    def translate_path(self, path):
        return super().translate_path(path[len(self._prefix) - 1 :] if path.startswith(self._prefix) else "/missing")

    def end_headers(self):
        lines = (pathlib.Path(self.directory) / "_headers").read_text().splitlines()[1:]
        for name, value in (line.strip().split(": ", 1) for line in lines):
            if self._isolated or not name.startswith("Cross-Origin"):
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


def _unpack(folder):
    """Fetches Chromium and unpacks it with its libraries and a font; returns the executable."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip(f"no Chromium is installed, and none can be fetched for {platform.system()} {platform.machine()}")
    with mock.patch.dict(fetch.SETS, {SET: CHROMIUM}):
        try:
            files = fetch.fetch(SET, report=lambda line: None)
        except fetch.UnavailableError as error:
            pytest.skip(f"no Chromium is installed: {error}")
    for name in ("al2023.tar", "fonts.tar"):
        unpacked = io.BytesIO(brotli.decompress(files[f"{name}.br"].read_bytes()))
        with tarfile.open(fileobj=unpacked) as archive:
            archive.extractall(folder, filter="data")
    (folder / "fonts.conf").write_text(_FONTS.format(folder=folder))
    program = folder / "chromium"
    program.write_bytes(brotli.decompress(files["chromium.br"].read_bytes()))
    program.chmod(0o755)
    return program
