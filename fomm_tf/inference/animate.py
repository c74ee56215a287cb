"""Files to files: animates an image file by a video file or a motion file; videos of the intermediate results."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
import tqdm

from fomm_tf import config, detectors, errors, files, structures, video, visualize
from fomm_tf.inference import animator, best_frame, framing, motion_files, motion_filters, quality, scenes, stream

TAG = "animated with fomm-tf"
_OVERVIEW_ROWS = 6


@dataclasses.dataclass(frozen=True)
class Output:
    """What `animate_file` writes.

    Attributes:
      path: the output; see `fomm_tf.video.write_video`.
      audio: copy the driving video's audio.
      side_by_side: show source and driving frame to the left of the result.
      visualize: directory for videos of the intermediate results, or None.
      tag: name this program in the metadata.
    """

    path: str
    audio: bool = True
    side_by_side: bool = False
    visualize: str | None = None
    tag: bool = True


@dataclasses.dataclass(frozen=True)
class MotionOptions:
    """How the driving motion is found and changed, apart from its transfer.

    Attributes:
      best_frame: index of the driving frame whose pose is closest to the source's, from which relative motion starts;
        `auto` searches for it.
      on_cut: what a cut in the driving video does; see `fomm_tf.inference.scenes.Scenes`.
      smooth: strength of the One Euro filter of keypoints; 0 for none.
      strength: scales relative motion.
      save: path of a motion file to write, or None.
    """

    best_frame: int | str = 0
    on_cut: scenes.OnCut = "restart"
    smooth: float = 0.0
    strength: float = 1.0
    save: str | None = None


def animate_file(
    model: animator.Animator,
    source_path: str,
    driving: video.Video | motion_files.Motion,
    output: Output,
    transfer: config.AnimateConfig,
    motion: MotionOptions = MotionOptions(),
    choice: framing.Framing | None = None,
    batch_size: int = stream.DEFAULT_BATCH_SIZE,
    audio_start: float = 0.0,
    progress: bool = True,
    check_inputs: bool = True,
    report: Callable[[str], object] = print,
) -> int:
    """Animates an image file by a video or a motion file.

    Args:
      model: the animator.
      source_path: the image.
      driving: from `fomm_tf.video.open_video` or `fomm_tf.inference.motion_files.read_motion`.
      output: what to write.
      transfer: how the motion is transferred.
      motion: how the motion is found and changed.
      choice: what of the source and of the driving video is animated; None for the defaults.
      batch_size: driving frames per batch.
      audio_start: where in the driving file's audio the video begins, in seconds.
      progress: show a progress bar with frames per second and the time left, on a terminal.
      check_inputs: warn if the result cannot be good.
      report: receives a line about each choice that was made: crops, the best frame, cuts, missing faces.

    Returns:
      How many frames were written.

    Warns:
      UserWarning: if the result cannot be good; see `fomm_tf.inference.quality`.

    Raises:
      errors.UserError: for input that cannot be read or output that cannot be written; then nothing is left under the
        output's name.
    """
    choice = choice or framing.Framing()
    is_video = not isinstance(driving, motion_files.Motion)
    name = str(driving.path) if is_video else "the motion file"
    _check_options(is_video, output, motion)
    inputs = [source_path, *([driving.path] if is_video else [])]
    video.check_output(output.path, *inputs)
    if output.visualize is not None:
        visualize.check_output(output.visualize, *inputs)
    if motion.save is not None:
        files.check_output(motion.save, *inputs)
    size, trained = model.config.model.frame_size, model.config.animate.crop
    original = video.read_image(source_path)
    faces = framing.SourceFrames(original, str(source_path), choice, trained, detectors.load_boxes)
    images = faces.images(original, size)
    sources = [model.encode_source(image) for image in images]
    for square in faces.squares:
        report(f"{source_path}: cropped to {framing.crops.describe(square)}")
    frames = framing.DrivingFrames(driving, choice, trained, motion.on_cut, detectors.load_boxes) if is_video else None
    smooth = motion_filters.KeypointSmoother(motion.smooth, driving.fps) if motion.smooth else None
    if is_video:
        if line := frames.describe():
            report(line)
        watch = scenes.Scenes(motion.on_cut, found=frames.crop and frames.crop.found, smooth=smooth)
    else:
        driving = driving.first_scene() if motion.on_cut == "stop" else driving
        watch = scenes.Scenes(motion.on_cut, driving.starts, smooth=smooth)
    best = _find_best_frame(model, images[0], sources[0], driving, frames, motion, report)
    if best:
        _start_at(watch, best, model, driving, frames, motion.on_cut)
    poses = quality.PoseComparison(sources[0].keypoints, best)
    tag = TAG if output.tag else None
    audio = driving.path if is_video and output.audio and driving.has_audio else None
    recorder = motion_files.MotionRecorder(driving.fps, model.engine.weights_sha256()) if motion.save else None
    count = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            video.write_video(output.path, driving.fps, audio_from=audio, audio_start=audio_start, tag=tag)
        )
        details = None
        if output.visualize is not None:
            details = stack.enter_context(
                open_visualizer(output.visualize, driving.fps, model.config.model.occlusion, tag)
            )
        total = driving.frame_count if is_video else len(driving.value)
        bar = stack.enter_context(tqdm.tqdm(total=total, unit="frame", disable=None if progress else True))
        shown = itertools.repeat(images[0])
        if is_video:
            clip = stream.prefetch(frames.frames(size, watch), batch_size)
            if output.side_by_side or details:
                clip, shown = itertools.tee(clip)  # `shown` lags by a batch at most
            detected = stream.detect_stream(model, clip, batch_size)
        else:
            detected = map(structures.Keypoints._make, driving.batches(batch_size))

        def batches() -> Iterator[tuple]:
            rendered = stream.render_scenes(
                model, sources, _record(detected, recorder), transfer, watch, motion.strength, details is not None
            )
            for keypoints, renderings in rendered:
                poses.add(keypoints)
                predictions = [video.to_uint8(np.asarray(rendering.prediction)) for rendering in renderings]
                yield predictions, list(itertools.islice(shown, len(predictions[0]))), keypoints, renderings[0]

        # Three stages overlap: reading the next batch, computing a batch, writing the previous one.
        for predictions, driving_frames, keypoints, rendering in stream.prefetch(batches(), 1):
            for i, frame in enumerate(driving_frames):
                result = faces.compose(original, [prediction[i] for prediction in predictions])
                if output.side_by_side:
                    beside = [original if choice.paste_back else images[0], frame]
                    beside = [video.resize(image, result.shape[:2], "pad") for image in beside]
                    result = np.concatenate([*beside, result], axis=1)
                writer.write(result)
                if details is not None:
                    details.write(
                        images[0],
                        sources[0].keypoints,
                        frame,
                        stream.select_frame(keypoints, i),
                        stream.select_frame(rendering, i),
                    )
            bar.update(len(driving_frames))
            count += len(driving_frames)
    if recorder is not None:
        motion_files.write_motion(motion.save, recorder.motion(watch.starts))
    for line in (watch.describe_cuts(name), watch.describe_missing(name, frames.what if is_video else "object")):
        if line:
            report(line)
    if check_inputs and is_video:  # at the end, so that a failure is one line
        is_good = _check_inputs(model, str(source_path), images[0], original, f"{name}, frame {best}", frames, best)
        if is_good and transfer.mode == "relative":
            poses.warn(name)
    return count


def _check_options(is_video: bool, output: Output, motion: MotionOptions) -> None:
    if is_video:
        return
    for option, value in (("side_by_side", output.side_by_side), ("visualize", output.visualize)):
        if value:
            raise errors.UserError(f"`{option}` needs the frames of a driving video; a motion file has none.")
    if motion.save is not None:
        raise errors.UserError("`save_motion` needs a driving video; the motion is in a file already.")


def _record(
    batches: Iterable[structures.Keypoints], recorder: motion_files.MotionRecorder | None
) -> Iterator[structures.Keypoints]:
    for keypoints in batches:
        if recorder is not None:
            recorder.add(keypoints)
        yield keypoints


def _find_best_frame(
    model: animator.Animator,
    image: np.ndarray,
    source: structures.EncodedSource,
    driving: video.Video | motion_files.Motion,
    frames: framing.DrivingFrames | None,
    motion: MotionOptions,
    report: Callable[[str], object],
) -> int:
    """The index of the best frame; `auto` compares landmarks, or the model's keypoints without detectors or video."""
    if motion.best_frame != "auto":
        return motion.best_frame
    size = model.config.model.frame_size
    if frames is None:
        search = best_frame.BestFrameSearch(np.asarray(source.keypoints.value)[0])
        search.add(driving.value)
        found, what = search.result("the motion file"), "keypoints"
    else:

        def watched() -> Iterator[np.ndarray]:
            return frames.frames(size, scenes.Scenes(motion.on_cut))

        found, what = None, f"{frames.what} points"
        if frames.crop is not None and f"{frames.what}-points" in detectors.POINTS:
            detect = detectors.load_points(f"{frames.what}-points")
            found = best_frame.find_best_frame(image, watched(), detect, str(driving.path))
        if found is None:
            what = "keypoints"

            def detect_keypoints(images: list[np.ndarray]) -> detectors.Points:
                value = np.asarray(model.detect(np.stack(images)).value)
                return detectors.Points(value, np.ones(value.shape[:2], np.float32))

            found = best_frame.find_best_frame(image, watched(), detect_keypoints, str(driving.path))
        if found is None:  # the source's keypoints are all on a line
            return 0
    report(found.describe(what))
    return found.index


