"""Live animation: a source that follows the frames of a camera, one by one; and the sessions of the page that do so."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import secrets
import threading
import time

import numpy as np

from fomm_tf import detectors, errors, motion_filters, structures, video
from fomm_tf.app import limits
from fomm_tf.data.prepare.segments import Square
from fomm_tf.inference import animator, crops, faces, framing, stream

# What the filter of keypoints assumes; a camera's true rate depends on the machine.
FPS = 15
# Of a frame that a browser sends.
_MAX_FRAME_BYTES, _MAX_FRAME_PIXELS = 400_000, 1_000_000
_JPEG_QUALITY = 85
# A browser that sends nothing for so long has gone.
_IDLE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a camera drives a source.

    Attributes:
      mode: `relative` motion starts from the frame at which it was centered; `absolute` transfers the pose itself.
      smooth: strength of the filter of keypoints; 0 for none.
      strength: scales relative motion.
      adapt_scale: scale it by the sizes of the two objects; None as in the model's config.
    """

    mode: str = "relative"
    smooth: float = 1.0
    strength: float = 1.0
    adapt_scale: bool | None = None


class LiveAnimator:
    """Animates a source by the frames of a camera.

    Where the model was trained on crops, the object is searched in the first frame and when the motion is centered
    again; its square then stays.

    Args:
      model: animates.
      image: the source, `[H, W, 3]` uint8 of any size.
      settings: see `Settings`.

    Raises:
      errors.UserError: for settings that cannot be used.
    """

    def __init__(self, model: animator.Animator, image: np.ndarray, settings: Settings = Settings()) -> None:
        self._model, self._settings = model, settings
        self._size, trained = tuple(model.config.model.frame_size), model.config.animate.crop
        transfer = model.config.animate
        adapt_scale = transfer.adapt_scale if settings.adapt_scale is None else settings.adapt_scale
        self._transfer = dataclasses.replace(transfer, mode=settings.mode, adapt_scale=adapt_scale)
        motion_filters.check_strength(settings.strength)
        self._smooth = motion_filters.KeypointSmoother(settings.smooth, FPS) if settings.smooth else None
        choice = framing.Framing()
        self._crop = framing.resolve_crop(choice.driving, trained)
        source = framing.open_source(image, "the source", choice, trained)
        self._source = model.encode_source(next(source.moments(self._size)).images[0])
        self._detect = None if self._crop == crops.OFF else detectors.load_boxes(self._crop)
        self._square: Square | None = None
        self._initial: structures.Keypoints | None = None

    @property
    def is_cropped(self) -> bool:
        """Whether the object is searched in the frames; otherwise their center is used."""
        return self._detect is not None

    @property
    def side(self) -> int:
        """Of the model's frames: the longer one, in pixels."""
        return max(self._size)

    def recenter(self) -> None:
        """Makes relative motion start from the next frame."""
        self._initial = self._square = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Animates the source by the next frame.

        Args:
          frame: `[H, W, 3]` uint8, of any size.

        Returns:
          `[h, w, 3]` uint8, of the model's size.
        """
        is_first = self._initial is None
        if is_first and self._detect is not None:
            self._square = self._find_square(frame)
        square = self._square
        fitted = video.resize(frame, self._size) if square is None else crops.crop(frame, square, self._size)
        keypoints = self._model.detect(fitted[np.newaxis]).map(np.asarray)
        if self._smooth is not None:
            keypoints = self._smooth(keypoints, (0,) if is_first else ())
        if is_first:
            self._initial = keypoints
        rendering = stream.render_transferred(
            self._model, self._source, keypoints, self._initial, self._transfer, self._settings.strength
        )
        return video.to_uint8(np.asarray(rendering.prediction)[0])

    def _find_square(self, frame: np.ndarray) -> Square | None:
        found = faces.number_faces(faces.find_all(self._detect, frame))
        if not found:
            return None
        (face,) = faces.choose_faces(found, faces.LARGEST, "the camera")
        return crops.place_square(face.box, frame.shape[:2], crops.margins(self._crop))


class _Session:
    """A visitor's camera."""

    def __init__(self, owner: str, live: LiveAnimator) -> None:
        self.owner, self.live = owner, live
        self.lock = threading.Lock()
        self.used = time.monotonic()
        self.last = -1


class LiveSessions:
    """The cameras that are used at once.

    Args:
      max_sessions: how many.
    """

    def __init__(self, max_sessions: int = limits.Limits.live_sessions) -> None:
        self._max_sessions = max_sessions
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def check_room(self, owner: str) -> None:
        """Ends the owner's earlier session.

        Raises:
          errors.UserError: if too many cameras of others are used.
        """
        self.close(owner)
        with self._lock:
            now = time.monotonic()
            self._sessions = {token: each for token, each in self._sessions.items() if now - each.used < _IDLE_SECONDS}
            if len(self._sessions) >= self._max_sessions:
                raise errors.UserError(f"The limit of {self._max_sessions} cameras is reached; try again later.")

    def open(self, owner: str, live: LiveAnimator) -> str:
        """Starts a session.

        Returns:
          Its unguessable name.

        Raises:
          errors.UserError: see `check_room`.
        """
        self.check_room(owner)
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._sessions[token] = _Session(owner, live)
        return token

    def close(self, owner: str) -> None:
        """Ends the session of a visitor."""
        with self._lock:
            self._sessions = {token: each for token, each in self._sessions.items() if each.owner != owner}

    def recenter(self, owner: str) -> None:
        """Makes relative motion of a visitor start from the next frame."""
        with self._lock:
            for session in self._sessions.values():
                if session.owner == owner:
                    session.live.recenter()

    def animate(self, token: str, number: int, image: str) -> str | None:
        """Animates a frame.

        Args:
          token: from `open`.
          number: of the frame; frames that come after a later one are dropped.
          image: a JPEG file in base64.

        Returns:
          The result, as `image`; None if the frame was dropped.

        Raises:
          errors.UserError: if there is no such session, or the image cannot be used.
        """
        session = self._sessions.get(token)
        if session is None:
            raise errors.UserError("The camera was stopped; start it again.")
        frame = decode(image)
        with session.lock:
            session.used = time.monotonic()
            if number <= session.last:
                return None
            session.last = number
            return encode(session.live(frame))


def decode(image: str) -> np.ndarray:
    """Reads a JPEG file in base64: `[H, W, 3]` uint8.

    Raises:
      errors.UserError: if it is none, or too large.
    """
    from fomm_tf.opencv import cv2

    if len(image) > _MAX_FRAME_BYTES:
        raise errors.UserError(f"A frame of the camera has {len(image)} bytes; expected at most {_MAX_FRAME_BYTES}.")
    try:
        data = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    size = video.declared_size(data)
    if size is None or size[0] * size[1] > _MAX_FRAME_PIXELS:
        raise errors.UserError(f"A frame of the camera must be a JPEG file of at most {_MAX_FRAME_PIXELS:,} pixels.")
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if frame is None:
        raise errors.UserError("A frame of the camera is damaged.")
    return np.ascontiguousarray(frame[..., ::-1])


def encode(frame: np.ndarray) -> str:
    """A frame as a JPEG file in base64."""
    from fomm_tf.opencv import cv2

    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(data.tobytes()).decode()
