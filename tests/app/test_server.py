"""Who may use the page, what it refuses, and its directory."""

import asyncio
import contextlib
import os
import pathlib
import tempfile

import httpx
import pages
import pytest

from fomm_tf import files, sockets
from fomm_tf.app import limits, server

SLOW = pytest.mark.slow


@SLOW
def test_page_asks_for_the_password(cache, engine, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(cache))
    with pages.serve(engine, auth=("anna", "secret")) as address, httpx.Client(base_url=address) as client:
        frame = {"session_hash": "x", "component_id": 1, "fn_name": "live_frame", "data": {}}
        for answer in (client.get("/config"), client.post("/gradio_api/component_server", json=frame)):
            assert answer.status_code == 401
        assert client.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
        assert client.post("/login", data={"username": "anna", "password": "secret"}).status_code == 200
        assert client.get("/config").status_code == 200


@SLOW
def test_page_refuses_other_host_names(address):
    """The page of another site could reach it by a name that leads to this machine."""
    assert httpx.get(address, headers={"host": "evil.example"}).status_code == 400


@SLOW
def test_page_serves_no_files_but_its_own(address):
    for path in ("/etc/passwd", __file__):
        assert httpx.get(f"{address}/gradio_api/file={path}").status_code == 403


@SLOW
def test_page_has_no_documentation_of_an_api(address):
    assert httpx.get(f"{address}/openapi.json").status_code == 404
    assert httpx.get(f"{address}/gradio_api/info").json()["named_endpoints"] == {}


@SLOW
def test_uploads_fetch_no_addresses(address):
    import gradio

    from fomm_tf.app import components

    for name in (f"{address}/config", "file:///etc/passwd", "data:image/png;base64,AAAA"):
        with pytest.raises(gradio.Error, match="addresses are not fetched"):
            asyncio.run(components.image_upload().async_move_resource_to_block_cache(name))


@SLOW
def test_page_leaves_no_files_beside_its_sources(address):
    """Gradio writes .pyi files for classes that extend its components."""
    assert not list(pathlib.Path(server.__file__).parent.glob("*.pyi"))


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/gradio_api/upload", {b"content-length": b"2147483648"}, 413),
        ("/gradio_api/upload", {b"transfer-encoding": b"chunked"}, 411),
        ("/gradio_api/upload", {b"content-length": b"2097152"}, 200),
        ("/gradio_api/component_server", {b"content-length": b"2097152"}, 413),
        ("/gradio_api/component_server", {b"content-length": b"1024"}, 200),
    ],
)
def test_upload_guard_refuses_before_it_reads(tmp_path, path, headers, code):
    """An upload of 2 GB is refused by its length; of one that is accepted, the page reads the rest."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        sent.append(message)

    guard = server.UploadGuard(app, tmp_path, limits.Limits())
    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers.items())}
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == code


def test_delete_oldest_keeps_the_newest_files_that_fit(tmp_path):
    for index, name in enumerate("abc"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (index, index))
    server.delete_oldest(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c"}


def test_working_directory_is_deleted_with_everything_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    before, variables = tempfile.gettempdir(), dict(os.environ)
    with server.working_directory() as folder:
        assert folder.is_relative_to(tmp_path) and tempfile.gettempdir() == str(folder)
        (folder / "file").touch()
    assert list((tmp_path / "app").iterdir()) == [] and tempfile.gettempdir() == before
    assert dict(os.environ) == variables


def test_working_directory_deletes_what_killed_servers_left(tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    for name in ("page-killed", "page-running"):
        (tmp_path / "app" / name).mkdir(parents=True)
        (tmp_path / "app" / name / ".lock").touch()
    with files.lock(tmp_path / "app" / "page-running" / ".lock"), server.working_directory():
        assert not (tmp_path / "app" / "page-killed").exists()
        assert (tmp_path / "app" / "page-running").exists()


@pytest.mark.parametrize(("host", "is_loopback"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_address_knows_who_can_reach_it(host, is_loopback):
    with contextlib.closing(sockets.bind(host, 0)) as listener:
        address = server.Address(listener, host)
        assert address.is_loopback == is_loopback
        assert address.url == f"http://{host}:{listener.getsockname()[1]}/"
