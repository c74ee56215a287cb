"""Clients of an exported model behind TF-Serving, or behind `fomm serve`.

Convention:
  * frames are `[H, W, 3]`, of the model's size: uint8, or float in [0, 1]; JPEG and PNG bytes may be of any size;
  * long inputs are split into requests that fit `max_message_bytes`, with the result of a single request;
  * while the server is unavailable or busy, a request is retried for `retry_timeout` seconds, later if the server says
    so; predictions have no side effects.

REST needs only numpy and httpx, and is faster with orjson; gRPC imports TensorFlow.
"""

from __future__ import annotations

import asyncio
import importlib
import time
import types
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fomm_tf.serving import calls, filtered_clip, signatures
from fomm_tf.serving.calls import EncodedSource
from fomm_tf.serving.target import ArgumentError, Backoff, MessageBudget, ServerError, Target
from fomm_tf.structures import Keypoints

__all__ = ["ArgumentError", "AsyncClient", "Client", "EncodedSource", "Keypoints", "ServerError"]

AnyClip = calls.Clip | filtered_clip.FilteredClip
PROTOCOLS = ("rest", "grpc")
BATCH_SIZE, TIMEOUT, RETRY_TIMEOUT = 8, 60.0, 30.0
_MAX_MESSAGE_BYTES = 16 * 2**20


