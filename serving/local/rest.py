"""REST as TF-Serving speaks it: predict, metadata, status and metrics, in an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from typing import TypeVar

import orjson
from google.protobuf import json_format
from starlette import requests, responses, types

from serving.local import jsonbody, metrics, rpc, servable, status
from serving.local.core import Core, Limits

Answer = TypeVar("Answer")

_LOG = logging.getLogger(__name__)

_ADDRESS = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<action>:\w+|/metadata)?"
)
_TOO_LARGE = 413


def application(core: Core) -> types.ASGIApp:
    """The ASGI application.

    Args:
      core: what answers.
    """

    async def handle(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        try:
            response = await _answer(core, requests.Request(scope, receive))
        except status.Refused as error:
            response = _failure(error.http, error.message)
        except Exception:
            _LOG.exception("a request failed")
            response = _failure(500, "the server failed; its log says why.")
        await response(scope, receive, send)

    return handle


async def _answer(core: Core, request: requests.Request) -> responses.Response:
    if (request.method, request.url.path) == ("GET", metrics.PATH):
        return responses.Response(core.metrics.page(), media_type=metrics.CONTENT_TYPE)
    place = _ADDRESS.fullmatch(request.url.path)
    action = place and (place["action"] or "")
    if not place or (request.method, action) not in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
        raise servable.invalid(
            f"Malformed request: {request.method} {request.url.path}; there are "
            "/v1/models/NAME[/versions/N|/labels/L] with :predict (POST), /metadata or nothing (GET)."
        )
    version = None if place["version"] is None else int(place["version"])
    names = place["name"], version, place["label"]
    if action == ":predict":
        with core.admit("REST"):
            return await _predict(core, request, names)
    if action == "":
        found = rpc.status_of(core, *names)
        states = json_format.MessageToDict(found, preserving_proto_field_name=True, including_default_value_fields=True)
        return _json(orjson.dumps(states))
    with core.versions.lease(*names) as used:
        return _json(await core.work(lambda: _metadata(place["name"], used)))


async def _predict(
    core: Core, request: requests.Request, names: tuple[str, int | None, str | None]
) -> responses.Response:
    deadline = time.monotonic() + core.limits.seconds
    body = await _read(request, core.limits, deadline)
    with core.versions.lease(*names) as used:
        parsed = await core.work(lambda: jsonbody.parse(body))
        specs = used.inputs(parsed.signature)
        predicting = core.predict(
            used, parsed.signature, lambda: jsonbody.decode(parsed, specs, core.limits.frames), deadline
        )
        answer = await _while_asked(request, predicting)
        return _json(await core.work(lambda: jsonbody.encode(answer, parsed.by_rows)))


async def _while_asked(request: requests.Request, answering: Coroutine[None, None, Answer]) -> Answer:
    """The answer, which is not worked on any more when the client has gone."""
    working, leaving = asyncio.create_task(answering), asyncio.create_task(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise status.Refused(status.Code.CANCELLED, "the client has gone.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _read(request: requests.Request, limits: Limits, deadline: float) -> bytes:
    """The body, of no more than the limit."""
    too_large = status.Refused(
        status.Code.RESOURCE_EXHAUSTED,
        f"the request is larger than {limits.request_bytes:,} bytes; send it in parts.",
        http=_TOO_LARGE,
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.request_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.request_bytes:
                    raise too_large
    except TimeoutError:
        raise status.Refused(status.Code.DEADLINE_EXCEEDED, "the request did not arrive in time.") from None
    except requests.ClientDisconnect:
        raise status.Refused(status.Code.CANCELLED, "the client has gone.") from None
    return bytes(body)


def _metadata(name: str, used: servable.Servable) -> bytes:
    """As TF-Serving writes it: numbers of 64 bits as strings, fields that are not set too."""
    definitions = json_format.MessageToDict(
        used.definitions, preserving_proto_field_name=True, including_default_value_fields=True
    )
    spec = {"name": name, "signature_name": "", "version": str(used.version)}
    return orjson.dumps({"model_spec": spec, "metadata": {rpc.METADATA_FIELD: definitions}})


def _json(content: bytes, code: int = 200) -> responses.Response:
    return responses.Response(content, code, media_type="application/json")


def _failure(code: int, message: str) -> responses.Response:
    return _json(orjson.dumps({"error": message}), code)
