"""Servers for the tests: the embedded one, and TF-Serving where it is at hand.

TF-Serving is at hand where `tensorflow_model_server` is on the PATH, or where `TF_SERVING=HOST:PORT` names the gRPC
port of one that serves the bundled model as `fomm` with the label `stable` (REST on the port after it).
"""

import os
import shutil

import pytest
import servers

_REMOTE, _BINARY = os.environ.get("TF_SERVING"), shutil.which("tensorflow_model_server")
_KINDS = ["embedded"] + ["tf_serving"] * bool(_REMOTE or _BINARY)


def pytest_report_header():
    if len(_KINDS) == 1:
        return "serving: no tensorflow_model_server on the PATH and no TF_SERVING; against the embedded server alone"
    return f"serving: against the embedded server and {_REMOTE or _BINARY}"


@pytest.fixture(scope="session")
def model(bundled_files):
    """Folder of versions of the bundled model."""
    return bundled_files("saved_model")[0]


@pytest.fixture(scope="session")
def cold(model, tmp_path_factory):
    """The same without its warm-up requests, which take most of a server's start."""
    folder = tmp_path_factory.mktemp("cold") / "fomm"
    shutil.copytree(model / "1", folder / "1", ignore=shutil.ignore_patterns("assets.extra"))
    return folder


@pytest.fixture(scope="session")
def embedded(model):
    """The embedded server with the bundled model."""
    with servers.start_embedded(model, "--label", "stable=1", "--max-mib", 8, "--max-frames", 32) as server:
        yield server


@pytest.fixture(scope="session", params=_KINDS)
def server(request, model, tmp_path_factory):
    """Each server at hand."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
    elif _REMOTE:
        host, port = _REMOTE.rsplit(":", 1)
        yield servers.Server(_REMOTE, f"{host}:{int(port) + 1}")
    else:
        with servers.start_tf_serving(_BINARY, model, tmp_path_factory.mktemp("tf_serving")) as started:
            yield started
