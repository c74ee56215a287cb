"""Files to files: animates images and videos by videos and motion files; writes videos of intermediate results."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import tqdm

from fomm_tf import config, errors, files, video, visualize
from fomm_tf.inference import animation, animator, framing, motion_files, quality, stream
from fomm_tf.inference.animation import MotionOptions

TAG = "animated with fomm-tf"
AudioFrom = Literal["auto", "driving", "source"]
_OVERVIEW_ROWS = 6


@dataclasses.dataclass(frozen=True)
class Output:
    """What `animate_file` writes.

    Attributes:
      path: the output: a video, see `fomm_tf.video.write_video`; or for one frame a png, jpg or webp file.
      audio: copy the audio of `audio_from`.
      side_by_side: show source and driving frame to the left of the result.
      visualize: directory for videos of the intermediate results, or None.
      tag: name this program in the metadata.
      audio_from: the file with the audio; `auto` is the driving video if it has audio, else the source video.
      save_motion: path of a motion file to write, or None.
    """

    path: str
    audio: bool = True
    side_by_side: bool = False
    visualize: str | None = None
    tag: bool = True
    audio_from: AudioFrom = "auto"
    save_motion: str | None = None


def animate_file(
    model: animator.Animator,
    source: str | video.Video,
    driving: animation.Driving,
    output: Output,
    transfer: config.AnimateConfig,
    motion: MotionOptions | None = None,
    choice: framing.Framing | None = None,
    batch_size: int = stream.DEFAULT_BATCH_SIZE,
    audio_start: float = 0.0,
    progress: bool = True,
    check_inputs: bool = True,
    report: Callable[[str], object] = print,
) -> int:
    """Animates an image file or a video by a video or a motion file.

    Args:
      model: the animator.
      source: the path of an image, or from `fomm_tf.video.open_video`; each frame of a video is animated by the driving
        frame of its time, up to the end of either.
      driving: from `fomm_tf.video.open_video` or `fomm_tf.inference.motion_files.read_motion`.
      output: what to write.
      transfer: how the motion is transferred.
      motion: how the motion is found and changed; None for the defaults.
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
    motion = motion or MotionOptions()
    has_frames = not isinstance(driving, motion_files.Motion)
    _check_options(has_frames, output, motion)
    is_image = isinstance(source, str)
    source_path = source if is_image else str(source.path)
    inputs = [source_path, *([driving.path] if has_frames else [])]
    check_output(output.path, *inputs)
    if output.visualize is not None:
        visualize.check_output(output.visualize, *inputs)
    if output.save_motion is not None:
        files.check_output(output.save_motion, *inputs)
    performance = animation.Animation(
        model,
        video.read_image(source) if is_image else source,
        source_path,
        driving,
        transfer,
        motion,
        choice,
        batch_size,
        report,
    )
    tag = TAG if output.tag else None
    audio = _find_audio(None if is_image else source, driving if has_frames else None, output)
    audio_start = audio_start if has_frames and audio == driving.path else 0.0
    recorder = None
    if output.save_motion is not None:
        recorder = motion_files.MotionRecorder(driving.fps, model.engine.weights_sha256())
    count = 0
    with contextlib.ExitStack() as stack:
        if video.is_still_output(output.path) or (_is_webp(output.path) and performance.frame_count == 1):
            writer = stack.enter_context(_open_still(output.path, tag))
        else:
            writer = stack.enter_context(
                video.write_video(output.path, driving.fps, audio_from=audio, audio_start=audio_start, tag=tag)
            )
        details = None
        if output.visualize is not None:
            details = stack.enter_context(
                open_visualizer(output.visualize, driving.fps, _panels(model.config.model), tag)
            )
        total = performance.frame_count
        bar = stack.enter_context(tqdm.tqdm(total=total, unit="frame", disable=None if progress else True))
        keep_driving = output.side_by_side or details is not None
        for frame in performance.frames(recorder, keep_driving, details is not None):
            writer.write(_side_by_side(frame, choice) if output.side_by_side else frame.result)
            if details is not None:
                details.write(frame)
            bar.update()
            count += 1
        if details is not None and performance.shown_crops():
            crops = visualize.draw_crops(performance.shown_crops())
            video.write_image(pathlib.Path(output.visualize) / visualize.CROPS, crops, tag=tag)
    if recorder is not None:
        motion_files.write_motion(output.save_motion, performance.finish_motion(recorder))
    if check_inputs:  # at the end, so that a failure is one line
        usable = [quality.warn_about_input(model, *checked) for checked in performance.checked_images()]
        if all(usable) and transfer.mode == "relative" and model.config.model.traits.has_keypoints:
            performance.poses.warn(performance.driving_name)
    return count


