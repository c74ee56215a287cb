"""TF-Serving's REST protocol: tensors as JSON, by column, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import httpx
import numpy as np

from serving import signatures
from serving.target import Target

# FAILED_PRECONDITION comes as 400 too.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Bytes of a value at most, with its comma and its share of the brackets.
_UINT8, _OTHER = 5, 20
# They tell every float32 from its neighbours.
_DIGITS = 9


class Request(NamedTuple):
    """What goes over the wire.

    Attributes:
      method, path: of HTTP.
      body: JSON, or None.
      asked: the signature, or `metadata`.
    """

    method: str
    path: str
    body: bytes | None
    asked: str


class Codec:
    """Calls to requests and bodies to answers, without I/O.

    Args:
      target: whom to ask.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        quote = urllib.parse.quote
        self._path = f"/v1/models/{quote(target.model, safe='')}"
        if target.version is not None:
            self._path += f"/versions/{target.version}"
        if target.label is not None:
            self._path += f"/labels/{quote(target.label, safe='')}"

    def ask_metadata(self) -> Request:
        """The request for what `signatures.read` takes."""
        return Request("GET", f"{self._path}/metadata", None, "metadata")

    def read_metadata(self, body: bytes) -> Mapping:
        """Its answer."""
        return json.loads(body)["metadata"]["signature_def"]

    def ask(self, call: signatures.Call) -> Request:
        """The request for a call.

        Raises:
          failures.ArgumentError: if it is too large.
        """
        inputs = {name: _as_lists(tensor) for name, tensor in call.inputs.items()}
        body = json.dumps({"signature_name": call.signature, "inputs": inputs}, separators=(",", ":")).encode()
        self._target.check_size(len(body), call.signature)
        return Request("POST", f"{self._path}:predict", body, call.signature)

    def read(self, body: bytes, outputs: Mapping[str, type]) -> signatures.Tensors:
        """Its answer, of the types named."""
        found = json.loads(body, object_hook=_as_bytes)["outputs"]
        if len(outputs) == 1:
            found = dict.fromkeys(outputs, found)
        return {name: np.array(found[name], dtype) for name, dtype in outputs.items()}


def size(tensor: np.ndarray) -> int:
    """Bytes of a tensor in JSON, at most."""
    if tensor.dtype == np.object_:
        return sum(4 * -(-len(text) // 3) + len('{"b64":""},') for text in tensor.flat)
    return tensor.size * (_UINT8 if tensor.dtype == np.uint8 else _OTHER)


class Transport:
    """Sends requests.

    Args:
      target: whom to.
    """

    def __init__(self, target: Target) -> None:
        self._target, self._client = target, httpx.Client(**_options(target))

    def send(self, request: Request) -> bytes:
        """The answer's body.

        Raises:
          failures.ServerError: if there is none.
        """
        end, body = time.monotonic() + self._target.timeout, bytearray()
        with (
            _told(self._target, request),
            self._client.stream(request.method, request.path, content=request.body) as response,
        ):
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > end:
                    raise TimeoutError
        return _body(self._target, request, response.status_code, bytes(body))

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class AsyncTransport:
    """`Transport` for asyncio."""

    def __init__(self, target: Target) -> None:
        self._target, self._client = target, httpx.AsyncClient(**_options(target))

    async def send(self, request: Request) -> bytes:
        """See `Transport.send`."""
        with _told(self._target, request):
            async with asyncio.timeout(self._target.timeout):
                response = await self._client.request(request.method, request.path, content=request.body)
        return _body(self._target, request, response.status_code, response.content)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _options(target: Target) -> dict:
    return {
        "base_url": f"http://{target.server}",
        "headers": {"Content-Type": "application/json"},
        "timeout": target.timeout,
        "trust_env": False,  # to the server named, by no proxy
    }


@contextlib.contextmanager
def _told(target: Target, request: Request) -> Iterator[None]:
    """What httpx raises as `ServerError`."""
    try:
        yield
    except (TimeoutError, httpx.TimeoutException):
        raise target.failure("DEADLINE_EXCEEDED", f"no answer in {target.timeout:g} s", request.asked) from None
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise target.failure("UNAVAILABLE", str(error), request.asked) from error


def _body(target: Target, request: Request, status: int, body: bytes) -> bytes:
    """The body of an answer that is one."""
    if status == httpx.codes.OK:
        return body
    try:
        details = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        details = f"HTTP {status}"
    raise target.failure(_CODES.get(status, "UNKNOWN"), details, request.asked)


def _as_lists(tensor: np.ndarray) -> list:
    if tensor.dtype == np.object_:
        coded = [{"b64": base64.b64encode(text).decode()} for text in tensor.flat]
        boxes = np.empty(len(coded), np.object_)
        boxes[:] = coded
        return boxes.reshape(tensor.shape).tolist()
    if tensor.dtype == np.float32:
        return _short(tensor).tolist()
    return tensor.tolist()


def _short(tensor: np.ndarray) -> np.ndarray:
    """Finite float32 as the float64 nearest to its first nine digits, which is what gets written."""
    values = tensor.astype(np.float64)
    magnitudes = np.abs(values, where=values != 0, out=np.ones_like(values))
    scales = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(magnitudes)))
    return np.rint(values * scales) / scales


def _as_bytes(found: dict) -> dict | bytes:
    return base64.b64decode(found["b64"]) if found.keys() == {"b64"} else found
