"""TF-Serving's REST API as an ASGI application: predict, metadata, status and metrics; health beside it.

Paths are matched as they were sent, undecoded, as TF-Serving does: `fo%6Dm` is another model than `fomm`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import TypeVar

import grpc
from google.protobuf import json_format
from starlette import requests, responses

from fomm_tf.serving import json_body
from fomm_tf.serving.local import core as cores
from fomm_tf.serving.local import grpc_guard, grpc_service, json_codec, metrics, servable, status

Answer = TypeVar("Answer")
Handler = Callable[..., Awaitable[responses.Response]]
_LOG = logging.getLogger(__name__)

MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_EXPECTED = (
    "expected /v1/models/NAME[/versions/N|/labels/LABEL] with :predict (POST), /metadata (GET) or no suffix (GET)."
)
_MAX_VERSION_DIGITS = 18
_OPEN = ("/docs", "/openapi.json")  # without a token; beside the two for health


class RestApp:
    """The ASGI application.

    Args:
      core: answers the requests.
      more_routes: methods, patterns of paths, and handlers beside TF-Serving's.
    """

    def __init__(self, core: cores.ServerCore, more_routes: Sequence[tuple[str, str, Handler]] = ()) -> None:
        self._core = core
        routes = [
            ("POST", f"{MODEL}:predict", self._predict),
            ("GET", f"{MODEL}/metadata", self._get_metadata),
            ("GET", MODEL, self._get_status),
            ("GET", re.escape(metrics.PATH), self._get_metrics),
            *more_routes,
        ]
        self._routes = [(method, re.compile(path), handler) for method, path, handler in routes]

    async def __call__(self, scope: MutableMapping, receive: Callable, send: Callable) -> None:
        """Answers one request."""
        start, request = time.perf_counter(), requests.Request(scope, receive)
        with self._core.hold_bytes() as held:
            response = await self._answer(request, held)
            line = f"{scope['method']} {_path(request)} {response.status_code}"
            _LOG.info("%s %s %.1f ms", scope.get("client"), line, 1e3 * (time.perf_counter() - start))
            await response(scope, receive, functools.partial(_send_and_drain, send))

    async def _answer(self, request: requests.Request, held: cores.HeldBytes) -> responses.Response:
        try:
            return await self._dispatch(request, held)
        except status.RpcError as error:
            headers = {}
            if error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                headers["retry-after"] = str(status.RETRY_AFTER)
            if error.code == grpc.StatusCode.UNAUTHENTICATED:
                headers["www-authenticate"] = "Bearer"
            return responses.JSONResponse({"error": error.message}, error.http_status, headers)
        except Exception:
            _LOG.exception("%s %s failed", request.method, _path(request))
            return responses.JSONResponse({"error": "internal error; see the server's log."}, 500)

    async def _dispatch(self, request: requests.Request, held: cores.HeldBytes) -> responses.Response:
        path = _path(request)
        if path == "/healthz" and request.method == "GET":
            return responses.PlainTextResponse("ok\n")
        if path == "/readyz" and request.method == "GET":
            is_ready = self._core.versions.is_ready() and not self._core.stopping.is_set()
            return responses.PlainTextResponse("ok\n" if is_ready else "not ready\n", 200 if is_ready else 503)
        if self._core.token is not None and path not in _OPEN:
            grpc_guard.check_token(self._core.token, request.headers.get("authorization", ""))
        for method, pattern, handler in self._routes:
            if request.method == method and (found := pattern.fullmatch(path)):
                return await handler(request, held, **found.groupdict())
        message = f"Malformed request: {request.method} {path[:200]}; {_EXPECTED}"
        code = grpc.StatusCode.INVALID_ARGUMENT if path.startswith("/v1/") else grpc.StatusCode.NOT_FOUND
        raise status.RpcError(code, message)

    async def _get_metrics(self, _: requests.Request, __: cores.HeldBytes) -> responses.Response:
        return responses.Response(self._core.metrics.page(), headers={"content-type": metrics.CONTENT_TYPE})

    async def _get_status(self, _: requests.Request, __: cores.HeldBytes, **path: str | None) -> responses.Response:
        model_status = grpc_service.get_status(self._core, *model_key(**path))
        return responses.JSONResponse(
            json_format.MessageToDict(
                model_status, preserving_proto_field_name=True, including_default_value_fields=True
            )
        )

    async def _get_metadata(self, _: requests.Request, __: cores.HeldBytes, **path: str | None) -> responses.Response:
        with self._core.versions.lease(*model_key(**path)) as version:
            return _json(await self._core.codecs.run(lambda: _metadata(path["name"], version)))

    async def _predict(
        self, request: requests.Request, held: cores.HeldBytes, **path: str | None
    ) -> responses.Response:
        core = self._core
        with core.record("REST"):
            key, deadline = model_key(**path), time.monotonic() + core.limits.timeout
            content = await self.read_body(request, held)
            with core.admit(), core.versions.lease(*key) as version:
                outputs = await cancel_on_disconnect(request, self._compute(version, content, deadline))
                held.set(len(outputs))
                return _json(outputs)

    async def _compute(self, version: servable.Servable, content: bytes, deadline: float) -> bytes:
        core = self._core
        call = functools.partial(json_codec.decode, content, version.inputs, core.sizes)
        prediction = await core.codecs.run(call, len(content))
        async with core.predict(version, prediction.signature, prediction.arrays, deadline) as outputs:
            size = sum(array.nbytes for array in outputs.values() if array.dtype != object)
            return await core.codecs.run(functools.partial(json_codec.encode, outputs, prediction.row_format), size)

    async def read_body(self, request: requests.Request, held: cores.HeldBytes) -> bytes:
        """Reads the body, up to the limit.

        Raises:
          status.RpcError: if it is too large, does not arrive in time, or exceeds the byte budget.
        """
        limits = self._core.limits
        too_large = status.RpcError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"request: got more than {limits.max_request_bytes:,} bytes, the server's limit; split the request.",
            http_status=status.CONTENT_TOO_LARGE,
        )
        content_length = request.headers.get("content-length", "")
        # uvicorn has checked that it is a number.
        if len(content_length) > 15 or int(content_length or 0) > limits.max_request_bytes:
            raise too_large
        body, more, deadline = bytearray(), True, time.monotonic() + limits.timeout
        while more:
            seconds = max(0.0, min(limits.idle_timeout, deadline - time.monotonic()))
            part = await self._core.wait_for_input(request.receive(), seconds)
            if part["type"] == "http.disconnect":
                raise status.cancelled()
            chunk, more = part.get("body", b""), part.get("more_body", False)
            if len(body) + len(chunk) > limits.max_request_bytes:
                raise too_large
            await held.add(len(chunk))
            body += chunk
        return bytes(body)


async def cancel_on_disconnect(request: requests.Request, coroutine: Coroutine[None, None, Answer]) -> Answer:
    """Awaits a coroutine, which is cancelled if the client disconnects; the body must have been read.

    Raises:
      status.RpcError: from the coroutine, or CANCELLED.
    """
    task, disconnect = asyncio.create_task(coroutine), asyncio.create_task(request.receive())
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise status.cancelled()
        return task.result()
    finally:
        task.cancel()
        disconnect.cancel()


async def _send_and_drain(send: Callable, message: MutableMapping) -> None:
    """Sends a part of a response; returns from the last one when the client has read nearly all.

    uvicorn waits for the client before it takes a part, not after it: the last one, or only one, would be in memory
    without counting as bytes that the request holds.
    """
    if message["type"] == "http.response.body" and not message.get("more_body", False):
        await send({**message, "more_body": True})
        message = {"type": "http.response.body"}
    await send(message)


def _path(request: requests.Request) -> str:
    """The path as it was sent."""
    return request.scope["raw_path"].decode("ascii", "backslashreplace")


def model_key(name: str, version: str | None, label: str | None) -> tuple[str, int | None, str | None]:
    """Name, version and label of the model in a path.

    Raises:
      status.RpcError: INVALID_ARGUMENT for a version that is no number of 64 bits.
    """
    if version is not None and len(version) > _MAX_VERSION_DIGITS:
        raise status.invalid_argument(f"version: got {version[:30]}...; expected at most {_MAX_VERSION_DIGITS} digits.")
    return name, None if version is None else int(version), label


def _metadata(name: str, version: servable.Servable) -> bytes:
    """As TF-Serving writes it: 64-bit integers as strings, and unset fields too."""
    definitions = json_format.MessageToDict(
        version.definitions, preserving_proto_field_name=True, including_default_value_fields=True
    )
    spec = {"name": name, "signature_name": "", "version": str(version.version)}
    return json_body.dumps({"model_spec": spec, "metadata": {grpc_service.METADATA_FIELD: definitions}})


def _json(content: bytes) -> responses.Response:
    return responses.Response(content, media_type="application/json")
