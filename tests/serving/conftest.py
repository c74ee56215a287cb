"""Servers for the tests: the embedded one, and TF-Serving where it is at hand.

TF-Serving is at hand where `tensorflow_model_server` is on the PATH, or where `TF_SERVING=HOST:PORT` names the gRPC
port of one that serves the bundled model as `fomm` with the label `stable` (REST on the port after it).
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_REMOTE, _BINARY = os.environ.get("TF_SERVING"), shutil.which("tensorflow_model_server")
_KINDS = ["embedded"] + ["tf_serving"] * bool(_REMOTE or _BINARY)
_SECONDS = 120


def pytest_report_header():
    if len(_KINDS) == 1:
        return "serving: no tensorflow_model_server on the PATH and no TF_SERVING; against the embedded server alone"
    return f"serving: against the embedded server and {_REMOTE or _BINARY}"


class Server:
    """A server process.

    Attributes:
      grpc, rest: "HOST:PORT".
      url: of the model.
      process: None where it runs elsewhere.
    """

    def __init__(self, grpc, rest, process=None):
        self.grpc, self.rest, self.process = grpc, rest, process
        self.url = f"http://{rest}/v1/models/fomm"

    def predict(self, signature, inputs, form="inputs", place=""):
        """The response to a REST request; arrays and bytes as they go into JSON."""
        return httpx.post(
            f"{self.url}{place}:predict", json={"signature_name": signature, form: plain(inputs)}, timeout=_SECONDS
        )


def plain(value):
    """What JSON holds of arrays and bytes."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, bytes):
        import base64

        return {"b64": base64.b64encode(value).decode()}
    return value


@contextlib.contextmanager
def start_embedded(folder, *options, grpc_port=0, rest_port=0):
    """`python -m serving local` until the block ends."""
    line = [sys.executable, "-m", "serving", "local", "--model", folder, "--label", "stable=1"]
    line += ["--grpc-port", grpc_port, "--rest-port", rest_port, *options]
    process = subprocess.Popen(list(map(str, line)), cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        grpc, rest = re.fullmatch(r"fomm: gRPC (\S+), REST http://(\S+)/v1/models/fomm\n", said).groups()
        yield Server(grpc, rest, process)
    finally:
        process.terminate()
        process.communicate(timeout=_SECONDS)


@contextlib.contextmanager
def _start_tf_serving(folder, place):
    config = place / "models.config"
    text = (_ROOT / "serving" / "models.config").read_text(encoding="utf-8")
    config.write_text(text.replace("/models/fomm", str(folder)), encoding="utf-8")
    grpc_port, rest_port = (str(free_port()) for _ in range(2))
    line = [_BINARY, f"--model_config_file={config}", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    line += ["--allow_version_labels_for_unavailable_models"]
    line += [f"--monitoring_config_file={_ROOT / 'serving' / 'monitoring.config'}"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        server = Server(f"127.0.0.1:{grpc_port}", f"127.0.0.1:{rest_port}", process)
        wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(_SECONDS)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(server, version="1", state="AVAILABLE"):
    """Until a version is in a state."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            states = httpx.get(server.url).json().get("model_version_status", [])
            if (version, state) in [(each["version"], each["state"]) for each in states]:
                return
        time.sleep(0.1)
    raise AssertionError(f"version {version} did not become {state}")


@pytest.fixture(scope="session")
def model(bundled_files):
    """Folder of versions of the bundled model."""
    return bundled_files("saved_model")[0]


@pytest.fixture(scope="session")
def embedded(model):
    """The embedded server with the bundled model."""
    with start_embedded(model, "--max-mib", 8, "--max-frames", 32) as server:
        yield server


@pytest.fixture(scope="session", params=_KINDS)
def server(request, model, tmp_path_factory):
    """Each server at hand."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
    elif _REMOTE:
        host, port = _REMOTE.rsplit(":", 1)
        yield Server(_REMOTE, f"{host}:{int(port) + 1}")
    else:
        with _start_tf_serving(model, tmp_path_factory.mktemp("tf_serving")) as started:
            yield started
