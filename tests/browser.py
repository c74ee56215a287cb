"""A headless Chromium for tests that are marked `network`: from the npm registry, driven by the DevTools protocol.

`open_page` gives a page in a browser of its own. The browser speaks through two pipes, so that nothing but Python's own
modules is needed, and no port.
"""

import base64
import contextlib
import io
import json
import os
import pathlib
import platform
import select
import subprocess
import sys
import tarfile
import time
from unittest import mock

import brotli
import pytest

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
WAIT = 20  # seconds, for anything
# Chromium reads its commands from descriptor 3 and answers on 4.
_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, pipe in zip((3, 4), pipes):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
_FONTS = "<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>"


def unpack(folder):
    """Fetches the browser and unpacks it, with its libraries and a font; skips the test where that cannot be."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip(f"The browser is for Linux on x86-64, not {platform.system()} on {platform.machine()}.")
    with mock.patch.dict(fetch.SETS, {SET: CHROMIUM}):
        try:
            files = fetch.fetch(SET, report=lambda line: None)
        except fetch.UnavailableError as error:
            pytest.skip(str(error))
    for name in ("al2023.tar", "fonts.tar"):
        unpacked = io.BytesIO(brotli.decompress(files[f"{name}.br"].read_bytes()))
        with tarfile.open(fileobj=unpacked) as archive:
            archive.extractall(folder, filter="data")
    (folder / "fonts.conf").write_text(_FONTS.format(folder=folder))
    program = folder / "chromium"
    program.write_bytes(brotli.decompress(files["chromium.br"].read_bytes()))
    program.chmod(0o755)
    return program


class Page:
    """One page; `requests` are the addresses that it asked for, `complaints` its errors and the console's."""

    def __init__(self, process, reading, writing):
        self._process, self._reading, self._writing = process, reading, writing
        self._count, self._rest, self._session = 0, b"", None
        self.requests, self.complaints = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Sends a command and gives its result; what happens meanwhile is noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params"))

    def _receive(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], WAIT)
            more = os.read(self._reading, 1 << 16) if ready else b""
            assert more, f"the browser is silent, exit code {self._process.poll()}"
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, method, event):
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(event["entry"]["text"])

    def open(self, address):
        """Goes to an address, or loads it again, and waits until it is there."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, script):
        """What an expression is, as JSON holds it."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script):
        """Waits for an expression to become true, and gives it."""
        end = time.monotonic() + WAIT
        while not (value := self.ask(script)):
            assert time.monotonic() < end, f"{script} stays {value!r}"
            time.sleep(0.02)
        return value

    def click(self, selector):
        """A real click of the mouse on the middle of an element, which must be in sight."""
        place = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'});"
            "const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;"
            "return e.contains(document.elementFromPoint(x, y)) ? [x, y] : null; })()"
        )
        assert place, f"{selector} cannot be clicked on"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, key, **options):
        """A key down and up; see `Input.dispatchKeyEvent` for options of the first."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **options)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text):
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path, width=1280, height=800, dark=False):
        """What a window of that size shows."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        # Two frames after the last animation has ended, the screen is up to date.
        self.ask(
            "document.fonts.ready.then(() => Promise.allSettled(document.getAnimations().map(each => each.finished)))"
            ".then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))"
        )
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def resize(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def download_to(self, folder):
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))


@contextlib.contextmanager
def open_page(program, profile):
    """A page in a browser that keeps what it keeps in the folder `profile`."""
    folder = program.parent
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder)}
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage"]
    start = [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), str(program), *options]
    process = subprocess.Popen(
        [*start, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(theirs_in, theirs_out),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(process, ours_in, ours_out)
    finally:
        process.terminate()
        process.wait(WAIT)
        os.close(ours_in)
        os.close(ours_out)
