"""What of the source and of the driving video is animated: the user's choice of crops and faces, applied to files.

A source image has one square per animated face, or none: then the whole image is fitted to the model. A video, as
source or driving, has one square per frame, or none.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, video
from fomm_tf.data.prepare import settings
from fomm_tf.data.prepare.segments import Square
from fomm_tf.inference import crops, faces, paste, scenes

Load = Callable[[str], detectors.Detector[list[detectors.Boxes]]]


class Framing(NamedTuple):
    """The user's choice.

    Attributes:
      source: crop of the source, from `crops.parse_crop`.
      driving: crop of the driving video, likewise.
      face: `largest`, `all` or the number of a face of the source; videos as source have `largest` only.
      follow: move the squares of videos with the object.
      paste_back: put the animated squares back into the source.
      fit: how what is not cropped is brought to the model's size; see `fomm_tf.video.resize`.
    """

    source: str | Square = crops.AUTO
    driving: str | Square = crops.AUTO
    face: str = faces.LARGEST
    follow: bool = False
    paste_back: bool = False
    fit: str = "crop"


def resolve_crop(crop: str | Square, trained: str) -> str | Square:
    """What `auto` means for a model: the crops it was trained on, or `off` if their detector is not installed.

    Args:
      crop: from `crops.parse_crop`; returned as it is unless it is `auto`.
      trained: `face`, `body`, or `none` if the model was trained on whole frames.
    """
    if crop != crops.AUTO:
        return crop
    return trained if trained != settings.WHOLE and detectors.are_installed() else crops.OFF


def warn_without_detectors(framing: Framing, trained: str) -> None:
    """Warns if `auto` has no detector; then the centers of frames are used.

    Warns:
      VideoNote: once for source and driving video.
    """
    is_auto = crops.AUTO in (framing.source, framing.driving)
    if is_auto and trained != settings.WHOLE and not detectors.are_installed():
        warnings.warn(
            f"`crop` auto: the detector of the {trained} is not installed, so the center of the frame is used; "
            "install it with: fomm fetch detectors.",
            video.VideoNote,
            stacklevel=3,
        )


class Moment(NamedTuple):
    """What is animated in one frame of the output.

    Attributes:
      original: `[H, W, 3]` uint8, the source image, or the frame of a source video.
      images: what the model animates, one per square, `[*size, 3]` uint8 each.
      squares: where `images` are from, and where they are pasted back; empty if whole images are animated.
      scene: number of cuts before the frame in a source video.
    """

    original: np.ndarray
    images: list[np.ndarray]
    squares: list[Square]
    scene: int = 0


class SourceImage:
    """The squares of a source image.

    Args:
      image: `[H, W, 3]` uint8.
      name: of the file, for messages.
      framing: the user's choice.
      trained: see `resolve_crop`.
      load: loads a detector by its name.

    Attributes:
      squares: one per animated face; empty if the whole image is animated.

    Warns:
      VideoNote: if `auto` finds nothing; then the whole image is animated.

    Raises:
      errors.UserError: if the chosen face is not found, or the crop cannot be used.
    """

    def __init__(
        self, image: np.ndarray, name: str, framing: Framing, trained: str, load: Load = detectors.load_boxes
    ) -> None:
        self._image, self._framing, self._name = image, framing, name
        self.squares: list[Square] = []
        is_detected = False
        crop = resolve_crop(framing.source, trained)
        if isinstance(crop, Square):
            crops.check_square(crop, image.shape[:2], name)
            self.squares = [crop]
        elif crop != crops.OFF:
            self._detect(crop, load)
            is_detected = bool(self.squares)
        if framing.face != faces.LARGEST and not is_detected:
            raise errors.UserError(
                f"`face` {framing.face} needs detected faces; got none in {name}: give `crop` face, or omit `face`."
            )
        if framing.face == faces.ALL and not framing.paste_back:
            raise errors.UserError("`face` all needs `paste_back`, as the output shows all faces in one image.")
        if not self.squares:
            check_paste_back(framing)

    def _detect(self, crop: str, load: Load) -> None:
        found = faces.number_faces(faces.find_all(load(crop), self._image))
        if not found and self._framing.source == crops.AUTO:
            warnings.warn(
                f"{self._name} shows no {crop} that is found, so the center of the image is used; name the place with "
                "`crop` X,Y,W,H.",
                video.VideoNote,
                stacklevel=4,
            )
            return
        chosen = faces.choose_faces(found, self._framing.face, self._name)
        frame_size, margins = self._image.shape[:2], crops.margins(crop)
        self.squares = [crops.place_square(face.box, frame_size, margins) for face in chosen]

    def moments(self, size: tuple[int, int]) -> Iterator[Moment]:
        """Yields the same moment without end; `size` is that of the model's frames."""
        images = [crops.crop(self._image, square, size) for square in self.squares]
        images = images or [video.resize(self._image, size, self._framing.fit)]
        return itertools.repeat(Moment(self._image, images, self.squares))

    def describe(self) -> Iterator[str]:
        """Says what is cropped."""
        for square in self.squares:
            yield f"{self._name}: cropped to {crops.describe(square)}"


class Compositor:
    """Puts animated squares back into the frames of a source, if the user chose that.

    Args:
      framing: the user's choice.
    """

    def __init__(self, framing: Framing) -> None:
        self._paste_back = framing.paste_back
        self._pasters: list[paste.Paster] = []
        self._scene = 0

    def __call__(self, moment: Moment, animated: Sequence[np.ndarray]) -> np.ndarray:
        """The output frame: the source with all animated squares, or the animation of its only square.

        Args:
          moment: of the source.
          animated: `[h, w, 3]` uint8, one for each of `moment.images`.
        """
        if not self._paste_back:
            return animated[0]
        image = moment.original
        squares = moment.squares or [crops.center_square(image.shape[:2])]
        if not self._pasters:
            self._pasters = [
                paste.Paster(square, image.shape[:2], squares[:index] + squares[index + 1 :])
                for index, square in enumerate(squares)
            ]
        for paster, square, frame in zip(self._pasters, squares, animated, strict=True):
            paster.move(square)
            if moment.scene != self._scene:
                paster.reset()
            image = paster(image, frame)
        self._scene = moment.scene
        return image


