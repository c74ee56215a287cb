"""A web server on this machine that misbehaves as real ones do."""

import http.server
import os
import signal
import threading
import time
import urllib.parse

import pytest
from package_sandbox import Sandbox

DRIVE_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p><form id="download-form" action="/confirmed" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="a b">
<input type="hidden" name="confirm" value="t"></form></body></html>"""
QUOTA_PAGE = "<html><head><title>Google Drive - Quota exceeded</title></head><body>Too many users.</body></html>"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = urllib.parse.urlsplit(self.path).path.split("/")[1]
        self.server.requests.append((kind, self.headers.get("Range")))
        first = [name for name, _ in self.server.requests].count(kind) == 1
        match kind:
            case "missing":
                self.send_error(404)
            case "busy" if first:
                self.send_error(503)
            case "redirect":
                self.send_response(302)
                self.send_header("Location", "/file/x")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case "drive" | "drive-again" | "quota" | "page":
                pages = {"drive": DRIVE_PAGE, "quota": QUOTA_PAGE, "page": "<p>Log in, please."}
                pages["drive-again"] = DRIVE_PAGE.replace("/confirmed", "/drive-again")
                self._send(pages[kind].encode(), type_="text/html", ranges=False)
            case "confirmed" if "id=a+b&confirm=t" not in self.path:
                self.send_error(400)
            case "other":
                self._send(self.server.content[::-1])
            case "longer":
                self._send(self.server.content + b"!")
            case "cut" | "cut-without-range" | "stall" | "interrupt" if first:
                self._send(self.server.content, most=len(self.server.content) * 3 // 5, after=kind)
            case "cut-always":
                self._send(self.server.content, most=200_000)
            case _:
                self._send(self.server.content, ranges=kind != "cut-without-range")

    def _send(self, content, most=1 << 40, type_="application/octet-stream", ranges=True, after=""):
        start = int(self.headers["Range"][6:-1]) if ranges and "Range" in self.headers else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        self.end_headers()
        end = min(start + most, len(content))
        self.wfile.write(content[start:end])
        if end == len(content):
            return
        self.wfile.flush()
        self.close_connection = True
        if after == "interrupt":
            while not self.server.has_arrived():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        if after in ("stall", "interrupt"):
            self.server.stop.wait(10)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /KIND/anything; `requests` lists kinds and ranges.

    `/interrupt` sends SIGINT to this process once `has_arrived()` says that the client has written something.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.requests, self.stop = b"", [], threading.Event()
        self.has_arrived = lambda: True

    def handle_error(self, request, client_address):
        pass  # the client has gone

    def url(self, kind):
        return f"http://127.0.0.1:{self.server_port}/{kind}/model.pth.tar"


@pytest.fixture
def server(monkeypatch):
    from fomm_tf.fetch import http as downloads

    monkeypatch.setattr(downloads, "BACK_OFF", 0.001)
    monkeypatch.setattr(downloads, "STALL_TIMEOUT", 0.2)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    return Sandbox(tmp_path, monkeypatch)
