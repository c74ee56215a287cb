"""`fomm animate`, `faces` and `demo`: animations of one image, and of bundled images."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fomm_tf import console, errors, files, model_folders, video
from fomm_tf.cli import options

if TYPE_CHECKING:
    import numpy as np

    from fomm_tf.inference import animator, motion_files

# In seconds: at least one frame is read.
_ONE_FRAME = 1e-6


def _add_animate_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source", metavar="IMAGE|VIDEO", required=True, help="what to animate: an image, or each frame of a video")
    text = "a video: a file, a directory of frames, or a stacked png; or one image; or a motion file (npz)"
    add("--driving", metavar="VIDEO|IMAGE|MOTION", required=True, help=text)
    text = (
        f"output: a file with suffix {', '.join(video.SUFFIXES)}, or a directory for png frames; .png or .jpg for one"
    )
    add("--out", metavar="OUT", required=True, help=f"{text} frame")
    add_shared_arguments(parser)
    text = "write keypoints, deformed source, occlusion and masks to this directory"
    parser.add_argument("--visualize", metavar="DIR", help=text)
    text = "write the motion to this npz file, which --driving takes instead of the video"
    parser.add_argument("--save-motion", metavar="FILE", help=text)


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options that do not name files."""
    add = parser.add_argument
    options.add_run(parser)
    options.add_transfer(parser)
    add(
        "--best-frame",
        type=_best_frame,
        default=0,
        metavar="off|auto|N",
        help="the driving frame whose pose is closest to the image's, from which relative motion starts: its index, or "
        "auto to search for it (default: off, the first frame)",
    )
    options.add_framing(parser, "auto, as in the model's training")
    _add_motion_arguments(parser)
    add("--batch-size", type=int, metavar="N", default=8, help="driving frames per batch (default: 8)")
    options.add_engine(parser, auto=True)
    add("--side-by-side", action="store_true", help="show image, driving frame and result in a row")
    options.add_video(parser)
    text = "whose audio to copy (default: auto, the driving video's, or the source video's if that has none)"
    add("--audio-from", choices=("auto", "driving", "source"), default="auto", help=text)


def _add_motion_arguments(parser: argparse.ArgumentParser) -> None:
    add = options.add_filters(parser).add_argument
    text = "play the motion N times; 0, with a video as source, repeats it until that ends (default: 1)"
    add("--loop", type=int, metavar="N", default=1, help=text)
    add("--ping-pong", action="store_true", help="play the motion forward, then backward")
    text = "at cuts in the driving video: restart relative motion (default), continue, or stop"
    add("--on-cut", choices=("restart", "continue", "stop"), default="restart", help=text)


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    add = parser.add_argument
    add("--source", dest="sources", nargs="+", metavar="IMAGE", help="images of your own (default: three of ours)")
    add("--driving", metavar="VIDEO", help="a video of your own (default: one of ours)")
    add("--out", metavar="DIR", default="outputs/demo", help="output directory (default: %(default)s)")


def _add_faces_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image")
    text = "what to find: face (default), body, or module:function for your own detector"
    parser.add_argument("--crop", metavar="WHAT", default="face", help=text)


def _best_frame(text: str) -> int | str:
    if text in ("off", "auto"):
        return 0 if text == "off" else text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; give off, auto, or the index of a frame, from 0")
    return int(text)


def _run_animate(arguments: argparse.Namespace) -> None:
    # Mistakes are reported before TensorFlow is loaded.
    inputs = [arguments.source, arguments.driving, *options.list_model_files(arguments.folder)]
    (video.check_image_output if video.is_still_output(arguments.out) else video.check_output)(arguments.out, *inputs)
    if arguments.visualize is not None:
        from fomm_tf import visualize

        visualize.check_output(arguments.visualize, *inputs)
    if arguments.save_motion is not None:
        files.check_output(arguments.save_motion, *inputs)
    options.framing(arguments)
    pair = open_pair(arguments, arguments.source, arguments.driving, arguments.out)
    if isinstance(pair.source, str):
        video.read_image(pair.source)
    count = animate_pair(
        load(arguments, arguments.source), arguments, arguments.source, arguments.driving, arguments.out
    )
    if not arguments.quiet:
        print(f"{arguments.out}: {count} frame{'s' * (count != 1)}")


def _run_demo(arguments: argparse.Namespace) -> None:
    from fomm_tf import demo

    if arguments.folder is not None:
        files.check_other_directory(pathlib.Path(arguments.out), pathlib.Path(arguments.folder))
    sources, driving = arguments.sources or demo.SOURCES, arguments.driving or demo.DRIVING
    for line in demo.run(arguments.folder, pathlib.Path(arguments.out), sources, driving):
        print(line)


def _run_faces(arguments: argparse.Namespace) -> None:
    image = video.read_image(arguments.image)
    from fomm_tf.inference import faces

    found = faces.find_faces(image, arguments.crop)
    for line in faces.list_faces(faces.choose_faces(found, faces.ALL, arguments.image)):
        print(line)


class _Pair(NamedTuple):
    """A source and what drives it.

    Attributes:
      source: the path of an image, or a video.
      driving: a video or a motion file; an image is a video of one frame.
      has_pose_only: whether `driving` is one frame, which has no motion.
    """

    source: str | video.Video
    driving: video.Video | motion_files.Motion
    has_pose_only: bool


