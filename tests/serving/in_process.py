"""The embedded server in a thread of the test, with real sockets and a model of one line."""

import asyncio
import contextlib
import queue
import re
import socket
import threading

import numpy as np
import servers

from fomm_tf.serving.local import core, inputs, listen, server

TIMEOUT = 60  # seconds; only a failing test waits so long
ONE = {"x": np.ones((1, 2), np.float32)}
PREDICT = "/tensorflow.serving.PredictionService/Predict"
HEAD = b"POST /v1/models/fomm:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


class Model:
    """Doubles its input, while `may_end` is set; also takes levels and encoded images.

    Attributes:
      runs: how many there were.
      started: set by each run.
      cancellations: of the runs.
      backgrounds: whether each run was in the background.
    """

    version = 1

    def __init__(self):
        self.inputs = {
            "double": {"x": inputs.Spec("float32", (None, 2))},
            "levels": {"levels": inputs.Spec("uint8", (None, 2))},
            "images": {"images": inputs.Spec("string", (None,))},
        }
        self.runs, self.started, self.may_end, self.cancellations = 0, threading.Event(), threading.Event(), []
        self.backgrounds = []
        self.may_end.set()

    def outputs(self, _):
        return {"y": inputs.Spec("string", (None,))}  # whose size is unknown

    def run(self, _, arrays, cancellation, background):
        self.runs += 1
        self.cancellations.append(cancellation)
        self.backgrounds.append(background)
        self.started.set()
        assert self.may_end.wait(TIMEOUT), "the test did not let the model run"
        (array,) = arrays.values()
        return {"y": array + array}


class Versions:
    """One model that is always available."""

    name = "fomm"

    def __init__(self, model):
        self._model = model

    async def load_initial(self):
        pass

    async def watch(self, _):
        pass

    def is_ready(self):
        return True

    @contextlib.contextmanager
    def lease(self, *_):
        yield self._model


class Server(servers.Server):
    """A running server.

    Attributes:
      core: to look into.
    """

    def stop(self):
        """Asks the server to stop; `thread` ends when it has."""
        with contextlib.suppress(RuntimeError):  # it has stopped already
            self.loop.call_soon_threadsafe(self.stopping.set)


@contextlib.contextmanager
def serve(model=None, token=None, certificate=None, versions=None, animation=None, cors=(), **limits):
    """Yields a running server with these limits."""
    model, lines, failures = model or Model(), queue.SimpleQueue(), []

    async def main():
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        server_core = core.ServerCore(versions or Versions(model), core.Limits(**limits), token)
        await server_core.versions.load_initial()
        address = server.Address("127.0.0.1", 0, listen.bind("127.0.0.1", 0, 0), certificate, cors)
        with address.rest:
            announce = lambda line: lines.put((line, stop, loop, server_core))  # noqa: E731
            await server.serve(server_core, address, stop, announce, animation)

    def run():
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
            lines.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    line, stop, loop, server_core = lines.get(timeout=TIMEOUT) or (_ for _ in ()).throw(failures[0])
    started = Server(*re.fullmatch(r"gRPC (\S+), REST https?://(\S+)/v1/models/fomm", line).groups())
    started.core, started.loop, started.stopping, started.thread = server_core, loop, stop, thread
    try:
        yield started
    finally:
        model.may_end.set()
        started.stop()
        thread.join(TIMEOUT)
    assert not thread.is_alive(), "the server did not stop"
    assert not failures


def connect(server):
    """A connection to the REST port."""
    host, port = server.rest.split(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def assert_answered(server):
    """A request of another client is answered, by both protocols."""
    assert server.post("double", ONE).json() == {"outputs": [[2.0, 2.0]]}
    assert server.call("double", ONE)["y"].tolist() == [[2.0, 2.0]]


def read_all(connection):
    """What arrives until the connection is closed."""
    parts = []
    while part := connection.recv(2**16):
        parts.append(part)
    return b"".join(parts)