class VideoFrames:
    """The frames of a driving or source video as the model sees them; each iteration reads the video again.

    Args:
      clip: from `fomm_tf.video.open_video`.
      crop: `Framing.driving` or `Framing.source`.
      framing: the user's choice.
      trained: see `resolve_crop`.
      on_cut: see `fomm_tf.inference.scenes.Scenes`.
      load: loads a detector by its name.

    Attributes:
      found: `[N]` bool, which frames show the object; None if none is searched.
      what: the object that is searched: `face`, `body` or a custom detector; `object` if none is.

    Warns:
      VideoNote: if `auto` finds nothing; then whole frames are used.

    Raises:
      errors.UserError: if the object is not found, or the crop cannot be used.
    """

    def __init__(
        self,
        clip: video.Video,
        crop: str | Square,
        framing: Framing,
        trained: str,
        on_cut: scenes.OnCut,
        load: Load = detectors.load_boxes,
    ) -> None:
        self._clip, self._fit = clip, framing.fit
        self.found: np.ndarray | None = None
        self.what = "object"
        # One for all frames, or one per frame.
        self._squares: list[Square] = []
        resolved = resolve_crop(crop, trained)
        if isinstance(resolved, Square):
            crops.check_square(resolved, clip.size, str(clip.path))
            self._squares = [resolved]
        elif resolved != crops.OFF:
            self._detect(resolved, framing.follow, on_cut, load, is_auto=crop == crops.AUTO)

    def _detect(self, what: str, follow: bool, on_cut: scenes.OnCut, load: Load, is_auto: bool) -> None:
        first_pass = scenes.Scenes(on_cut)
        crop = crops.find_squares(
            first_pass.watch(self._clip),
            self._clip.size,
            self._clip.fps,
            what,
            faces.ZoomedDetector(load(what)),
            follow,
            first_pass.starts,
        )
        if crop is not None:
            self._squares, self.found, self.what = crop.squares, crop.found, what
            return
        message = f"{self._clip.path}: no frame shows a {what} that is found"
        if not is_auto:
            raise errors.UserError(f"{message}; give `crop` off, or the place as X,Y,W,H.")
        warnings.warn(f"{message}, so the center of the frames is used.", video.VideoNote, stacklevel=4)

    def places(self, watch: scenes.Scenes | None = None) -> Iterator[tuple[np.ndarray, Square | None]]:
        """Yields each frame, `[H, W, 3]` uint8, with its square, or None.

        Args:
          watch: finds cuts in the frames; None for no cuts.
        """
        for index, frame in enumerate(self._clip if watch is None else watch.watch(self._clip)):
            square = self._squares[min(index, len(self._squares) - 1)] if self._squares else None
            yield frame, square

    def fit(self, frame: np.ndarray, square: Square | None, size: tuple[int, int]) -> np.ndarray:
        """Crops or fits a frame to the size of the model's frames."""
        return video.resize(frame, size, self._fit) if square is None else crops.crop(frame, square, size)

    def frames(self, size: tuple[int, int], watch: scenes.Scenes | None = None) -> Iterator[np.ndarray]:
        """Yields the frames, cropped or fitted, `[*size, 3]` uint8; `watch` as in `places`."""
        return (self.fit(frame, square, size) for frame, square in self.places(watch))

    def moments(self, size: tuple[int, int]) -> Iterator[Moment]:
        """Yields the frames of a source video; `size` is that of the model's frames."""
        watch = scenes.Scenes()
        for frame, square in self.places(watch):
            squares = [] if square is None else [square]
            yield Moment(frame, [self.fit(frame, square, size)], squares, len(watch.starts) - 1)

    def describe(self) -> Iterator[str]:
        """Says what is cropped."""
        if self._squares:
            moves = " in the first frame" if len(set(self._squares)) > 1 else ""
            height, width = self._clip.size
            yield f"{self._clip.path}: cropped to {crops.describe(self._squares[0])} of {width} x {height}{moves}"


def open_source(
    source: np.ndarray | video.Video, name: str, framing: Framing, trained: str, load: Load = detectors.load_boxes
) -> SourceImage | VideoFrames:
    """The squares of a source: those of an image, or of a video.

    Args:
      source: `[H, W, 3]` uint8, or from `fomm_tf.video.open_video`.
      name: of an image's file, for messages.
      framing: the user's choice.
      trained: see `resolve_crop`.
      load: loads a detector by its name.

    Raises:
      errors.UserError: if the face is not found, or the choice cannot be used.
    """
    if isinstance(source, np.ndarray):
        return SourceImage(source, name, framing, trained, load)
    if framing.face != faces.LARGEST:
        raise errors.UserError(f"`face` {framing.face} needs an image as source; got the video {source.path}.")
    frames = VideoFrames(source, framing.source, framing, trained, "restart", load)
    if not any(frames.describe()):
        check_paste_back(framing)
    return frames


def check_paste_back(framing: Framing) -> None:
    """Checks that whole frames can be pasted back.

    Raises:
      errors.UserError: if they cannot.
    """
    if framing.paste_back and framing.fit != "crop":
        raise errors.UserError(f"`paste_back` without a crop needs `fit` crop; got {framing.fit}.")
