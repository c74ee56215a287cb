"""TF-Serving's REST protocol for the client: tensors as JSON in columnar format, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import httpx
import numpy as np

from fomm_tf.serving import json_body, signatures
from fomm_tf.serving.target import Target

# HTTP status -> gRPC status. FAILED_PRECONDITION comes as 400 too.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Most bytes of a value, with its comma and its share of the brackets.
_UINT8_SIZE, _NUMBER_SIZE = 5, 20


class Request(NamedTuple):
    """An HTTP request."""

    method: str  # of HTTP
    path: str  # of HTTP
    body: bytes | None  # JSON, or None
    name: str  # the signature, or `metadata`, for messages


class Codec:
    """Converts calls to requests and response bodies to outputs, without I/O.

    Args:
      target: the server and model.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        quote = urllib.parse.quote
        self._path = f"/v1/models/{quote(target.model, safe='')}"
        if target.version is not None:
            self._path += f"/versions/{target.version}"
        if target.label is not None:
            self._path += f"/labels/{quote(target.label, safe='')}"

    def metadata_request(self) -> Request:
        """The request for what `signatures.read` takes."""
        return Request("GET", f"{self._path}/metadata", None, "metadata")

    def read_metadata(self, body: bytes) -> Mapping:
        """Parses the answer to `metadata_request`."""
        return json_body.loads(body)["metadata"]["signature_def"]

    def predict_request(self, call: signatures.Call) -> Request:
        """The request for a call.

        Raises:
          ArgumentError: if it is too large.
        """
        inputs = {
            name: json_body.encode_base64(tensor) if tensor.dtype == np.object_ else tensor
            for name, tensor in call.inputs.items()
        }
        body = json_body.dumps({"signature_name": call.signature, "inputs": inputs})
        self._target.check_size(len(body), call.signature)
        return Request("POST", f"{self._path}:predict", body, call.signature)

    def read(self, body: bytes, outputs: Mapping[str, type]) -> signatures.Tensors:
        """Parses the answer to `predict_request`, whose outputs have these types."""
        values = json_body.loads(body)["outputs"]
        if len(outputs) == 1:
            values = dict.fromkeys(outputs, values)
        return {name: _array(values[name], dtype) for name, dtype in outputs.items()}


def size(tensor: np.ndarray) -> int:
    """An upper bound of a tensor's bytes in JSON."""
    if tensor.dtype == np.object_:
        return sum(4 * -(-len(data) // 3) + len('{"b64":""},') for data in tensor.flat)
    return tensor.size * (_UINT8_SIZE if tensor.dtype == np.uint8 else _NUMBER_SIZE)


class Transport:
    """Sends requests.

    Args:
      target: the server.
    """

    def __init__(self, target: Target) -> None:
        self._target, self._client = target, httpx.Client(**_client_options(target))

    def send(self, request: Request) -> bytes:
        """Sends a request and returns the body of the response.

        Raises:
          ServerError: if the request fails.
        """
        deadline, body = time.monotonic() + self._target.timeout, bytearray()
        with (
            _server_errors(self._target, request),
            self._client.stream(request.method, request.path, content=request.body) as response,
        ):
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError
        return _check_status(self._target, request, response, bytes(body))

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class AsyncTransport:
    """`Transport` for asyncio."""

    def __init__(self, target: Target) -> None:
        self._target, self._client = target, httpx.AsyncClient(**_client_options(target))

    async def send(self, request: Request) -> bytes:
        """See `Transport.send`."""
        with _server_errors(self._target, request):
            async with asyncio.timeout(self._target.timeout):
                response = await self._client.request(request.method, request.path, content=request.body)
        return _check_status(self._target, request, response, response.content)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _client_options(target: Target) -> dict:
    token = {} if target.token is None else {"Authorization": f"Bearer {target.token}"}
    return {
        "base_url": f"{'https' if target.ca_file else 'http'}://{target.server}",
        "verify": ssl.create_default_context(cafile=target.ca_file) if target.ca_file else False,
        "headers": {"Content-Type": "application/json", **token},
        "timeout": target.timeout,
        "trust_env": False,  # connect to the server directly, not through a proxy from the environment
    }


@contextlib.contextmanager
def _server_errors(target: Target, request: Request) -> Iterator[None]:
    """Raises httpx's exceptions as `ServerError`."""
    try:
        yield
    except (TimeoutError, httpx.TimeoutException):
        raise target.failure("DEADLINE_EXCEEDED", f"no answer in {target.timeout:g} s", request.name) from None
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise target.failure("UNAVAILABLE", str(error), request.name) from error


def _check_status(target: Target, request: Request, response: httpx.Response, body: bytes) -> bytes:
    """Returns the body of a successful response."""
    status = response.status_code
    if status == httpx.codes.OK:
        return body
    try:
        details = str(json_body.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        details = f"HTTP {status}"
    seconds = response.headers.get("retry-after", "")  # or a date, which is not used
    retry_after = float(seconds) if seconds.isdecimal() else None
    is_permanent = status == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    raise target.failure(_CODES.get(status, "UNKNOWN"), details, request.name, retry_after, is_permanent)


def _array(value: object, dtype: type) -> np.ndarray:
    return np.array(_decode_base64(value) if dtype == np.object_ else value, dtype)


def _decode_base64(value: object) -> object:
    if isinstance(value, list):
        return [_decode_base64(item) for item in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
