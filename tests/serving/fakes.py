"""A server of TF-Serving's two protocols in threads of the test, with a model of a few sums, that can misbehave."""

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
import zlib

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

JPEG = b"\xff\xd8\xff"
_TYPES = {np.float32: "DT_FLOAT", np.uint8: "DT_UINT8", np.bool_: "DT_BOOL", np.object_: "DT_STRING"}
_PATH = re.compile(r"/v1/models/fomm(/versions/7|/labels/stable)?(:predict|/metadata)")
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}

Asked = collections.namedtuple("Asked", "signature inputs size place")


class Model:
    """What an export does, in miniature: signatures of the same names and shapes."""

    def __init__(self, size=(6, 8), num_keypoints=2, jacobian=True):
        self.size, self.num_keypoints, self.jacobian = size, num_keypoints, jacobian

    def signatures(self):
        """signature -> (inputs, outputs), each name -> (type, shape)."""
        frame, points = [*self.size, 3], [self.num_keypoints, 2]

        def posed(prefix, *lead):
            found = {f"{prefix}value": (np.float32, [*lead, *points])}
            return found | ({f"{prefix}jacobian": (np.float32, [*lead, *points, 2])} if self.jacobian else {})

        switches = {"relative": (np.bool_, [-1]), "adapt_scale": (np.bool_, [-1])}
        encoded = {name: (np.float32, [-1, -1, -1, 3]) for name in ("image", "features", "source_lowres")}
        encoded |= posed("source_", -1)
        found = {
            "transfer": (posed("source_", -1) | posed("driving_", -1, -1) | posed("initial_", -1) | switches,
                         posed("", -1, -1)),
            "render": (encoded | posed("", -1, -1), {"prediction": (np.float32, [-1, -1, *frame])}),
        }  # fmt: skip
        for suffix, dtype in {"": np.float32, "_uint8": np.uint8, "_jpeg": np.object_}.items():
            one = [] if suffix == "_jpeg" else frame
            clip = {"source": (dtype, [-1, *one]), "driving": (dtype, [-1, -1, *one]), "use_initial": (np.bool_, [-1])}
            frames = "frames_bytes" if suffix == "_jpeg" else "frames"
            found |= {
                f"detect{suffix}": ({"frames": (dtype, [-1, *one])}, posed("", -1)),
                f"encode_source{suffix}": ({"source": (dtype, [-1, *one])}, encoded),
                f"animate{suffix}": (clip | switches | posed("initial_", -1),
                                     {frames: (dtype, [-1, -1, *one])} | posed("initial_", -1)),
            }  # fmt: skip
        return found

    def metadata(self):
        """SignatureDefMap as JSON."""

        def told(tensors):
            return {
                name: {"name": name, "dtype": _TYPES[dtype], "tensor_shape": {"dim": [{"size": str(n)} for n in shape]}}
                for name, (dtype, shape) in tensors.items()
            }

        parts = {name: {"inputs": told(i), "outputs": told(o)} for name, (i, o) in self.signatures().items()}
        nothing = {"inputs": {}, "outputs": {"__saved_model_init_op": {"tensor_shape": {"unknown_rank": True}}}}
        return {"signature_def": parts | {"__saved_model_init_op": nothing}}

    def predict(self, signature, inputs):
        """The outputs."""
        assert inputs.keys() == self.signatures()[signature][0].keys()
        for name, (dtype, shape) in self.signatures()[signature][0].items():
            given = inputs[name]
            assert given.dtype == dtype, (name, given.dtype)
            assert given.ndim == len(shape), (name, given.shape)
            assert all(want in (-1, got) for want, got in zip(shape, given.shape, strict=True)), (name, given.shape)
        stage, _, _ = signature.partition("_")
        return getattr(self, f"_{stage}")(**inputs)

    def _detect(self, frames, prefix=""):
        numbers = self._numbers(frames)
        value = np.stack([numbers * (k + 1) for k in range(self.num_keypoints)], axis=1)
        jacobian = value[..., np.newaxis] * np.float32([[1, 2], [3, 4]])
        return {f"{prefix}value": value} | ({f"{prefix}jacobian": jacobian} if self.jacobian else {})

    def _numbers(self, frames):
        """Two of each frame, `[N, 2]`."""
        if frames.dtype == np.object_:
            return np.float32([[zlib.crc32(each) % 997 / 997, len(each) / 1000] for each in frames])
        levels = np.float32(frames) / (255 if frames.dtype == np.uint8 else 1)
        return np.float32([[each.mean(), each[0, 0, 1] - each[-1, -1, 2]] for each in levels])

    def _encode(self, source):
        image = np.float32(source) / (255 if source.dtype == np.uint8 else 1)
        encoded = {"image": image, "features": 3 * image, "source_lowres": image[:, ::2, ::2]}
        return encoded | self._detect(source, "source_")

    def _transfer(self, relative, adapt_scale, **points):
        found = {}
        for name in ("value", "jacobian") if self.jacobian else ("value",):
            source, initial = (points[f"{owner}_{name}"][:, np.newaxis] for owner in ("source", "initial"))
            driving = points[f"driving_{name}"]
            moved = source + (driving - initial) * (1.5 if adapt_scale[0] else 1)
            found[name] = np.float32(moved if relative[0] else driving)
        return found

    def _render(self, image, features, source_lowres, value, **_):
        darker = 1 / (2 + np.abs(value.sum((2, 3))))[..., np.newaxis, np.newaxis, np.newaxis]
        return {"prediction": np.float32((image + features)[:, np.newaxis] / 4 * darker)}

    def _animate(self, source, driving, use_initial, relative, adapt_scale, **given):
        """Of a batch of 1."""
        found = self._detect(driving[0])
        initial = {
            f"initial_{name}": given[f"initial_{name}"] if use_initial[0] else points[:1]
            for name, points in found.items()
        }
        posed = {f"driving_{name}": points[np.newaxis] for name, points in found.items()}
        moved = self._transfer(relative, adapt_scale, **self._detect(source, "source_"), **posed, **initial)
        if source.dtype == np.object_:
            texts = [JPEG + source[0] + repr(pose.round(4).tolist()).encode() for pose in moved["value"][0]]
            frames = np.empty((1, len(texts)), np.object_)
            frames[0] = texts
            return {"frames_bytes": frames} | initial
        encoded = self._encode(source)
        frames = self._render(encoded["image"], encoded["features"], None, moved["value"])["prediction"]
        return {"frames": np.uint8(np.rint(frames * 255)) if source.dtype == np.uint8 else frames} | initial