def open_pair(arguments: argparse.Namespace, source: str, driving: str, out: str, model: str | None = None) -> _Pair:
    """Opens source and driving as the options say; `model` is the hash of the weights, for motion files."""
    from fomm_tf.inference import motion_files

    has_source_video = video.is_video(source)
    if motion_files.is_motion_name(driving):
        opened, has_pose_only = motion_files.read_motion(driving, model), False
    elif not video.is_video(driving, stacked=not video.is_still_output(out)):
        if not (has_source_video or video.is_still_output(out) or pathlib.Path(out).suffix.lower() == ".webp"):
            raise errors.UserError(
                f"`driving` {driving} is one image, and makes one; give `out` the suffix .png, .jpg or .webp, a video "
                "as source, or a driving video."
            )
        fps = video.open_video(source, fps=arguments.fps).fps if has_source_video else video.DEFAULT_FPS
        opened, has_pose_only = video.open_still(driving, fps), True
    else:
        has_pose_only = video.is_still_output(out)
        duration = _ONE_FRAME if has_pose_only else arguments.duration
        opened = video.open_video(driving, arguments.start, duration, arguments.fps)
    if has_pose_only and arguments.mode == "relative":
        raise errors.UserError("`mode` relative needs a driving video: one frame has a pose, but no motion.")
    return _Pair(video.open_video(source, fps=opened.fps) if has_source_video else source, opened, has_pose_only)


def choose_engine(
    arguments: argparse.Namespace, folder: model_folders.ModelFolder, source: str, report: Callable[[str], object]
) -> tuple[str | None, str | None]:
    """Engine and precision of the options, for `engines.load`; `auto` times them on the source."""
    from fomm_tf.inference import engines
    from fomm_tf.inference.engines import choice

    engine, precision = arguments.engine, arguments.precision
    if getattr(arguments, "visualize", None) and engine == engines.AUTO:
        engine = "keras"  # the others compute predictions only
    if engines.AUTO not in (engine, precision):
        choice.check(folder, engine, precision, arguments.force)
        return engine, precision

    def read_image() -> np.ndarray:
        image = next(iter(video.open_video(source))) if video.is_video(source) else video.read_image(source)
        return video.resize(image, folder.config.model.frame_size, arguments.fit)

    return choice.choose(folder, engine, precision, read_image, arguments.force, report)


def load(arguments: argparse.Namespace, source: str) -> animator.Animator:
    """Loads the model on the engine of the options and prints the device; engines are timed on the source."""
    from fomm_tf.inference import animator, engines

    report = (lambda line: None) if arguments.quiet else print
    folder = model_folders.read(arguments.folder or model_folders.BUNDLED)
    engine, precision = choose_engine(arguments, folder, source, report)
    model = animator.Animator(engines.load(folder, engine, precision, report), folder.config)
    if getattr(arguments, "visualize", None) and not model.engine.has_details:
        raise errors.UserError(
            f"`visualize` needs intermediate results, which {model.engine.name} does not compute; use the engine keras."
        )
    report(f"device: {model.engine.device()}")
    return model


def animate_pair(
    model: animator.Animator,
    arguments: argparse.Namespace,
    source: str,
    driving: str,
    out: str,
    report: Callable[[str], object] | None = None,
) -> int:
    """Animates one pair as the options say; returns the number of frames.

    Args:
      model: the animator.
      arguments: of `add_shared_arguments`.
      source: an image or a video.
      driving: a video, an image or a motion file.
      out: the output.
      report: receives the lines about choices; default: they are printed, unless `quiet` is set.
    """
    from fomm_tf.inference import animate

    pair = open_pair(arguments, source, driving, out, model.engine.weights_sha256())
    transfer = dataclasses.replace(model.config.animate, **options.transfer_overrides(arguments))
    loop = arguments.loop
    if pair.has_pose_only:
        transfer = dataclasses.replace(transfer, mode="absolute")
        loop = 1 if isinstance(pair.source, str) else 0
    return animate.animate_file(
        model,
        pair.source,
        pair.driving,
        animate.Output(
            out,
            audio=arguments.audio,
            side_by_side=arguments.side_by_side,
            visualize=getattr(arguments, "visualize", None),
            tag=not arguments.no_tag,
            audio_from=arguments.audio_from,
            save_motion=getattr(arguments, "save_motion", None),
        ),
        transfer,
        animate.MotionOptions(
            best_frame=0 if pair.has_pose_only else arguments.best_frame,
            on_cut=arguments.on_cut,
            smooth=arguments.smooth,
            strength=arguments.motion_strength,
            loop=loop,
            ping_pong=arguments.ping_pong,
        ),
        options.framing(arguments),
        arguments.batch_size,
        arguments.start or 0.0,
        progress=not arguments.quiet,
        check_inputs=report is not None or not arguments.quiet,
        report=report or ((lambda line: None) if arguments.quiet else print),
    )


ANIMATE = console.Command(
    "animate an image or a video by the motion of a driving video", _add_animate_arguments, _run_animate
)
DEMO = console.Command("animate images that come with the program, or your own", _add_demo_arguments, _run_demo)
FACES = console.Command(
    "list the faces of an image with their numbers and boxes, from left to right", _add_faces_arguments, _run_faces
)