def _start_at(
    watch: scenes.Scenes,
    best: int,
    model: animator.Animator,
    driving: video.Video | motion_files.Motion,
    frames: framing.DrivingFrames | None,
    on_cut: scenes.OnCut,
) -> None:
    """Sets the best frame; a pass of its own keeps the renderings in step with the frames."""
    if frames is None:
        keypoints = next(itertools.islice(driving.batches(1), best, None), None)
        if keypoints is None:
            raise errors.UserError(
                f"best_frame is {best}, counted from 0, but the motion file has {len(driving.value)} frames; give a "
                "smaller index."
            )
        watch.set_best(structures.Keypoints(*keypoints), best, driving.starts)
        return
    first = scenes.Scenes(on_cut)
    watch.set_best(
        stream.find_initial(model, frames.frames(model.config.model.frame_size, first), best), best, first.starts
    )


def _check_inputs(
    model: animator.Animator,
    name: str,
    image: np.ndarray,
    original: np.ndarray,
    start_name: str,
    frames: framing.DrivingFrames,
    best: int,
) -> bool:
    """Warns about the source, and about the driving frame that motion starts from; returns whether both are good."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those about the video are shown when it is animated
        start = next(itertools.islice(frames.frames(model.config.model.frame_size), best, None), None)
    usable = [quality.warn_about_input(model, name, image, original)]
    if start is not None:
        usable.append(quality.warn_about_input(model, start_name, start, start))
    return all(usable)


class Visualizer:
    """Writes one video per panel, and an overview image whose rows are frames spread over the clip.

    A row shows the source and the driving frame with their keypoints, the prediction, and the other panels.

    Args:
      writers: panel -> the writer of its video.
    """

    def __init__(self, writers: dict[str, video.VideoWriter]) -> None:
        self._writers = writers
        self._rows: list[np.ndarray] = []
        self._count, self._step = 0, 1

    def write(
        self,
        source: np.ndarray,
        source_keypoints: structures.Keypoints,
        driving: np.ndarray,
        driving_keypoints: structures.Keypoints,
        rendering: structures.Rendering,
    ) -> None:
        """Adds a frame.

        Args:
          source: `[H, W, 3]` uint8.
          source_keypoints: of batch 1.
          driving: `[H, W, 3]` uint8.
          driving_keypoints: of batch 1.
          rendering: of batch 1, with details, as NumPy.
        """
        panels = visualize.panels(
            source,
            source_keypoints.frame(0),
            driving,
            driving_keypoints.frame(0),
            video.to_uint8(rendering.deformed[0]),
            rendering.mask[0],
            None if rendering.occlusion is None else rendering.occlusion[0],
        )
        for name, writer in self._writers.items():
            writer.write(panels[name])
        self._keep(visualize.row(panels, video.to_uint8(rendering.prediction[0])))

    def overview(self) -> np.ndarray:
        """The sampled rows below each other, uint8."""
        return np.concatenate(self._rows[:_OVERVIEW_ROWS])

    def _keep(self, row: np.ndarray) -> None:
        """Samples every `step`-th row; when twice as many as needed have accumulated, drops every other one."""
        if self._count % self._step == 0:
            self._rows.append(row)
        if len(self._rows) == 2 * _OVERVIEW_ROWS:
            self._rows, self._step = self._rows[::2], 2 * self._step
        self._count += 1


@contextlib.contextmanager
def open_visualizer(folder: str, fps: Fraction, occlusion: bool, tag: str | None) -> Iterator[Visualizer]:
    """Opens a `Visualizer` that writes `keypoints.mp4`, `deformed.mp4`, ... and `overview.png` into `folder`.

    Args:
      folder: created if missing; files of the same names are replaced when the block ends without an exception.
      fps: frames per second.
      occlusion: whether the model has an occlusion map to show.
      tag: text for the comment in the files' metadata, or None.

    Raises:
      errors.UserError: if the directory or a file cannot be written.
    """
    target = pathlib.Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UserError(
            f"visualize: cannot create the directory {target}: {error.strerror}; give another one."
        ) from error
    names = [name for name in visualize.PANELS if occlusion or name != "occlusion"]
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(video.write_video(target / f"{name}.mp4", fps, tag=tag)) for name in names}
        visualizer = Visualizer(writers)
        yield visualizer
        video.write_image(target / visualize.OVERVIEW, visualizer.overview(), tag=tag)
