"""What of the source and of the driving video is animated: the user's choice of crops and faces, applied to files.

A source has one square per animated face, or none: then the whole image is fitted to the model. A driving video has one
square per frame, or none.
"""

from __future__ import annotations

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
      face: `largest`, `all` or the number of a face of the source.
      follow: move the driving video's square with the object.
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

    Warns:
      VideoNote: if the detectors are not installed.
    """
    if crop != crops.AUTO:
        return crop
    if trained == settings.WHOLE:
        return crops.OFF
    if not detectors.are_installed():
        warnings.warn(
            f"`crop` auto: the detector of the {trained} is not installed, so the center of the frame is used; "
            "install it with: fomm fetch detectors.",
            video.VideoNote,
            stacklevel=2,
        )
        return crops.OFF
    return trained


class SourceFrames:
    """The squares of a source image, or of the frames of a source video, and where they are pasted back.

    Args:
      image: `[H, W, 3]` uint8.
      name: of the file, for messages.
      framing: the user's choice.
      trained: see `resolve_crop`.
      load: loads a detector by its name, such as `fomm_tf.detectors.load_boxes`.

    Attributes:
      squares: one per animated face; empty if the whole image is animated.
      boxes: the boxes in the squares, `[4]` each; empty if none were detected.

    Warns:
      VideoNote: if `auto` finds nothing; then the whole image is animated.

    Raises:
      errors.UserError: if the chosen face is not found, or the crop cannot be used.
    """

    def __init__(self, image: np.ndarray, name: str, framing: Framing, trained: str, load: Load) -> None:
        self._framing, self._frame_size = framing, image.shape[:2]
        self.squares, self.boxes = [], []
        crop = resolve_crop(framing.source, trained)
        if isinstance(crop, Square):
            crops.check_square(crop, self._frame_size, name)
            self.squares = [crop]
        elif crop != crops.OFF:
            self._detect(image, name, crop, load)
        if framing.face != faces.LARGEST and not self.boxes:
            raise errors.UserError(
                f"`face` {framing.face} needs detected faces; got none in {name}: give `crop` face, or omit `face`."
            )
        if framing.face == faces.ALL and not framing.paste_back:
            raise errors.UserError("`face` all needs `paste_back`, as the output shows all faces in one image.")
        targets = self.squares
        if framing.paste_back and not targets:
            if framing.fit != "crop":
                raise errors.UserError(f"`paste_back` without a crop needs `fit` crop; got {framing.fit}.")
            targets = [center_square(self._frame_size)]
        self._pasters = [
            paste.Paster(square, self._frame_size, targets[:index] + targets[index + 1 :])
            for index, square in enumerate(targets)
            if framing.paste_back
        ]

    def _detect(self, image: np.ndarray, name: str, crop: str, load: Load) -> None:
        found = faces.number_faces(faces.find_all(load(crop), image))
        if not found and self._framing.source == crops.AUTO:
            warnings.warn(
                f"{name} shows no {crop} that is found, so the center of the image is used; name the place with `crop` "
                "X,Y,W,H.",
                video.VideoNote,
                stacklevel=3,
            )
            return
        self.boxes = [face.box for face in faces.choose_faces(found, self._framing.face, name)]
        self.squares = [crops.place_square(box, self._frame_size, crops.margins(crop)) for box in self.boxes]

    def images(self, image: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """What the model animates, one image per square, `[*size, 3]` uint8."""
        if not self.squares:
            return [video.resize(image, size, self._framing.fit)]
        return [crops.crop(image, square, size) for square in self.squares]

    def compose(self, image: np.ndarray, animated: Sequence[np.ndarray]) -> np.ndarray:
        """The output frame: the source with all animated squares, or the animation of its only square.

        Args:
          image: `[H, W, 3]` uint8, the source (for a source video, the frame of this moment).
          animated: `[h, w, 3]` uint8, one for each of `images`.
        """
        if not self._pasters:
            return animated[0]
        for paster, frame in zip(self._pasters, animated, strict=True):
            image = paster(image, frame)
        return image


class DrivingFrames:
    """The frames of a driving video as the model sees them; each iteration reads the video again.

    Args:
      driving: from `fomm_tf.video.open_video`.
      framing: the user's choice.
      trained: see `resolve_crop`.
      on_cut: see `fomm_tf.inference.scenes.Scenes`.
      load: loads a detector by its name.

    Attributes:
      crop: the squares, and which frames show the object; None if frames are fitted as they are.
      what: the object that is searched: `face`, `body` or a custom detector; `object` if none is.

    Warns:
      VideoNote: if `auto` finds nothing; then whole frames are used.

    Raises:
      errors.UserError: if the object is not found, or the crop cannot be used.
    """

    def __init__(self, driving: video.Video, framing: Framing, trained: str, on_cut: scenes.OnCut, load: Load) -> None:
        self._driving, self._fit = driving, framing.fit
        self.crop: crops.ClipCrop | None = None
        self.what = "object"
        self._square: Square | None = None
        crop = resolve_crop(framing.driving, trained)
        if isinstance(crop, Square):
            crops.check_square(crop, driving.size, str(driving.path))
            self._square = crop
        elif crop != crops.OFF:
            self.what = crop
            first_pass = scenes.Scenes(on_cut)
            self.crop = crops.find_squares(
                first_pass.watch(driving),
                driving.size,
                driving.fps,
                crop,
                faces.ZoomedDetector(load(crop)),
                framing.follow,
                first_pass.starts,
            )
            if self.crop is None:
                self._report_nothing(crop, framing.driving == crops.AUTO)

    def _report_nothing(self, crop: str, is_auto: bool) -> None:
        message = f"{self._driving.path}: no frame shows a {crop} that is found"
        if not is_auto:
            raise errors.UserError(f"{message}; give `crop` off, or the place as X,Y,W,H.")
        warnings.warn(f"{message}, so the center of the frames is used.", video.VideoNote, stacklevel=3)

    def frames(self, size: tuple[int, int], watch: scenes.Scenes | None = None) -> Iterator[np.ndarray]:
        """Yields the frames, cropped or fitted, `[*size, 3]` uint8.

        Args:
          size: of the model's frames.
          watch: finds cuts in the frames before they are cropped; None for no cuts.
        """
        raw = self._driving if watch is None else watch.watch(self._driving)
        for index, frame in enumerate(raw):
            square = self._square
            if self.crop is not None:
                square = self.crop.squares[min(index, len(self.crop.squares) - 1)]
            yield video.resize(frame, size, self._fit) if square is None else crops.crop(frame, square, size)

    def describe(self) -> str | None:
        """Says what is cropped; None if nothing is."""
        squares = [self._square] if self._square is not None else [] if self.crop is None else self.crop.squares
        if not squares:
            return None
        moves = len(set(squares)) > 1
        height, width = self._driving.size
        return (
            f"{self._driving.path}: cropped to {crops.describe(squares[0])} of {width} x {height}"
            f"{' in the first frame' if moves else ''}"
        )


def center_square(frame_size: tuple[int, int]) -> Square:
    """The part of a frame `(H, W)` that `fit` crop shows to a model of square frames."""
    height, width = frame_size
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)
