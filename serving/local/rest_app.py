"""TF-Serving's REST API as a Starlette application: predict, metadata, status and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TypeVar

import grpc
from google.protobuf import json_format
from starlette import applications, convertors, exceptions, requests, responses, routing

from fomm_tf.serving import json_body
from fomm_tf.serving.local import grpc_service, json_codec, metrics, servable, status
from fomm_tf.serving.local.core import Limits, ServerCore

Answer = TypeVar("Answer")

_CONTENT_TOO_LARGE = 413


class _NameConvertor(convertors.StringConvertor):
    """A model name or label: without the colon that precedes `predict`."""

    regex = "[^/:]+"


convertors.register_url_convertor("name", _NameConvertor())
_MODEL = "/v1/models/{name:name}"
_PATHS = (_MODEL, _MODEL + "/versions/{version:int}", _MODEL + "/labels/{label:name}")


def create_app(core: ServerCore) -> applications.Starlette:
    """Creates the application.

    Args:
      core: answers the requests.
    """

    async def get_metrics(_: requests.Request) -> responses.Response:
        return responses.Response(core.metrics.page(), media_type=metrics.CONTENT_TYPE)

    async def predict(request: requests.Request) -> responses.Response:
        with core.admit("REST"):
            return await _predict(core, request)

    async def get_status(request: requests.Request) -> responses.Response:
        model_status = grpc_service.get_status(core, *_model_key(request))
        return responses.JSONResponse(
            json_format.MessageToDict(
                model_status, preserving_proto_field_name=True, including_default_value_fields=True
            )
        )

    async def get_metadata(request: requests.Request) -> responses.Response:
        with core.versions.lease(*_model_key(request)) as version:
            return _json(await core.run_in_thread(lambda: _metadata(request.path_params["name"], version)))

    routes = [routing.Route(metrics.PATH, get_metrics, methods=["GET"])]
    for path in _PATHS:
        routes += [
            routing.Route(f"{path}:predict", predict, methods=["POST"]),
            routing.Route(f"{path}/metadata", get_metadata, methods=["GET"]),
            routing.Route(path, get_status, methods=["GET"]),
        ]
    handlers = {
        status.RpcError: _rpc_error,
        exceptions.HTTPException: _malformed_request,
        Exception: _internal_error,
    }
    app = applications.Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


async def _rpc_error(_: requests.Request, error: status.RpcError) -> responses.Response:
    return _error(error.http_status, error.message)


async def _malformed_request(request: requests.Request, _: exceptions.HTTPException) -> responses.Response:
    """Unknown paths and methods: 400, as in TF-Serving, instead of 404 and 405."""
    message = (
        f"Malformed request: {request.method} {request.url.path}; expected /v1/models/NAME[/versions/N|/labels/LABEL] "
        "with :predict (POST), /metadata (GET) or no suffix (GET)."
    )
    return _error(400, message)


async def _internal_error(_: requests.Request, __: Exception) -> responses.Response:
    return _error(500, "internal error; see the server's log.")


async def _predict(core: ServerCore, request: requests.Request) -> responses.Response:
    deadline = time.monotonic() + core.limits.timeout
    content = await _read_body(request, core.limits, deadline)
    with core.versions.lease(*_model_key(request)) as version:
        body = await core.run_in_thread(lambda: json_codec.parse(content))
        specs = version.inputs(body.signature)
        prediction = core.predict(
            version, body.signature, lambda: json_codec.decode(body, specs, core.limits.max_frames), deadline
        )
        outputs = await _cancel_on_disconnect(request, prediction)
        return _json(await core.run_in_thread(lambda: json_codec.encode(outputs, body.row_format)))


async def _cancel_on_disconnect(request: requests.Request, coroutine: Coroutine[None, None, Answer]) -> Answer:
    """Awaits a coroutine, which is cancelled if the client disconnects."""
    task, disconnect = asyncio.create_task(coroutine), asyncio.create_task(request.receive())
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _disconnected()
        return task.result()
    finally:
        task.cancel()
        disconnect.cancel()


async def _read_body(request: requests.Request, limits: Limits, deadline: float) -> bytes:
    """Reads the body, up to the limit."""
    too_large = status.RpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"request: got more than {limits.max_request_bytes:,} bytes, the server's limit; split the request.",
        http_status=_CONTENT_TOO_LARGE,
    )
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > limits.max_request_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_request_bytes:
                    raise too_large
    except TimeoutError:
        raise status.RpcError(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"the request did not arrive within {limits.timeout:g} s."
        ) from None
    except requests.ClientDisconnect:
        raise _disconnected() from None
    return bytes(body)


def _disconnected() -> status.RpcError:
    return status.RpcError(grpc.StatusCode.CANCELLED, "the client disconnected.")


def _model_key(request: requests.Request) -> tuple[str, int | None, str | None]:
    parameters = request.path_params
    return parameters["name"], parameters.get("version"), parameters.get("label")


def _metadata(name: str, version: servable.Servable) -> bytes:
    """As TF-Serving writes it: 64-bit integers as strings, and unset fields too."""
    definitions = json_format.MessageToDict(
        version.definitions, preserving_proto_field_name=True, including_default_value_fields=True
    )
    spec = {"name": name, "signature_name": "", "version": str(version.version)}
    return json_body.dumps({"model_spec": spec, "metadata": {grpc_service.METADATA_FIELD: definitions}})


def _json(content: bytes) -> responses.Response:
    return responses.Response(content, media_type="application/json")


def _error(status_code: int, message: str) -> responses.Response:
    return responses.JSONResponse({"error": message}, status_code)
