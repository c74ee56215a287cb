"""Downloads from a server that misbehaves: each ends with the file, or with one line and no file."""

import hashlib
import itertools
import pathlib
import resource
import shutil
import signal
from collections import namedtuple

import pytest
import requests

from fomm_tf import errors, fetch
from fomm_tf.fetch import catalog, http

CONTENT = bytes(range(256)) * 2000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(autouse=True)
def content(server):
    server.content = CONTENT


def addresses(server, *kinds, digest=DIGEST, size=None):
    return [catalog.Address(server.url(kind), digest, size) for kind in kinds]


def download(where, folder, lines=None, **options):
    report = (lambda line: None) if lines is None else lines.append
    return http.download(where, folder / "m.pth.tar", pathlib.Path.read_bytes, report=report, **options)


def failure(where, folder, kind=fetch.UnavailableError, **options):
    """The message of a download that fails and leaves no file under the final name."""
    with pytest.raises(errors.UserError) as caught:
        download(where, folder, **options)
    assert type(caught.value) is kind, caught.value
    assert "\n" not in str(caught.value)
    assert not (folder / "m.pth.tar").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "ranges"),
    [
        ("file", [None]),
        ("redirect", [None, None]),
        ("busy", [None, None]),
        ("drive", [None, None]),
        ("cut", [None, "resumed"]),
        ("cut-without-range", [None, "resumed"]),
        ("stall", [None, "resumed"]),
        ("cut-always", [None, "resumed", "resumed"]),
    ],
)
@pytest.mark.parametrize("digest", [DIGEST, None], ids=["digest", "no-digest"])
def test_download_survives(server, tmp_path, kind, ranges, digest):
    content, source, sha256 = download(addresses(server, kind, digest=digest), tmp_path)
    assert (content, source, f"sha256:{sha256}") == (CONTENT, server.url(kind), DIGEST)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pth.tar"]
    assert [bytes_ and "resumed" for _, bytes_ in server.requests[: len(ranges)]] == ranges


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "HTTP status 404"),
        ("quota", 'it is the web page "Google Drive - Quota exceeded", not the checkpoint'),
        ("page", "web page"),
        ("other", f"expected {DIGEST[7:]}: it is another file"),
        ("longer", "it is another file"),
    ],
)
def test_download_tries_next_address(server, tmp_path, kind, words):
    lines = []
    content, source, _ = download(addresses(server, kind, "file", size=len(CONTENT)), tmp_path, lines)
    assert (content, source) == (CONTENT, server.url("file"))
    assert any(words in line for line in lines)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "127.0.0.1: HTTP status 404"),
        ("page", "127.0.0.1: it is a web page, not the checkpoint"),
        (
            "drive-again",
            "127.0.0.1: it is Google Drive's page \"can't scan this file for viruses\", not the checkpoint",
        ),
        ("other", "127.0.0.1: its sha256 is "),
    ],
)
def test_download_reports_each_address(server, tmp_path, kind, words):
    message = failure(addresses(server, kind, "quota"), tmp_path)
    assert message.startswith(f"m.pth.tar cannot be downloaded: {words}")
    assert message.count("127.0.0.1: ") == 2


def test_download_gives_up_on_dead_server(server, tmp_path):
    dead = [catalog.Address("http://127.0.0.1:9/m", DIGEST)]
    assert "Connection refused, 2 times in a row" in failure(dead, tmp_path)
    assert "it is not a valid address" in failure([catalog.Address("htp://x/m", DIGEST)], tmp_path)


def test_download_resumes_partial_file_of_another_address(server, tmp_path):
    (tmp_path / "m.pth.tar.part").write_bytes(CONTENT[:1000])
    assert download(addresses(server, "file"), tmp_path)[0] == CONTENT
    assert server.requests == [("file", "bytes=1000-")]


def test_download_keeps_partial_file_despite_web_pages(server, tmp_path):
    (tmp_path / "m.pth.tar.part").write_bytes(CONTENT[:1000])
    assert download(addresses(server, "quota", "missing", "file"), tmp_path)[0] == CONTENT
    assert server.requests[-1] == ("file", "bytes=1000-")


@pytest.mark.parametrize("name", ["m.pth.tar", "m.pth.tar.part"])
@pytest.mark.parametrize("digest", [DIGEST, None])
def test_download_takes_complete_file_of_earlier_process(server, tmp_path, name, digest):
    (tmp_path / name).write_bytes(CONTENT)
    assert download(addresses(server, "file", digest=digest), tmp_path)[0] == CONTENT
    assert server.requests == [("file", f"bytes={len(CONTENT)}-")]


def test_download_restarts_after_partial_file_that_is_too_long(server, tmp_path):
    (tmp_path / "m.pth.tar.part").write_bytes(CONTENT + b"!")
    assert download(addresses(server, "file"), tmp_path)[0] == CONTENT
    assert server.requests[1] == ("file", None)


def test_download_replaces_partial_file_of_other_content(server, tmp_path):
    (tmp_path / "m.pth.tar.part").write_bytes(b"x" * 1000)
    assert download(addresses(server, "file"), tmp_path)[0] == CONTENT
    assert server.requests == [("file", "bytes=1000-"), ("file", None)]


def test_download_tries_next_address_if_file_cannot_be_read(server, tmp_path):
    def read(path):
        raise errors.UserError("it is no model.")

    with pytest.raises(fetch.UnavailableError, match=r"127.0.0.1: it is no model; 127.0.0.1: it is no model$"):
        http.download(addresses(server, "file", "busy"), tmp_path / "m", read, report=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_download_continues_after_interrupt(server, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job of a shell
    partial = tmp_path / "m.pth.tar.part"
    server.has_arrived = lambda: partial.exists() and partial.stat().st_size > 0
    try:
        with pytest.raises(KeyboardInterrupt):
            download(addresses(server, "interrupt"), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    assert download(addresses(server, "interrupt"), tmp_path)[0] == CONTENT
    assert server.requests[1][1].startswith("bytes=")


def test_download_asks_for_disk_space_first(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1_500_000))
    message = failure(addresses(server, "file", "file"), tmp_path, kind=errors.UserError, reserve=1_000_000)
    assert "No space left" in message
    assert "free 2 MB" in message
    assert len(server.requests) == 1


def test_download_reports_disk_that_fills_up(server, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        message = failure(addresses(server, "file", "file"), tmp_path, kind=errors.UserError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "No space left" in message
    assert len(server.requests) == 1


def test_download_is_refused_offline(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_OFFLINE", "1")
    with pytest.raises(fetch.UnavailableError, match="FOMM_OFFLINE"):
        download(addresses(server, "file"), tmp_path)
    assert not server.requests


def test_download_takes_complete_file_of_known_size_without_a_request(server, tmp_path):
    (tmp_path / "m.pth.tar.part").write_bytes(CONTENT)
    assert download(addresses(server, "file", size=len(CONTENT)), tmp_path)[0] == CONTENT
    assert server.requests == []


def test_download_resumes_where_the_client_does_not_check_the_length(server, tmp_path, monkeypatch):
    """As urllib3 before version 2: the connection closes early, and it ends without an error."""
    read, calls = requests.Response.iter_content, []

    def read_first_chunk(response, size):
        calls.append(size)
        return itertools.islice(read(response, size), 1 if len(calls) == 1 else None)

    monkeypatch.setattr(requests.Response, "iter_content", read_first_chunk)
    monkeypatch.setattr(http, "_CHUNK", 1000)
    assert download(addresses(server, "file"), tmp_path)[0] == CONTENT
    assert server.requests == [("file", None), ("file", "bytes=1000-")]
