"""Deadlines by both protocols, of a server in the test's event loop whose model computes until the test lets it go."""

import asyncio
import contextlib
import threading

import grpc
import httpx
import numpy as np
import pytest
import servers
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.local import core, rest, rpc

SECONDS = 60  # no test waits so long, unless it fails
INPUTS = {"x": np.ones((1, 2), np.float32)}


class Model:
    """Doubles when it may."""

    version = 1

    def __init__(self):
        self.runs, self.begun, self.may_end = 0, threading.Event(), threading.Event()

    def inputs(self, _):
        return {"x": tf.TensorSpec([None, 2], tf.float32, "x")}

    def outputs(self, _):
        return {"y"}

    def run(self, _, inputs):
        self.runs += 1
        self.begun.set()
        assert self.may_end.wait(SECONDS), "the test did not let the model go"
        return {"y": 2 * inputs["x"]}


class Versions:
    """One model, always there."""

    name = "fomm"

    def __init__(self, model):
        self._model = model

    @contextlib.contextmanager
    def lease(self, *_):
        yield self._model


def run(scenario, seconds):
    """Runs a scenario with a model, a stub for gRPC and a client for REST; gives it and how often the model ran."""

    async def main():
        model = Model()
        limits = core.Limits(requests=8, request_bytes=2**20, frames=8, seconds=seconds, batch_rows=1, threads=1)
        running = core.Core(Versions(model), limits)
        server, port = rpc.serve(running, "127.0.0.1", 0)
        await server.start()
        application = httpx.ASGITransport(rest.application(running))
        try:
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
                httpx.AsyncClient(transport=application, base_url="http://here", timeout=SECONDS) as client,
            ):
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                outcome = await asyncio.wait_for(scenario(model, stub, client), SECONDS)
        finally:
            model.may_end.set()
            await server.stop(None)
            running.close()
        return outcome, model.runs

    return asyncio.run(main())


def test_a_grpc_request_ends_at_its_own_deadline_and_is_not_computed_any_more():
    async def scenario(model, stub, _):
        busy = stub.Predict(servers.message("double", INPUTS), timeout=SECONDS)
        assert await asyncio.to_thread(model.begun.wait, SECONDS)
        late = stub.Predict(servers.message("double", INPUTS), timeout=0.2)
        codes = [await late.code()]
        model.may_end.set()
        return [*codes, await busy.code()]

    codes, runs = run(scenario, seconds=SECONDS)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.OK]
    assert runs == 1


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_request_without_a_deadline_has_the_servers(protocol):
    async def scenario(_, stub, client):
        if protocol == "rest":
            body = {"signature_name": "double", "inputs": [[1.0, 1.0]]}
            return (await client.post("/v1/models/fomm:predict", json=body)).status_code
        call = stub.Predict(servers.message("double", INPUTS))
        return await call.code(), "within the request's deadline" in await call.details()

    outcome, _ = run(scenario, seconds=0.2)
    assert outcome == {"grpc": (grpc.StatusCode.DEADLINE_EXCEEDED, True), "rest": 504}[protocol]
