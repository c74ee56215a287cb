"""`fomm webcam`: a camera drives a source, shown in a window, as a virtual camera, or written to a file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from fomm_tf import errors, video
from fomm_tf.app import live
from fomm_tf.opencv import cv2

_TITLE = "fomm webcam"
_FPS = 30
_WINDOW_SIDE = 512
_QUIT, _RECENTER = {ord("q"), 27}, {ord("r"), ord(" ")}


class Camera:
    """The newest frame of a camera, read in a thread: older ones are dropped.

    Args:
      source: the number of a camera, or the path of a video that stands in for one, at its own rate.

    Attributes:
      dropped: how many frames were replaced before they were used.

    Raises:
      errors.UserError: if it cannot be opened.
    """

    def __init__(self, source: int | str) -> None:
        self.dropped = 0
        self._source = source
        self._newest: tuple[np.ndarray, float] | None = None
        self._condition, self._has_ended = threading.Condition(), False
        self._frames = _read_camera(source) if isinstance(source, int) else _read_file(source)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yields the newest frame, `[H, W, 3]` uint8, and when it came, by `time.perf_counter`."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._newest is not None or self._has_ended)
                if self._newest is None:
                    return
                frame, self._newest = self._newest, None
            yield frame

    def close(self) -> None:
        """Stops the thread."""
        with self._condition:
            self._has_ended = True
        self._thread.join()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._condition:
                    if self._has_ended:
                        break
                    self.dropped += self._newest is not None
                    self._newest = frame, time.perf_counter()
                    self._condition.notify()
        finally:
            self._frames.close()
            with self._condition:
                self._has_ended = True
                self._condition.notify()


def _read_camera(number: int) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise errors.UserError(f"`camera` {number} cannot be opened; connect one, or give the number of another.")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read() -> Iterator[np.ndarray]:
        try:
            while True:
                is_read, frame = capture.read()
                if not is_read:
                    return
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            capture.release()

    return read()


def _read_file(path: str) -> Iterator[np.ndarray]:
    clip = video.open_video(path)

    def read() -> Iterator[np.ndarray]:
        begin = time.perf_counter()
        for index, frame in enumerate(clip):
            time.sleep(max(0.0, begin + float(index / clip.fps) - time.perf_counter()))
            yield frame

    return read()


class Output(Protocol):
    """What shows the frames."""

    def show(self, frame: np.ndarray) -> int:
        """Shows a frame, `[H, W, 3]` uint8; returns the code of the key that was pressed, or -1."""


class Window:
    """A window with the animation; q or Esc ends, r or space recenters."""

    def show(self, frame: np.ndarray) -> int:
        """See `Output`."""
        scale = max(1, _WINDOW_SIDE // max(frame.shape[:2]))
        large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        cv2.imshow(_TITLE, large[..., ::-1])
        return cv2.waitKey(1) & 0xFF


class VirtualCamera:
    """A camera that other programs can choose, of the package pyvirtualcam.

    Args:
      size: `(H, W)` of its frames.

    Raises:
      errors.UserError: if the package or its driver is missing.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        try:
            import pyvirtualcam
        except ImportError:
            raise errors.UserError(
                "`virtual_camera` needs the package pyvirtualcam; install it with: pip install pyvirtualcam"
            ) from None
        try:
            self._camera = pyvirtualcam.Camera(width=size[1], height=size[0], fps=_FPS)
        except RuntimeError as error:
            raise errors.UserError(
                f"`virtual_camera` has no driver ({error}); install v4l2loopback on Linux, or OBS."
            ) from None

    @property
    def device(self) -> str:
        """Its name in other programs."""
        return self._camera.device

    def show(self, frame: np.ndarray) -> int:
        """See `Output`."""
        self._camera.send(frame)
        return -1

    def close(self) -> None:
        """Ends the camera."""
        self._camera.close()


class Recording:
    """A video file.

    Args:
      writer: from `fomm_tf.video.write_video`.
    """

    def __init__(self, writer: video.VideoWriter) -> None:
        self._writer = writer

    def show(self, frame: np.ndarray) -> int:
        """See `Output`."""
        self._writer.write(frame)
        return -1


class Summary(NamedTuple):
    """What was shown: frames, frames per second, the median delay from camera to output in seconds, dropped frames."""

    frames: int
    fps: float
    latency: float
    dropped: int


@contextlib.contextmanager
def open_outputs(
    size: tuple[int, int], window: bool, virtual_camera: bool, out: str | None, report: Callable[[str], object]
) -> Iterator[list[Output]]:
    """Opens what shows the frames.

    Args:
      size: `(H, W)` of the frames.
      window: show a window.
      virtual_camera: see `VirtualCamera`.
      out: path of a video to write.
      report: receives a line about the virtual camera.

    Raises:
      errors.UserError: if one cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        outputs: list[Output] = []
        if virtual_camera:
            camera = stack.enter_context(contextlib.closing(VirtualCamera(size)))
            report(f"virtual camera: {camera.device}")
            outputs.append(camera)
        if out is not None:
            outputs.append(Recording(stack.enter_context(video.write_video(out, live.FPS))))
        if window:
            try:
                cv2.namedWindow(_TITLE)
            except cv2.error:
                raise errors.UserError(
                    "no window can be shown here; give `no_window` with `virtual_camera` or `out`."
                ) from None
            stack.callback(cv2.destroyAllWindows)
            outputs.append(Window())
        yield outputs


def run(animated: live.LiveAnimator, camera: Camera, outputs: list[Output], mirror: bool = True) -> Summary:
    """Animates until the camera ends, or a key ends it.

    Args:
      animated: the source.
      camera: drives it; closed at the end.
      outputs: show the frames.
      mirror: turn the frames of the camera left to right, as in a mirror.

    Raises:
      errors.UserError: if the camera shows nothing, or an output fails.
    """
    delays, begin = [], time.perf_counter()
    try:
        for frame, came in camera.frames():
            result = animated(np.ascontiguousarray(frame[:, ::-1]) if mirror else frame)
            keys = {output.show(result) for output in outputs}
            delays.append(time.perf_counter() - came)
            if keys & _QUIT:
                break
            if keys & _RECENTER:
                animated.recenter()
    finally:
        camera.close()
    if not delays:
        raise errors.UserError("`camera` shows no frames; choose another one.")
    return Summary(len(delays), len(delays) / (time.perf_counter() - begin), float(np.median(delays)), camera.dropped)