SECONDS = 60  # no test waits so long, unless it fails


class Hold:
    """A fault that keeps an answer back until the block ends.

    Attributes:
      arrived: an event, set when the request is there.
    """

    def __init__(self):
        self.arrived, self._released = threading.Event(), threading.Event()

    def __call__(self):
        self.arrived.set()
        if not self._released.wait(SECONDS):
            raise TimeoutError("the test did not release the answer")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._released.set()


class Server:
    """Both ports of one model.

    Attributes:
      asked: the predictions that were asked for.
      described: how often the metadata were.
      remaining: seconds that each gRPC prediction had left when it came; None without a deadline.
      faults: what happens to the next predictions: None, nothing; a status instead of an answer; `drop`, half of it;
        `hang up`, none; a function, which is called before the answer is sent.
    """

    def __init__(self, model=None):
        self.model = model or Model()
        self.asked, self.described, self.remaining, self.faults = [], 0, [], collections.deque()
        self._rest_port = self._grpc_port = 0
        self.start()

    @property
    def rest(self):
        return f"localhost:{self._rest_port}"

    @property
    def grpc(self):
        return f"localhost:{self._grpc_port}"

    def start(self):
        """On the ports of the first time."""
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
        """Ends connections too, so that no client is answered on an old one."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._rpc.stop(None).wait()

    def answer(self, asked):
        """Outputs of a request that is noted."""
        self.asked.append(asked)
        return self.model.predict(asked.signature, asked.inputs)


@contextlib.contextmanager
def serve(model=None):
    """A server until the block ends."""
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
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            server.described += 1
            self._reply(200, {"model_spec": {}, "metadata": {"signature_def": server.model.metadata()}})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            place = _PATH.fullmatch(self.path)
            given = json.loads(body)
            types = {name: dtype for name, (dtype, _) in server.model.signatures()[given["signature_name"]][0].items()}
            inputs = {name: np.array(_bytes(value), types[name]) for name, value in given["inputs"].items()}
            outputs = server.answer(Asked(given["signature_name"], inputs, len(body), place[1]))
            fault = server.faults.popleft() if server.faults else None
            if callable(fault):
                fault()
            if fault == "hang up":
                self.close_connection = True
            elif isinstance(fault, int):
                self._reply(fault, {"error": f"made to answer {fault}."})
            else:
                found = {name: _lists(value) for name, value in outputs.items()}
                self._reply(200, {"outputs": found if len(found) > 1 else next(iter(found.values()))}, fault)

        def _reply(self, status, told, fault=None):
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
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
        return [_bytes(each) for each in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _lists(array):
    if array.dtype == np.object_:
        return [[{"b64": base64.b64encode(each).decode()} for each in row] for row in array]
    return array.tolist()


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self._server = server

    def GetModelMetadata(self, request, context):
        self._server.described += 1
        found = json_format.ParseDict(self._server.model.metadata(), get_model_metadata_pb2.SignatureDefMap())
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response

    def Predict(self, request, context):
        spec = request.model_spec
        assert spec.name == "fomm"
        place = f"/labels/{spec.version_label}" if spec.version_label else None
        place = f"/versions/{spec.version.value}" if spec.HasField("version") else place
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        self._server.remaining.append(context.time_remaining())
        outputs = self._server.answer(Asked(spec.signature_name, inputs, request.ByteSize(), place))
        fault = self._server.faults.popleft() if self._server.faults else None
        if callable(fault):
            fault()
        elif isinstance(fault, int):
            context.abort(grpc.StatusCode[_STATUS[fault]], f"made to answer {fault}.")
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response
