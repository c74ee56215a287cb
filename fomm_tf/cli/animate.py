"""`fomm animate`: the main job."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from fomm_tf import config, video

if TYPE_CHECKING:
    from fomm_tf.inference import animator

TEXT = "make a still image move as the object in a video does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--source", metavar="IMAGE", required=True, help="the image that is to move")
    parser.add_argument(
        "--driving",
        metavar="VIDEO",
        required=True,
        help="the video to move by: a file, a folder of frames, or a stacked png",
    )
    parser.add_argument(
        "--out",
        metavar="OUT",
        required=True,
        help=f"what to write: {', '.join(video.SUFFIXES)}, or a folder of png frames",
    )
    add_options(parser)
    parser.add_argument(
        "--visualize", metavar="DIR", help="write keypoints, deformed source, occlusion and masks there"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares what `animate` and `animate-set` have in common."""
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("--run", metavar="RUN", dest="folder", help="the model's run folder (default: the bundled one)")
    parser.add_argument(
        "--mode",
        choices=("relative", "absolute"),
        help="carry the motion from the first driving frame over, or the driving pose itself (default: the run's, "
        "which is relative unless it was changed)",
    )
    parser.add_argument(
        "--adapt-scale",
        action=yes_or_no,
        help="scale relative motion by the sizes of the two objects (default: the run's)",
    )
    parser.add_argument(
        "--best-frame",
        type=_best_frame,
        default=0,
        metavar="off|N",
        help="number, from 0, of the driving frame whose pose is closest to the image's: relative motion starts from "
        "it (default: off, the first)",
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        default="crop",
        help="how images get the model's size (default: crop)",
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where in the driving video to begin")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="how much of it to take")
    parser.add_argument("--fps", type=float, help="frames a second (default: the driving video's)")
    parser.add_argument("--audio", action=yes_or_no, default=True, help="keep the driving video's sound (default: yes)")
    parser.add_argument("--batch-size", type=int, metavar="N", default=8, help="driving frames at once (default: 8)")
    parser.add_argument(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks compute in (default: float32; float16 for GPUs, bfloat16 for CPUs that have it)",
    )
    parser.add_argument("--side-by-side", action="store_true", help="show image, driving frame and result in a row")
    parser.add_argument(
        "--no-tag", action="store_true", help='leave the note "animated with fomm-tf" out of the metadata'
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> None:
    """Animates one image.

    Raises:
      errors.UserError: for input that cannot be read or output that cannot be written.
    """
    # What can be refused before TensorFlow is loaded is.
    video.check_output(arguments.out)
    video.read_image(arguments.source)
    open_driving(arguments, arguments.driving)
    count = animate(load(arguments), arguments, arguments.source, arguments.driving, arguments.out, arguments.visualize)
    if not arguments.quiet:
        print(f"{arguments.out}: {count} frames")


def open_driving(arguments: argparse.Namespace, path: str) -> video.Video:
    """The driving video as the arguments want it."""
    return video.open_video(path, arguments.start, arguments.duration, arguments.fps)


def load(arguments: argparse.Namespace) -> animator.Animator:
    """The model; says once which device it runs on."""
    from fomm_tf import checkpoint
    from fomm_tf.inference import animator

    model = animator.Animator.load(arguments.folder or checkpoint.BUNDLED, arguments.precision)
    if not arguments.quiet:
        print(f"device: {animator.describe_device()}")
    return model


def animate(
    model: animator.Animator,
    arguments: argparse.Namespace,
    source: str,
    driving: str,
    out: str,
    visualize: str | None = None,
) -> int:
    """Animates `source` by `driving` as the arguments want it.

    Returns:
      How many frames were written.
    """
    from fomm_tf.inference import animate as streaming

    chosen = {"mode": arguments.mode, "adapt_scale": arguments.adapt_scale}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return streaming.animate_file(
        model,
        source,
        open_driving(arguments, driving),
        streaming.Output(out, arguments.audio, arguments.side_by_side, visualize, not arguments.no_tag),
        dataclasses.replace(model.config.animate, **chosen),
        arguments.best_frame,
        arguments.batch_size,
        arguments.fit,
        arguments.start or 0.0,
        progress=not arguments.quiet,
    )


def _best_frame(text: str) -> int:
    if text == "off":
        return 0
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"it is {text!r}; give off, or a frame's number counted from 0")
    return int(text)