def check_output(path: str, *inputs: str | pathlib.Path | None) -> None:
    """Checks the path of a video or an image before anything is read; see `fomm_tf.video.check_output`."""
    (video.check_image_output if video.is_still_output(path) else video.check_output)(path, *inputs)


def _is_webp(path: str) -> bool:
    return pathlib.Path(path).suffix.lower() == ".webp"


class _StillWriter:
    """Takes one frame."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def write(self, frame: np.ndarray) -> None:
        if self.frames:
            raise errors.UserError(
                "`out` is one image, but the animation has more frames; give a driving image, or one of "
                f"{', '.join(video.SUFFIXES)}, or no suffix for a directory of png frames."
            )
        self.frames.append(frame)


@contextlib.contextmanager
def _open_still(path: str, tag: str | None) -> Iterator[_StillWriter]:
    writer = _StillWriter()
    yield writer
    video.write_image(path, writer.frames[0], tag)


def _check_options(has_frames: bool, output: Output, motion: MotionOptions) -> None:
    for option, value in (("side_by_side", output.side_by_side), ("visualize", output.visualize)):
        if value and not has_frames:
            raise errors.UserError(f"`{option}` needs the frames of a driving video; a motion file has none.")
        if value and not motion.plays_once:
            raise errors.UserError(f"`{option}` shows each driving frame once; omit `loop` and `ping_pong`.")
    if output.save_motion is not None and not has_frames:
        raise errors.UserError("`save_motion` needs a driving video; the motion is in a file already.")


def _find_audio(source: video.Video | None, driving: video.Video | None, output: Output) -> pathlib.Path | None:
    """The file whose audio is copied, if any."""
    if not output.audio:
        return None
    clips = {"driving": driving, "source": source}
    if output.audio_from != "auto":
        clips = {output.audio_from: clips[output.audio_from]}
    return next((clip.path for clip in clips.values() if clip is not None and clip.has_audio), None)


def _side_by_side(frame: animation.OutputFrame, choice: framing.Framing | None) -> np.ndarray:
    """Source, driving frame and result in a row, as high as the result."""
    source = frame.moment.original if choice is not None and choice.paste_back else frame.moment.images[0]
    beside = [video.resize(image, frame.result.shape[:2], "pad") for image in (source, frame.driving)]
    return np.concatenate([*beside, frame.result], axis=1)


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

    def write(self, frame: animation.OutputFrame) -> None:
        """Adds a frame that has its driving frame and details."""
        source_keypoints, keypoints, rendering = frame.details
        has_keypoints = rendering.mask is not None
        panels = visualize.panels(
            frame.moment.images[0],
            source_keypoints.frame(0) if has_keypoints else None,
            frame.driving,
            keypoints.frame(0) if has_keypoints else None,
            video.to_uint8(rendering.deformed[0]),
            rendering.mask[0] if has_keypoints else None,
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


def _panels(model: config.ModelConfig) -> list[str]:
    """The panels that a model has: a motion without keypoints has no masks."""
    has = {"occlusion": model.occlusion, "masks": model.traits.has_keypoints}
    return [name for name in visualize.PANELS if has.get(name, True)]


@contextlib.contextmanager
def open_visualizer(folder: str, fps: Fraction, panels: Sequence[str], tag: str | None) -> Iterator[Visualizer]:
    """Opens a `Visualizer` that writes `keypoints.mp4`, `deformed.mp4`, ... and `overview.png` into `folder`.

    Args:
      folder: created if missing; files of the same names are replaced when the block ends without an exception.
      fps: frames per second.
      panels: names in `fomm_tf.visualize.PANELS`, which the model has.
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
    with contextlib.ExitStack() as stack:
        writers = {
            name: stack.enter_context(video.write_video(target / f"{name}.mp4", fps, tag=tag)) for name in panels
        }
        visualizer = Visualizer(writers)
        yield visualizer
        video.write_image(target / visualize.OVERVIEW, visualizer.overview(), tag=tag)
