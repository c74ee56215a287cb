"""The four kinds of client, called alike, for tests against the fake server."""

import asyncio
import contextlib
import types

import fake_model
import numpy as np

from fomm_tf.serving import client as clients

KINDS = ["rest", "grpc", "rest, asyncio", "grpc, asyncio"]
PROTOCOLS = ["rest", "grpc"]
CLIP = np.random.default_rng(1).integers(0, 256, (21, 6, 8, 3), np.uint8)
SOURCE = CLIP[20]
JPEGS = [fake_model.JPEG + bytes([number] * number) for number in range(1, 20)]


class BlockingClient:
    """An AsyncClient with the methods of a Client, so that one test fits both."""

    def __init__(self, server, **options):
        self._runner = asyncio.Runner()
        self._client = clients.AsyncClient(server, **options)

    def __getattr__(self, name):
        attribute = getattr(type(self._client), name)
        if isinstance(attribute, property):
            return self._await(getattr(self._client, name))
        if name.startswith("animate"):
            return lambda *arguments, **options: self._iterate(getattr(self._client, name)(*arguments, **options))
        return lambda *arguments, **options: self._await(getattr(self._client, name)(*arguments, **options))

    def _iterate(self, stream):
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._await(anext(stream))

    def _await(self, awaitable):
        async def wait():
            return await awaitable

        return self._runner.run(wait())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._await(self._client.close())
        self._runner.close()


def connect(fake, kind, **options):
    """Returns a client of this kind for a fake server."""
    protocol, _, asynchronous = kind.partition(", ")
    address = {"rest": fake.rest, "grpc": fake.grpc}[protocol]
    return (BlockingClient if asynchronous else clients.Client)(address, protocol=protocol, **options)


def animate_at_once(model, frames, source, relative=True, adapt_scale=False):
    """Returns the result of a single request for the whole clip: what all clients must give."""
    options = {"relative": np.array([relative]), "adapt_scale": np.array([adapt_scale])}
    initial = {"initial_value": np.zeros((1, 2, 2), np.float32), "initial_jacobian": np.zeros((1, 2, 2, 2), np.float32)}
    inputs = {"use_initial": np.array([False])} | initial | options
    if isinstance(source, bytes):
        images = {"source": np.array([source], object), "driving": np.array([frames], object)}
        return model.predict("animate_jpeg", images | inputs)["frames_bytes"][0].tolist()
    return model.predict("animate_uint8", {"source": source[None], "driving": frames[None]} | inputs)["frames"][0]


class Clock:
    """A `time.monotonic` that the test advances."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


def replace_sleep(monkeypatch, sleep):
    """Makes both clients call `sleep(seconds)` between two tries."""

    async def sleep_in_loop(seconds):
        sleep(seconds)

    monkeypatch.setattr(clients, "time", types.SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(clients, "asyncio", types.SimpleNamespace(sleep=sleep_in_loop))


def chunk_lengths(fake):
    """Returns T of each chunk."""
    return [request.inputs["driving"].shape[1] for request in fake.requests]
