"""Clients that attack a server until a block ends: slow, large, abandoned and invalid requests, on loopback only."""

import concurrent.futures
import contextlib
import itertools
import json
import socket
import threading

import grpc
import httpx
import numpy as np
import servers
import tensorflow as tf

_STALLED = 100
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


def abandon(server, done):
    """Requests with images of 25 megapixels, without waiting for an answer."""
    for encode in (tf.io.encode_jpeg, tf.io.encode_png):
        image = encode(np.zeros((4999, 5000, 3), np.uint8)).numpy()
        body = json.dumps({"signature_name": "detect_jpeg", "inputs": servers.as_json({"frames": [image]})}).encode()
        for _ in range(3):
            with _connect(server) as connection:
                connection.sendall(_HEAD.format(len(body)).encode() + body)


def send_invalid(server, done):
    """Nonsense in both protocols."""
    for data in (b"\xff" * 1000, b"", b"[" * 10_000):
        with contextlib.suppress(grpc.RpcError):
            server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(data)
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{server.url}:predict", content=data)


@contextlib.contextmanager
def attack(server, count):
    """Runs so many of these clients, each kind in turn, until the block ends."""
    done = threading.Event()

    def repeat(client):
        with contextlib.suppress(OSError):
            while not done.is_set():
                client(server, done)

    kinds = itertools.islice(itertools.cycle([stall, send_lists, abandon, send_invalid]), count)
    with concurrent.futures.ThreadPoolExecutor(max(count, 1)) as pool:
        running = [pool.submit(repeat, client) for client in kinds]
        try:
            yield
        finally:
            done.set()
    for client in running:
        client.result()