class _Client:
    """The methods of both clients. `AsyncClient` wraps the types here: in awaitables, and in asynchronous iterators.

    A subclass implements `_run` and `_animate`, which send requests and wait for the answers.
    """

    _TRANSPORT: str  # name of the class in the protocol's module

    def __init__(
        self,
        server: str,
        model: str = "fomm",
        version: int | None = None,
        label: str | None = None,
        protocol: str = "rest",
        timeout: float = TIMEOUT,
        retry_timeout: float = RETRY_TIMEOUT,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        token: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        options = version, label, timeout, retry_timeout, max_message_bytes, token, ca_file
        self._target = Target(server, model, *options)
        protocol_module = _import_protocol(protocol)
        self._codec = protocol_module.Codec(self._target)
        self._budget = MessageBudget(protocol_module.size, max_message_bytes)
        self._transport = getattr(protocol_module, self._TRANSPORT)(self._target)
        self._cached_model: signatures.Model | None = None

    def detect(self, frames: np.ndarray) -> Keypoints:
        """Detects the keypoints of `[N, H, W, 3]` frames."""
        return self._run(calls.detect, frames)

    def encode_source(self, image: np.ndarray) -> EncodedSource:
        """Computes what depends on the source image alone: `[H, W, 3]` or `[1, H, W, 3]`."""
        return self._run(calls.encode_source, image)

    def transfer(
        self,
        source: EncodedSource,
        driving: Keypoints,
        initial: Keypoints,
        relative: bool = True,
        adapt_scale: bool = False,
    ) -> Keypoints:
        """Transfers motion to the source (Eq. 14-15).

        Args:
          source: from `encode_source`.
          driving: keypoints of N driving frames.
          initial: keypoints of the driving frame that relative motion starts from.
          relative: transfer the motion since that frame, not the pose itself.
          adapt_scale: scale it by the ratio of the two objects' sizes.

        Returns:
          Keypoints of N frames for `render`.
        """
        return self._run(calls.transfer, source, driving, initial, relative, adapt_scale)

    def render(self, source: EncodedSource, keypoints: Keypoints) -> np.ndarray:
        """Renders the source in N poses: `[N, H, W, 3]` float32 in [0, 1]."""
        return self._run(calls.render, source, keypoints)

    def animate(
        self,
        source: np.ndarray,
        driving: Iterable[np.ndarray],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = BATCH_SIZE,
        smooth: float = 0.0,
        motion_strength: float = 1.0,
        fps: float = 25.0,
    ) -> Iterator[np.ndarray]:
        """Animates an image with a clip, as a stream with constant memory.

        Args:
          source: the image.
          driving: the frames; consumed one request at a time.
          relative: transfer the motion since the first frame, not the pose itself.
          adapt_scale: scale it by the ratio of the two objects' sizes.
          batch_size: frames per request, fewer where `max_message_bytes` cannot hold so many.
          smooth: filters the keypoints, see `fomm_tf.motion_filters`; 0 is off. This and `motion_strength` take three
            requests per batch, with the features of the source in one of them.
          motion_strength: scales relative motion.
          fps: driving frames per second, for `smooth`.

        Returns:
          An iterator of `[H, W, 3]` uint8 frames, as many as in `driving`.
        """
        common = source, relative, adapt_scale, batch_size
        if smooth or motion_strength != 1:
            return self._animate(filtered_clip.FilteredClip, driving, *common, smooth, motion_strength, fps)
        return self._animate(calls.Clip, driving, calls.UINT8, *common)

    def animate_jpeg(
        self,
        source: bytes,
        driving: Iterable[bytes],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[bytes]:
        """Like `animate`, with JPEG or PNG bytes as inputs and JPEG bytes as outputs."""
        return self._animate(calls.Clip, driving, calls.JPEG, source, relative, adapt_scale, batch_size)

    def _read_model(self, answer: Any) -> signatures.Model:
        self._cached_model = self._decode(lambda: signatures.read(self._codec.read_metadata(answer)), "metadata")
        return self._cached_model

    def _read_outputs(self, answer: Any, call: signatures.Call) -> signatures.Tensors:
        outputs = self._cached_model.outputs
        return self._decode(lambda: self._codec.read(answer, outputs[call.signature]), call.signature)

    def _decode(self, decode: Callable[[], Any], request_name: str) -> Any:
        try:
            return decode()
        except (KeyError, TypeError, ValueError) as error:
            details = f"its answer is not that of an exported model ({type(error).__name__}: {error})"
            raise self._target.failure("FAILED_PRECONDITION", details, request_name) from error


class Client(_Client):
    """A synchronous client; thread-safe.

    Args:
      server: `HOST:PORT`, the port of the chosen protocol.
      model: the name it is served under.
      version: its version number.
      label: a version label, such as `stable`; without version and label the server uses its highest version.
      protocol: `rest` or `grpc`.
      timeout: deadline of a request, in seconds.
      retry_timeout: seconds for which a request is retried while the server is unavailable or busy.
      max_message_bytes: limit of a request, and of an answer as far as its size is known in advance.
      token: what the server asks for.
      ca_file: for TLS, the certificate of the server or of its authority, a PEM file.

    Raises:
      ArgumentError: for invalid arguments, here and in each method; nothing is sent then.
      ImportError: if the protocol's packages are not installed.
      ServerError: in each method, if a request fails.
    """

    _TRANSPORT = "Transport"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the model's frames."""
        return self._model().frame_size

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self._model().num_keypoints

    def _animate(self, make_clip: Callable[..., AnyClip], driving: Iterable, *arguments: Any) -> Iterator:
        # Invalid arguments are an error here, not when the first frame is read.
        return self._stream(make_clip(self._model(), self._budget, *arguments), driving)

    def _stream(self, clip: AnyClip, driving: Iterable) -> Iterator:
        for frame in driving:
            for call in clip.add(frame):
                yield from clip.read(self._predict(call))
        for call in clip.end():
            yield from clip.read(self._predict(call))

    def _run(self, method: Callable[..., calls.Steps], *arguments: Any) -> Any:
        steps, answer = method(self._model(), self._budget, *arguments), None
        while True:
            try:
                call = steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = self._predict(call)

    def _predict(self, call: signatures.Call) -> signatures.Tensors:
        return self._read_outputs(self._send(self._codec.predict_request(call)), call)

    def _model(self) -> signatures.Model:
        return self._cached_model or self._read_model(self._send(self._codec.metadata_request()))

    def _send(self, request: Any) -> Any:
        backoff = Backoff(self._target.retry_timeout)
        while True:
            try:
                return self._transport.send(request)
            except ServerError as error:
                time.sleep(backoff.next_delay(error))


class AsyncClient(_Client):
    """`Client` for asyncio: methods are coroutines, `animate` and `animate_jpeg` are asynchronous generators.

    Properties are awaited too: `await client.frame_size`. `driving` may be an asynchronous iterable; a synchronous one
    is iterated in the event loop.
    """

    _TRANSPORT = "AsyncTransport"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    @property
    async def frame_size(self) -> tuple[int, int]:
        """See `Client.frame_size`."""
        return (await self._model()).frame_size

    @property
    async def num_keypoints(self) -> int:
        """See `Client.num_keypoints`."""
        return (await self._model()).num_keypoints

    async def _animate(
        self, make_clip: Callable[..., AnyClip], driving: Iterable | AsyncIterable, *arguments: Any
    ) -> AsyncIterator:
        clip = make_clip(await self._model(), self._budget, *arguments)
        async for frame in _as_async(driving):
            for call in clip.add(frame):
                for result in clip.read(await self._predict(call)):
                    yield result
        for call in clip.end():
            for result in clip.read(await self._predict(call)):
                yield result

    async def _run(self, method: Callable[..., calls.Steps], *arguments: Any) -> Any:
        steps, answer = method(await self._model(), self._budget, *arguments), None
        while True:
            try:
                call = steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = await self._predict(call)

    async def _predict(self, call: signatures.Call) -> signatures.Tensors:
        return self._read_outputs(await self._send(self._codec.predict_request(call)), call)

    async def _model(self) -> signatures.Model:
        return self._cached_model or self._read_model(await self._send(self._codec.metadata_request()))

    async def _send(self, request: Any) -> Any:
        backoff = Backoff(self._target.retry_timeout)
        while True:
            try:
                return await self._transport.send(request)
            except ServerError as error:
                await asyncio.sleep(backoff.next_delay(error))


async def _as_async(frames: Iterable | AsyncIterable) -> AsyncIterator:
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
    else:
        for frame in frames:
            yield frame


def _import_protocol(protocol: str) -> types.ModuleType:
    """Imports the protocol's module, with the packages that only this protocol needs."""
    if protocol not in PROTOCOLS:
        raise ArgumentError(f"`protocol`: got {protocol!r}; expected {' or '.join(PROTOCOLS)}.")
    try:
        return importlib.import_module(f"fomm_tf.serving.{protocol}_transport")
    except ImportError as error:
        raise ImportError(
            f"`protocol` {protocol} needs packages that are not installed ({error}); install them with: "
            'pip install "fomm-tf[serving]"'
        ) from error
