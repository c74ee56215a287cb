"""A client of an exported model behind TF-Serving, or behind `python -m serving local`.

Convention:
  * frames are `[H, W, 3]`, of the model's size: uint8, or float in [0, 1]; JPEG and PNG bytes may be of any size;
  * long inputs are cut into requests that fit `max_message_bytes`; a long clip is animated as if it were sent at once;
  * a request that meets no server is repeated until `patience` is over: predictions are pure, so it does no harm.

REST needs numpy and httpx alone; gRPC loads TensorFlow.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import types
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import numpy as np

from serving import calls, clips, connection, failures, signatures
from serving.arguments import Keypoints
from serving.calls import Encoded
from serving.failures import ArgumentError, ServerError

__all__ = ["ArgumentError", "AsyncClient", "Client", "Encoded", "Keypoints", "ServerError"]

DEFAULT_BATCH = 8


class Client(connection.Connection):
    """The client; threads may share it.

    Args:
      server: `HOST:PORT`, of REST or gRPC as the protocol is.
      model: the name that it is served by.
      version: its number.
      label: a version's label, such as `stable`; with neither the server takes its highest version.
      protocol: `rest` or `grpc`.
      timeout: seconds that a request may take.
      patience: seconds for which a request is repeated while the server is unavailable.
      max_message_bytes: of a request, and of an answer as far as it can be told beforehand.

    Raises:
      ArgumentError: for arguments that will not do, here and in each method; nothing is sent then.
      ImportError: if the protocol's packages are not installed.
      ServerError: in each method, if there is no answer.
    """

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

    def detect(self, frames: np.ndarray) -> Keypoints:
        """Finds the keypoints of `[N, H, W, 3]` frames."""
        return self._follow(calls.detect, frames)

    def encode(self, image: np.ndarray) -> Encoded:
        """Computes what depends on the source picture alone, `[H, W, 3]` or `[1, H, W, 3]`."""
        return self._follow(calls.encode, image)

    def transfer(
        self,
        encoded: Encoded,
        driving: Keypoints,
        initial: Keypoints,
        relative: bool = True,
        adapt_scale: bool = False,
    ) -> Keypoints:
        """Carries motion over to the source (Eq. 14-15).

        Args:
          encoded: the source.
          driving: keypoints of N driving frames.
          initial: keypoints of the one from which relative motion starts.
          relative: carry over the motion from there, not the pose itself.
          adapt_scale: scale it by the sizes of the two objects.

        Returns:
          N keypoints for `render`.
        """
        return self._follow(calls.transfer, encoded, driving, initial, relative, adapt_scale)

    def render(self, encoded: Encoded, keypoints: Keypoints) -> np.ndarray:
        """Renders the source in N poses: `[N, H, W, 3]` float32 in [0, 1]."""
        return self._follow(calls.render, encoded, keypoints)

    def animate(
        self,
        source: np.ndarray,
        driving: Iterable[np.ndarray],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = DEFAULT_BATCH,
    ) -> Iterator[np.ndarray]:
        """Animates a picture by a clip, as a stream that keeps no frame.

        Args:
          source: the picture.
          driving: its frames; a part at a time is taken.
          relative: carry over the motion from the first frame, not the pose itself.
          adapt_scale: scale it by the sizes of the two objects.
          batch_size: frames a request, fewer where `max_message_bytes` cannot hold so many.

        Returns:
          An iterator of `[H, W, 3]` uint8 frames, as many as in `driving`.
        """
        return self._animate(clips.LEVELS, driving, source, relative, adapt_scale, batch_size)

    def animate_jpeg(
        self,
        source: bytes,
        driving: Iterable[bytes],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = DEFAULT_BATCH,
    ) -> Iterator[bytes]:
        """As `animate`, from bytes of JPEG or PNG pictures to those of JPEG pictures."""
        return self._animate(clips.PICTURES, driving, source, relative, adapt_scale, batch_size)

    def _animate(self, form: clips.Form, driving: Iterable, *options: Any) -> Iterator:
        return self._stream(clips.Clip(self._model(), self._room, form, *options), driving)

    def _stream(self, clip: clips.Clip, driving: Iterable) -> Iterator:
        for ready in itertools.chain(map(clip.add, driving), [clip.end()]):
            for call in ready:
                yield from clip.read(self._predict(call))

    def _follow(self, steps: Callable[..., calls.Steps], *given: Any) -> Any:
        following = steps(self._model(), self._room, *given)
        answer = None
        while True:
            try:
                call = following.send(answer)
            except StopIteration as end:
                return end.value
            answer = self._predict(call)

    def _predict(self, call: signatures.Call) -> signatures.Tensors:
        return self._understand(self._send(self._codec.ask(call)), call)

    def _model(self) -> signatures.Model:
        return self._known or self._learn(self._send(self._codec.ask_metadata()))

    def _send(self, request: Any) -> Any:
        retries = failures.Retries(self._target.patience)
        while True:
            try:
                return self._transport.send(request)
            except ServerError as error:
                time.sleep(retries.after(error))

    def _connect(self, wire: types.ModuleType) -> Any:
        return wire.Transport(self._target)


class AsyncClient(connection.Connection):
    """`Client` for asyncio: its methods as coroutines, `animate` and `animate_jpeg` as asynchronous generators.

    Properties are awaited too: `await client.frame_size`. A plain `driving` is read in the event loop.
    """

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

    async def detect(self, frames: np.ndarray) -> Keypoints:
        """See `Client.detect`."""
        return await self._follow(calls.detect, frames)

    async def encode(self, image: np.ndarray) -> Encoded:
        """See `Client.encode`."""
        return await self._follow(calls.encode, image)

    async def transfer(
        self,
        encoded: Encoded,
        driving: Keypoints,
        initial: Keypoints,
        relative: bool = True,
        adapt_scale: bool = False,
    ) -> Keypoints:
        """See `Client.transfer`."""
        return await self._follow(calls.transfer, encoded, driving, initial, relative, adapt_scale)

    async def render(self, encoded: Encoded, keypoints: Keypoints) -> np.ndarray:
        """See `Client.render`."""
        return await self._follow(calls.render, encoded, keypoints)

    def animate(
        self,
        source: np.ndarray,
        driving: Iterable[np.ndarray] | AsyncIterable[np.ndarray],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = DEFAULT_BATCH,
    ) -> AsyncIterator[np.ndarray]:
        """See `Client.animate`."""
        return self._animate(clips.LEVELS, driving, source, relative, adapt_scale, batch_size)

    def animate_jpeg(
        self,
        source: bytes,
        driving: Iterable[bytes] | AsyncIterable[bytes],
        relative: bool = True,
        adapt_scale: bool = False,
        batch_size: int = DEFAULT_BATCH,
    ) -> AsyncIterator[bytes]:
        """See `Client.animate_jpeg`."""
        return self._animate(clips.PICTURES, driving, source, relative, adapt_scale, batch_size)

    async def _animate(self, form: clips.Form, driving: Iterable | AsyncIterable, *options: Any) -> AsyncIterator:
        clip = clips.Clip(await self._model(), self._room, form, *options)
        async for ready in _parts(clip, driving):
            for call in ready:
                for frame in clip.read(await self._predict(call)):
                    yield frame

    async def _follow(self, steps: Callable[..., calls.Steps], *given: Any) -> Any:
        following = steps(await self._model(), self._room, *given)
        answer = None
        while True:
            try:
                call = following.send(answer)
            except StopIteration as end:
                return end.value
            answer = await self._predict(call)

    async def _predict(self, call: signatures.Call) -> signatures.Tensors:
        return self._understand(await self._send(self._codec.ask(call)), call)

    async def _model(self) -> signatures.Model:
        return self._known or self._learn(await self._send(self._codec.ask_metadata()))

    async def _send(self, request: Any) -> Any:
        retries = failures.Retries(self._target.patience)
        while True:
            try:
                return await self._transport.send(request)
            except ServerError as error:
                await asyncio.sleep(retries.after(error))

    def _connect(self, wire: types.ModuleType) -> Any:
        return wire.AsyncTransport(self._target)


async def _parts(clip: clips.Clip, driving: Iterable | AsyncIterable) -> AsyncIterator[Iterator[signatures.Call]]:
    if isinstance(driving, AsyncIterable):
        async for frame in driving:
            yield clip.add(frame)
    else:
        for frame in driving:
            yield clip.add(frame)
    yield clip.end()
