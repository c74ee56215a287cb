"""Deadlines in both protocols, with a server in the test's event loop and a model that waits for the test."""

import asyncio
import contextlib
import threading

import grpc
import httpx
import numpy as np
import pytest
import servers
from tensorflow_serving.apis import prediction_service_pb2_grpc

from fomm_tf.serving.local import core, grpc_service, rest_app
from fomm_tf.serving.local import inputs as declared

TIMEOUT = 60  # seconds; only a failing test waits so long
METRICS = "/monitoring/prometheus/metrics"
INPUTS = {"x": np.ones((1, 2), np.float32)}


class Model:
    """Doubles its input, when `may_end` is set."""

    version = 1

    def __init__(self):
        self.inputs = {"double": {"x": declared.Spec("float32", (None, 2))}}
        self.runs, self.started, self.may_end = 0, threading.Event(), threading.Event()

    def outputs(self, _):
        return {"y": declared.Spec("float32", (None, 2))}

    def run(self, _, inputs, *__):
        self.runs += 1
        self.started.set()
        assert self.may_end.wait(TIMEOUT), "the test did not let the model run"
        return {"y": 2 * inputs["x"]}


class FakeVersionManager:
    """One model that is always available."""

    name = "fomm"

    def __init__(self, model):
        self._model = model

    @contextlib.contextmanager
    def lease(self, *_):
        yield self._model


def run(scenario, timeout):
    """Runs a scenario with a model, a gRPC stub and a REST client; returns its result and how often the model ran."""

    async def main():
        model = Model()
        server_core = core.ServerCore(FakeVersionManager(model), core.Limits(timeout=timeout, max_batch_frames=1))
        server = grpc_service.GrpcServer(server_core)
        port = await server.start("127.0.0.1", 0)
        application = httpx.ASGITransport(rest_app.RestApp(server_core))
        try:
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
                httpx.AsyncClient(transport=application, base_url="http://test", timeout=TIMEOUT) as client,
            ):
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                outcome = await asyncio.wait_for(scenario(model, stub, client), TIMEOUT)
        finally:
            model.may_end.set()
            await server.stop(0)
            server_core.close()
        return outcome, model.runs

    return asyncio.run(main())


def test_grpc_request_expires_at_its_deadline_and_is_not_computed():
    async def scenario(model, stub, client):
        busy = stub.Predict(servers.message("double", INPUTS), timeout=TIMEOUT)
        assert await asyncio.to_thread(model.started.wait, TIMEOUT)
        expired = stub.Predict(servers.message("double", INPUTS), timeout=0.2)
        codes = [await expired.code()]
        # The server's clock may reach the deadline later than the client's.
        while 'admitted_requests{model_name="fomm"} 1.0' not in (await client.get(METRICS)).text:
            pass
        model.may_end.set()
        return [*codes, await busy.code()]

    codes, runs = run(scenario, timeout=TIMEOUT)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.OK]
    assert runs == 1


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_request_without_a_deadline_gets_the_server_timeout(protocol):
    async def scenario(_, stub, client):
        if protocol == "rest":
            body = {"signature_name": "double", "inputs": [[1.0, 1.0]]}
            return (await client.post("/v1/models/fomm:predict", json=body)).status_code
        call = stub.Predict(servers.message("double", INPUTS))
        return await call.code(), "within the request's deadline" in await call.details()

    outcome, _ = run(scenario, timeout=0.2)
    assert outcome == {"grpc": (grpc.StatusCode.DEADLINE_EXCEEDED, True), "rest": 504}[protocol]
