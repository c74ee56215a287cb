"""Server processes, and requests to them."""

import base64
import contextlib
import pathlib
import re
import socket
import subprocess
import time

import grpc
import httpx
import numpy as np
import processes
import tensorflow as tf
from prometheus_client import parser
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 120


class Server:
    """A server process.

    Attributes:
      grpc, rest: "HOST:PORT".
      url: of the model.
      process: None for a server that the tests did not start.
    """

    def __init__(self, grpc_address, rest_address, process=None):
        self.grpc, self.rest, self.process = grpc_address, rest_address, process
        self.url = f"http://{rest_address}/v1/models/fomm"
        self.channel = grpc.insecure_channel(grpc_address, [("grpc.max_receive_message_length", -1)])
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def post(self, signature, inputs, key="inputs", path=""):
        """Returns the response to a REST request."""
        body = {"signature_name": signature, key: as_json(inputs)}
        return httpx.post(f"{self.url}{path}:predict", json=body, timeout=SECONDS)

    def call(self, signature, inputs, timeout=SECONDS, **spec):
        """Returns the outputs of a gRPC request, arrays by name."""
        response = self.predictions.Predict(message(signature, inputs, **spec), timeout=timeout)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def message(signature, inputs, name="fomm", version=None, label=None):
    """Returns a PredictRequest."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, array in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
    return request


def as_json(value):
    """Converts arrays and bytes to JSON values."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return as_json(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


@contextlib.contextmanager
def start_embedded(directory, *options, grpc_port=0, rest_port=0):
    """Runs `fomm serve` until the block ends."""
    line = ["-m", "fomm_tf", "serve", "--model", directory, "--grpc-port", grpc_port, "--rest-port", rest_port]
    process = processes.start(*line, *options, cwd=ROOT)
    try:
        line = process.stdout.readline()
        yield Server(*re.fullmatch(r"fomm: gRPC (\S+), REST http://(\S+)/v1/models/fomm\n", line).groups(), process)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


@contextlib.contextmanager
def start_tf_serving(binary, directory, config_directory):
    """Runs TF-Serving with the repository's configuration until the block ends."""
    config = config_directory / "models.config"
    text = (ROOT / "serving" / "models.config").read_text(encoding="utf-8")
    config.write_text(text.replace("/models/fomm", str(directory)), encoding="utf-8")
    ports = [free_port(), free_port()]
    line = [binary, f"--model_config_file={config}", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    line += ["--allow_version_labels_for_unavailable_models"]
    line += [f"--monitoring_config_file={ROOT / 'serving' / 'monitoring.config'}"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        server = Server(*(f"127.0.0.1:{port}" for port in ports), process)
        wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(SECONDS)


def metric(server, name, **labels):
    """Returns the sum of a metric's samples that have these labels."""
    page = httpx.get(f"http://{server.rest}/monitoring/prometheus/metrics").text
    samples = [sample for family in parser.text_string_to_metric_families(page) for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name.removesuffix("_total") == f":tensorflow:serving:{name}"
        and labels.items() <= sample.labels.items()
    )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(server, version="1", state="AVAILABLE"):
    """Waits until a version is in a state."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            states = httpx.get(server.url).json().get("model_version_status", [])
            if (version, state) in [(status["version"], status["state"]) for status in states]:
                return
        time.sleep(0.1)
    raise AssertionError(f"version {version} did not become {state}")
