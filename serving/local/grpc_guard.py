"""What protects every gRPC method: the token, time limits for messages, the byte budget, and statuses for errors.

gRPC reads the message of a unary method before the method is called, without a limit of time, and sends its answer
after the method has ended. So each method is served as one of streams, which is the same on the wire: its messages are
read and written here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from google.protobuf import message

from fomm_tf.serving.local import core as cores
from fomm_tf.serving.local import status

_LOG = logging.getLogger(__name__)
# Methods that load balancers call without a token.
_OPEN = "/grpc.health.v1.Health/"
# Calls without an end at once, such as those that watch the server's health, for which no token is needed.
_MAX_WATCHERS = 32


class Guard(grpc.aio.ServerInterceptor):
    """Wraps each method.

    Args:
      core: with the limits and the token.
    """

    def __init__(self, core: cores.ServerCore) -> None:
        self._core = core
        self._streams: set[asyncio.Task] = set()

    def end_streams(self) -> None:
        """Ends the calls that would not end by themselves."""
        for task in self._streams:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(details)
        if handler is None:
            return None

        async def read(context: grpc.aio.ServicerContext, held: cores.HeldBytes) -> message.Message | None:
            """Reads a message; None at the end of the stream."""
            await held.add(self._core.limits.max_request_bytes)
            data = await self._core.wait_for_input(context.read(), self._core.limits.idle_timeout)
            held.set(0 if data is grpc.aio.EOF else len(data))
            if data is grpc.aio.EOF:
                return None
            try:
                return handler.request_deserializer(data)
            except message.DecodeError:
                raise status.invalid_argument(f"request to {details.method}: the message cannot be parsed.") from None

        async def call(_: object, context: grpc.aio.ServicerContext) -> None:
            async with self._checked(details, context) as held:
                request = await read(context, held)
                status.require(request is not None, f"request to {details.method}: got no message; expected one.")
                answer = handler.response_serializer(await handler.unary_unary(request, context))
                del request
                held.set(len(answer))
                try:
                    await context.write(answer)
                except Exception:  # of a call that has ended meanwhile
                    raise status.cancelled() from None

        async def stream(_: object, context: grpc.aio.ServicerContext) -> None:
            async def requests() -> AsyncIterator[message.Message]:
                while (request := await read(context, held)) is not None:
                    yield request

            async with self._checked(details, context) as held:
                if len(self._streams) >= _MAX_WATCHERS:
                    raise status.unavailable(f"{_MAX_WATCHERS} calls without an end are served")
                self._streams.add(asyncio.current_task())
                try:
                    if handler.request_streaming:
                        answers = handler.stream_stream(requests(), context)
                    else:
                        answers = handler.unary_stream(await anext(requests(), None), context)
                    if inspect.isawaitable(answers):  # it writes them itself
                        await answers
                    else:
                        async for answer in answers:
                            await context.write(answer)
                except asyncio.CancelledError:
                    if not self._core.stopping.is_set():
                        raise
                    raise status.unavailable("the server is stopping") from None
                finally:
                    self._streams.discard(asyncio.current_task())

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)
        return grpc.stream_stream_rpc_method_handler(call)

    @contextlib.asynccontextmanager
    async def _checked(
        self, details: grpc.HandlerCallDetails, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[cores.HeldBytes]:
        """Yields the call's share of the byte budget; aborts the call with the status of an error."""
        start, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            self._check_token(details)
            with self._core.hold_bytes() as held:
                yield held
        except status.RpcError as error:
            code = error.code
            if code == grpc.StatusCode.UNAVAILABLE:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", str(1000 * status.RETRY_AFTER))])
            await context.abort(code, error.message)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception:
            _LOG.exception("%s failed", details.method)
            code = grpc.StatusCode.INTERNAL
            await context.abort(code, "internal error; see the server's log.")
        finally:
            _LOG.info(
                "%s %s %s %.1f ms", context.peer(), details.method, code.name, 1e3 * (time.perf_counter() - start)
            )

    def _check_token(self, details: grpc.HandlerCallDetails) -> None:
        if self._core.token is None or details.method.startswith(_OPEN):
            return
        sent = dict(details.invocation_metadata).get("authorization", "")
        check_token(self._core.token, sent if isinstance(sent, str) else "")


def check_token(token: str, header: str) -> None:
    """Checks an `Authorization` header.

    Raises:
      status.RpcError: UNAUTHENTICATED.
    """
    if not hmac.compare_digest(f"Bearer {token}".encode(), header.encode()):
        raise status.RpcError(
            grpc.StatusCode.UNAUTHENTICATED,
            "authorization: got no valid token; expected the header `Authorization: Bearer TOKEN`.",
        )
