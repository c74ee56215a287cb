"""A server of TF-Serving's two protocols in threads of the test, with `fake_model.Model` and injected faults."""

import base64
import collections
import concurrent.futures
import contextlib
import http.server
import json
import re
import socket
import sys
import threading

import fake_model
import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

_PATH = re.compile(r"/v1/models/fomm(/versions/7|/labels/stable)?(:predict|/metadata)")
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}

Request = collections.namedtuple("Request", "signature inputs size version_path")


TIMEOUT = 60  # seconds; only a failing test waits so long


class Hold:
    """A fault that delays an answer until the block ends.

    Attributes:
      arrived: an event, set when the request has arrived.
    """

    def __init__(self):
        self.arrived, self._released = threading.Event(), threading.Event()

    def __call__(self):
        self.arrived.set()
        if not self._released.wait(TIMEOUT):
            raise TimeoutError("the test did not release the answer")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._released.set()


class Server:
    """A model on two ports.

    Attributes:
      requests: the predict requests so far.
      metadata_count: number of metadata requests.
      time_remaining: seconds until the deadline of each gRPC prediction at its arrival; None without a deadline.
      faults: of the next predictions: None, no fault; an HTTP status instead of an answer; `drop`, half of the answer;
        `hang up`, no answer; a function, which is called before the answer is sent.
      retry_after: whole seconds after which a client is asked to retry, or None.
    """

    def __init__(self, model=None):
        self.model = model or fake_model.Model()
        self.requests, self.metadata_count, self.time_remaining, self.faults = [], 0, [], collections.deque()
        self.retry_after = None
        self._rest_port = self._grpc_port = 0
        self.start()

    @property
    def rest(self):
        return f"localhost:{self._rest_port}"

    @property
    def grpc(self):
        return f"localhost:{self._grpc_port}"

    def start(self):
        """Starts the server; again on the same ports."""
        self._http = _HttpServer(("127.0.0.1", self._rest_port), _handler(self))
        self._rest_port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.01])
        self._thread.start()
        self._rpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Servicer(self), self._rpc)
        self._grpc_port = self._rpc.add_insecure_port(f"127.0.0.1:{self._grpc_port}")
        self._rpc.start()

    def stop(self):
        """Stops the server and closes its connections."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._rpc.stop(None).wait()

    def reset(self):
        """Forgets requests and faults."""
        self.requests.clear()
        self.time_remaining.clear()
        self.faults.clear()
        self.metadata_count, self.retry_after = 0, None

    def answer(self, request):
        """Records a request and returns its outputs."""
        self.requests.append(request)
        return self.model.predict(request.signature, request.inputs)


@contextlib.contextmanager
def serve(model=None):
    """Yields a running server; stops it when the block ends."""
    server = Server(model)
    try:
        yield server
    finally:
        server.stop()


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._connections = set()

    def get_request(self):
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        super().server_close()
        for connection in self._connections.copy():
            with contextlib.suppress(OSError):  # the client closed it first
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            server.metadata_count += 1
            self._reply(200, {"model_spec": {}, "metadata": {"signature_def": server.model.metadata()}})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = _PATH.fullmatch(self.path)
            document = json.loads(body)
            types = {
                name: dtype for name, (dtype, _) in server.model.signatures()[document["signature_name"]][0].items()
            }
            inputs = {name: np.array(_bytes(value), types[name]) for name, value in document["inputs"].items()}
            outputs = server.answer(Request(document["signature_name"], inputs, len(body), path[1]))
            fault = server.faults.popleft() if server.faults else None
            if callable(fault):
                fault()
            if fault == "hang up":
                self.close_connection = True
            elif isinstance(fault, int):
                self._reply(fault, {"error": f"injected status {fault}."})
            else:
                values = {name: _lists(value) for name, value in outputs.items()}
                self._reply(200, {"outputs": values if len(values) > 1 else next(iter(values.values()))}, fault)

        def _reply(self, status, document, fault=None):
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status != 200 and server.retry_after:
                self.send_header("Retry-After", str(server.retry_after))
            self.end_headers()
            if fault == "drop":
                self.close_connection, body = True, body[: len(body) // 2]
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def _bytes(value):
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _lists(array):
    if array.dtype == np.object_:
        return [[{"b64": base64.b64encode(data).decode()} for data in row] for row in array]
    return array.tolist()


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self._server = server

    def GetModelMetadata(self, request, context):
        self._server.metadata_count += 1
        definitions = json_format.ParseDict(self._server.model.metadata(), get_model_metadata_pb2.SignatureDefMap())
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(definitions)
        return response

    def Predict(self, request, context):
        spec = request.model_spec
        assert spec.name == "fomm"
        version_path = f"/labels/{spec.version_label}" if spec.version_label else None
        version_path = f"/versions/{spec.version.value}" if spec.HasField("version") else version_path
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        self._server.time_remaining.append(context.time_remaining())
        outputs = self._server.answer(Request(spec.signature_name, inputs, request.ByteSize(), version_path))
        fault = self._server.faults.popleft() if self._server.faults else None
        if callable(fault):
            fault()
        elif isinstance(fault, int):
            if self._server.retry_after:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", str(1000 * self._server.retry_after))])
            context.abort(grpc.StatusCode[_STATUS[fault]], f"injected status {fault}.")
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response
