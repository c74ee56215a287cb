"""One animation: a source and a driving video, or a motion file, become output frames; files are in `animate`.

Convention: frames are `[H, W, 3]` uint8; a best frame, cuts and loops count driving frames from 0.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf import config, detectors, errors, motion_filters, structures, video
from fomm_tf.inference import crops, framing, motion_files, quality, scenes, stream

# Landmarks are found in crops of this side at least, in pixels: their networks take 192 to 256.
_POINTS_SIDE = 256

Driving = video.Video | motion_files.Motion


@dataclasses.dataclass(frozen=True)
class MotionOptions:
    """How the driving motion is found and changed, apart from its transfer.

    Attributes:
      best_frame: index of the driving frame whose pose is closest to the source's, from which relative motion starts;
        `auto` searches for it.
      on_cut: what a cut in the driving video does; see `fomm_tf.inference.scenes.Scenes`.
      smooth: strength of the One Euro filter of keypoints; 0 for none.
      strength: scales relative motion.
      loop: how often the motion is played; 0 repeats it until a source video ends.
      ping_pong: play it forward, then backward.
    """

    best_frame: int | str = 0
    on_cut: scenes.OnCut = "restart"
    smooth: float = 0.0
    strength: float = 1.0
    loop: int = 1
    ping_pong: bool = False

    @property
    def plays_once(self) -> bool:
        """Whether each driving frame makes one output frame."""
        return self.loop == 1 and not self.ping_pong


class Details(NamedTuple):
    """What the model computed for a frame, of batch 1, as NumPy.

    Attributes:
      source_keypoints: of the source.
      keypoints: of the driving frame, smoothed.
      rendering: with all fields.
    """

    source_keypoints: structures.Keypoints
    keypoints: structures.Keypoints
    rendering: structures.Rendering


class OutputFrame(NamedTuple):
    """A frame of the output, and what it was made from.

    Attributes:
      result: `[H, W, 3]` uint8.
      moment: of the source.
      driving: the driving frame as the model sees it; None without a driving video, or if frames are not kept.
      details: of the first animated square; None if they are not kept.
    """

    result: np.ndarray
    moment: framing.Moment
    driving: np.ndarray | None
    details: Details | None


class CheckedImage(NamedTuple):
    """An image whose animation may not be good; see `fomm_tf.inference.quality.warn_about_input`."""

    name: str
    frame: np.ndarray
    original: np.ndarray


class Animation:
    """Animates a source; iterates over the output once, with memory that does not grow with its length.

    Args:
      model: an `Animator`.
      source: `[H, W, 3]` uint8, or a video whose frames are all animated, each by the driving frame of its time.
      name: of a source image, for messages.
      driving: from `fomm_tf.video.open_video` or `fomm_tf.inference.motion_files.read_motion`.
      transfer: how the motion is transferred.
      motion: how the motion is found and changed.
      choice: what of the source and of the driving video is animated; None for the defaults.
      batch_size: driving frames per batch.
      report: receives a line about each choice that was made: crops, the best frame, cuts, missing faces.

    Attributes:
      best: index of the driving frame that motion starts from.
      poses: compares the driving poses with the source's.

    Warns:
      VideoNote: see `fomm_tf.inference.framing`.

    Raises:
      errors.UserError: for input that cannot be read, or choices that cannot be used.
    """

    def __init__(
        self,
        model: stream.Performer,
        source: np.ndarray | video.Video,
        name: str,
        driving: Driving,
        transfer: config.AnimateConfig,
        motion: MotionOptions = MotionOptions(),
        choice: framing.Framing | None = None,
        batch_size: int = stream.DEFAULT_BATCH_SIZE,
        report: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._model, self._transfer, self._motion, self._report = model, transfer, motion, report
        self._batch_size, self._name = batch_size, name
        self._size, trained = model.config.model.frame_size, model.config.animate.crop
        model.config.model.check_has_keypoints("adapt_scale", transfer.adapt_scale)
        choice = choice or framing.Framing()
        self._is_image = isinstance(source, np.ndarray)
        self._source_count = None if self._is_image else source.frame_count
        scenes.check_loop(motion.loop, endless=self._is_image)
        framing.warn_without_detectors(choice, trained)
        self._source = framing.open_source(source, name, choice, trained)
        self._composite = framing.Compositor(choice)
        self._first = next(self._source.moments(self._size))
        self._encoded = [model.encode_source(image) for image in self._first.images]
        self._frames: framing.VideoFrames | None = None
        if isinstance(driving, motion_files.Motion):
            self._driving = driving.first_scene() if motion.on_cut == "stop" else driving
            self.driving_name, starts, found = "the motion file", self._driving.starts, self._driving.found
        else:
            self._driving, self.driving_name, starts = driving, str(driving.path), (0,)
            self._frames = framing.VideoFrames(driving, choice.driving, choice, trained, motion.on_cut)
            found = self._frames.found
        for line in (*self._source.describe(), *(self._frames.describe() if self._frames else ())):
            report(line)
        smooth = motion_filters.KeypointSmoother(motion.smooth, driving.fps) if motion.smooth else None
        self._watch = scenes.Scenes(motion.on_cut, starts, found, smooth)
        self.best = self._find_best_frame() if motion.best_frame == "auto" else motion.best_frame
        if self.best:
            self._set_best()
        self.poses = quality.PoseComparison(self._encoded[0].keypoints, self.best)
        self._start: tuple[np.ndarray, np.ndarray] | None = None
        self._shown_crops: list[tuple[np.ndarray, list[framing.Square]]] = []

    @property
    def frame_count(self) -> int | None:
        """Expected number of output frames; None if it is not known."""
        count = len(self._driving.value) if self._frames is None else self._driving.frame_count
        if count is not None:
            count = scenes.count_frames(count, self._motion.loop, self._motion.ping_pong)
        known = [number for number in (count, self._source_count) if number is not None]
        return min(known) if known and (count is not None or self._motion.loop == 0) else None

    def frames(
        self, recorder: motion_files.MotionRecorder | None = None, keep_driving: bool = False, details: bool = False
    ) -> Iterator[OutputFrame]:
        """Yields the output; can be called once.

        Args:
          recorder: receives the keypoints of the driving video.
          keep_driving: fill `OutputFrame.driving`.
          details: fill `OutputFrame.details`.
        """
        # Three stages overlap: reading the next batch, computing a batch, and what the caller does with the previous.
        for moments, driving, predictions, computed in stream.prefetch(
            self._batches(recorder, keep_driving, details), 1
        ):
            for i, moment in enumerate(moments):
                result = self._composite(moment, [prediction[i] for prediction in predictions])
                selected = None
                if details:
                    selected = Details(*(stream.select_frame(part, i % len(part[0])) for part in computed))
                yield OutputFrame(result, moment, driving[i] if keep_driving else None, selected)
        what = self._frames.what if self._frames else "object"
        for line in (
            self._watch.describe_cuts(self.driving_name),
            self._watch.describe_missing(self.driving_name, what),
        ):
            if line:
                self._report(line)

    def finish_motion(self, recorder: motion_files.MotionRecorder) -> motion_files.Motion:
        """The motion of all driving frames, as detected."""
        return recorder.motion(self._watch.starts, self._frames.found)

    def checked_images(self) -> Iterator[CheckedImage]:
        """Yields the source, and after iterating the driving frame that motion starts from, as the model sees them."""
        image, squares = self._first.images[0], self._first.squares
        original = crops.visible(self._first.original, squares[0]) if squares else self._first.original
        yield CheckedImage(self._name, image, original)
        if self._start is not None:
            yield CheckedImage(f"{self.driving_name}, frame {self.best}", *self._start)

    def shown_crops(self) -> list[tuple[np.ndarray, list[framing.Square]]]:
        """First frames and squares of the source, and after iterating of the driving video, where they are cropped."""
        shown = [(self._first.original, self._first.squares), *self._shown_crops]
        return [(frame, squares) for frame, squares in shown if squares]

    def _batches(
        self, recorder: motion_files.MotionRecorder | None, keep_driving: bool, details: bool
    ) -> Iterator[tuple]:
        shown = itertools.repeat(None)
        if self._frames is None:
            detected = self._driving.batches(self._batch_size)
        else:
            clip = stream.prefetch(self._read(), self._batch_size)
            if keep_driving:
                clip, shown = itertools.tee(clip)  # `shown` lags by a batch at most
            detected = stream.detect_stream(self._model, clip, self._batch_size)
        moments = self._source.moments(self._size)
        motion = self._motion
        for driving, initial in scenes.repeat_motion(self._advance(detected, recorder), motion.loop, motion.ping_pong):
            batch = list(itertools.islice(moments, len(driving.value)))
            if not batch:
                return
            driving, initial = scenes.cut_batch(driving, initial, len(batch))
            sources = self._encode(batch)
            renderings = [
                stream.render_transferred(
                    self._model, source, driving, initial, self._transfer, motion.strength, details
                )
                for source in sources
            ]
            self.poses.add(driving)
            predictions = [video.to_uint8(np.asarray(rendering.prediction)) for rendering in renderings]
            frames = list(itertools.islice(shown, len(batch)))
            yield batch, frames, predictions, (sources[0].keypoints, driving, renderings[0])

    def _advance(
        self, batches: Iterator[structures.Keypoints], recorder: motion_files.MotionRecorder | None
    ) -> Iterator[tuple[structures.Keypoints, structures.Keypoints]]:
        for keypoints in batches:
            if recorder is not None:
                recorder.add(keypoints)
            yield self._watch.advance(keypoints)

    def _encode(self, moments: list[framing.Moment]) -> list[structures.EncodedSource]:
        """A source per animated square: that of the image for all frames, or a batch of a video's frames."""
        if self._is_image:
            return self._encoded
        return [self._model.encode_sources(np.stack([moment.images[0] for moment in moments]))]

    def _read(self) -> Iterator[np.ndarray]:
        """The driving frames as the model sees them; keeps those that are shown or checked later."""
        for index, (frame, square) in enumerate(self._frames.places(self._watch)):
            fitted = self._frames.fit(frame, square, self._size)
            if index == 0:
                self._shown_crops.append((frame, [] if square is None else [square]))
            if index == self.best:
                self._start = fitted, frame if square is None else crops.visible(frame, square)
            yield fitted

    def _find_best_frame(self) -> int:
        """The index of the best frame by landmarks, or by the model's keypoints without detectors or video."""
        source, what = np.asarray(self._encoded[0].keypoints.value), "keypoints"
        if self._frames is None:
            search = quality.BestFrameSearch(source[0])
            found = self._driving.found
            search.add(
                self._driving.value,
                None if found is None else np.broadcast_to(found[:, None], self._driving.value.shape[:2]),
            )
            best = search.result(self.driving_name)
        else:
            image, best = self._first.images[0], None
            size = tuple(max(side, _POINTS_SIDE) for side in self._size)
            if self._frames.found is not None and f"{self._frames.what}-points" in detectors.POINTS:
                detect = detectors.load_points(f"{self._frames.what}-points")
                what = f"{self._frames.what} points"
                large = next(self._source.moments(size)).images[0]
                best = quality.find_best_frame(
                    large, self._watched(size), detect, self.driving_name, self._frames.found
                )
            if best is None:
                self._model.config.model.check_has_keypoints("best_frame", "auto")
                what = "keypoints"
                best = quality.find_best_frame(
                    image, self._watched(self._size), self._detect_points, self.driving_name, self._frames.found
                )
        if best is None:  # the source's keypoints are all on a line
            return 0
        self._report(best.describe(what))
        return best.index

    def _watched(self, size: tuple[int, int], watch: scenes.Scenes | None = None) -> Iterator[np.ndarray]:
        return self._frames.frames(size, watch or scenes.Scenes(self._motion.on_cut))

    def _detect_points(self, images: list[np.ndarray]) -> detectors.Points:
        value = np.asarray(self._model.detect(np.stack(images)).value)
        return detectors.Points(value, np.ones(value.shape[:2], np.float32))

    def _set_best(self) -> None:
        """A pass of its own keeps the renderings in step with the frames."""
        if self._frames is not None:
            first = scenes.Scenes(self._motion.on_cut)
            keypoints = stream.find_initial(self._model, self._watched(self._size, first), self.best)
            self._watch.set_best(keypoints, self.best, first.starts)
            return
        keypoints = next(itertools.islice(self._driving.batches(1), self.best, None), None)
        if keypoints is None:
            raise errors.UserError(
                f"best_frame is {self.best}, counted from 0, but the motion file has {len(self._driving.value)} "
                "frames; give a smaller index."
            )
        self._watch.set_best(keypoints, self.best, self._driving.starts)
