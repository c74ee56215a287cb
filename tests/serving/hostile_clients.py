"""Clients that attack a server until a block ends: slow, large, abandoned and invalid requests, on loopback only."""

import concurrent.futures
import contextlib
import functools
import itertools
import json
import socket
import threading

import grpc
import httpx
import numpy as np
import servers
import tensorflow as tf

_STALLED = 128
_CLIP_FRAMES = 64
# Seconds after which an abandoned request is being computed.
_PATIENCE = 0.5
_HEAD = "POST /v1/models/fomm:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"


def _connect(server):
    host, port = server.rest.split(":")
    return socket.create_connection((host, int(port)), timeout=servers.SECONDS)


def stall(server, done):
    """Many connections with half a request each, held until the server closes them."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(_STALLED)]
        for number, connection in enumerate(connections):
            connection.sendall(_HEAD.format(100).encode()[: 40 if number % 2 else None])
        for connection in connections:
            with contextlib.suppress(OSError):
                while connection.recv(2**16) and not done.is_set():
                    pass


def send_lists(server, done):
    """The most lists that fit into a request."""
    body = b'{"signature_name": "detect_uint8", "inputs": [' + b"[]," * (5 * 2**20) + b"[]]}"
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{server.url}:predict", content=body, timeout=servers.SECONDS)


def _image(encode, height, width):
    return encode(np.zeros((height, width, 3), np.uint8)).numpy()


@functools.cache
def _images_body(encode, height=4999, width=5000):
    image = _image(encode, height, width)
    return json.dumps({"signature_name": "detect_jpeg", "inputs": servers.as_json({"frames": [image]})}).encode()


@functools.cache
def _clip_body(count=_CLIP_FRAMES):
    image = _image(tf.io.encode_jpeg, 32, 32)
    return json.dumps({"instances": [servers.as_json({"source": image, "driving": [image] * count})]}).encode()


def prepare():
    """Creates what the clients send, which takes seconds of processor time."""
    for encode in (tf.io.encode_jpeg, tf.io.encode_png):
        _images_body(encode)
    _clip_body()


def abandon_images(server, done):
    """Six requests with images of 25 megapixels, without waiting for an answer; again while they are computed."""
    for encode in (tf.io.encode_jpeg, tf.io.encode_png):
        for _ in range(3):
            _abandon(server, _images_body(encode))
    done.wait(_PATIENCE)


def abandon_clip(server, done):
    """A request with as many frames as the server accepts, abandoned while it is computed."""
    _abandon(server, _clip_body(), lambda: done.wait(_PATIENCE))


def send_image(server, height=4999, width=5000):
    """A PNG image, which is decoded as a whole."""
    _send(server, _images_body(tf.io.encode_png, height, width))


def send_clip(server, count=_CLIP_FRAMES):
    """A clip, by default of as many frames as the server accepts."""
    _send(server, _clip_body(count))


def _send(server, body):
    httpx.post(f"{server.url}:predict", content=body, timeout=servers.SECONDS).raise_for_status()


def _abandon(server, body, wait=lambda: None):
    with _connect(server) as connection:
        connection.sendall(_HEAD.format(len(body)).encode() + body)
        wait()


def send_invalid(server, done):
    """Nonsense in both protocols."""
    for data in (b"\xff" * 1000, b"", b"[" * 10_000):
        with contextlib.suppress(grpc.RpcError):
            server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(data)
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{server.url}:predict", content=data)


KINDS = (stall, send_lists, abandon_images, abandon_clip, send_invalid)


@contextlib.contextmanager
def attack(server, count, kinds=KINDS):
    """Runs so many of these clients, each kind in turn, until the block ends."""
    done = threading.Event()

    def repeat(client):
        while not done.is_set():
            with contextlib.suppress(OSError):
                client(server, done)

    with concurrent.futures.ThreadPoolExecutor(max(count, 1)) as pool:
        running = [pool.submit(repeat, client) for client in itertools.islice(itertools.cycle(kinds), count)]
        try:
            yield
        finally:
            done.set()
    for client in running:
        client.result()
