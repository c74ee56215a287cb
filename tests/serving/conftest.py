"""Servers for the tests: the fake one, the embedded one, and TF-Serving where it is available.

TF-Serving is available where `tensorflow_model_server` is on the PATH, or where `TF_SERVING=HOST:PORT` names the gRPC
port of one that serves `drawn_heads.MODEL` as `fomm` with the label `stable` (REST on the next port).
"""

import os
import shutil

import drawn_heads
import fake_server
import pytest
import servers

_REMOTE, _BINARY = os.environ.get("TF_SERVING"), shutil.which("tensorflow_model_server")
_KINDS = ["embedded"] + ["tf_serving"] * bool(_REMOTE or _BINARY)


def pytest_report_header():
    if len(_KINDS) == 1:
        return "serving: embedded server only (no tensorflow_model_server on the PATH, no TF_SERVING)"
    return f"serving: embedded server and {_REMOTE or _BINARY}"


@pytest.fixture(scope="session")
def _running_fake():
    with fake_server.serve() as server:
        yield server


@pytest.fixture
def fake(_running_fake):
    """The fake server, without requests and faults."""
    _running_fake.reset()
    return _running_fake


@pytest.fixture
def stoppable_fake():
    """A fake server of its own for a test that stops it."""
    with fake_server.serve() as server:
        yield server


@pytest.fixture(scope="session")
def model(export_once):
    """The directory of versions of a model for frames of 128x128."""
    return export_once("puppets-saved_model", "--run", drawn_heads.MODEL, "--to", "saved_model")[0]


@pytest.fixture(scope="session")
def cold(model, tmp_path_factory):
    """The same without warm-up requests, which take most of a server's start."""
    directory = tmp_path_factory.mktemp("cold") / "fomm"
    shutil.copytree(model / "1", directory / "1", ignore=shutil.ignore_patterns("assets.extra"))
    return directory


@pytest.fixture(scope="session")
def embedded(cold):
    """The embedded server with `drawn_heads.MODEL`."""
    with servers.start_embedded(cold, "--label", "stable=1", "--max-mib", 8, "--max-frames", 32) as server:
        yield server


@pytest.fixture(scope="session", params=_KINDS)
def server(request, model, tmp_path_factory):
    """Each available server."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
    elif _REMOTE:
        host, port = _REMOTE.rsplit(":", 1)
        yield servers.Server(_REMOTE, f"{host}:{int(port) + 1}")
    else:
        with servers.start_tf_serving(_BINARY, model, tmp_path_factory.mktemp("tf_serving")) as started:
            yield started
