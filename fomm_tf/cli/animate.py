"""`fomm animate`, `fomm animate-set` and `fomm demo`: animations of one image, of many pairs, of drawn heads."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fomm_tf import config, console, errors, files, video
from fomm_tf.cli import options
from fomm_tf.data import layout

if TYPE_CHECKING:
    from fomm_tf.inference import animator


def _add_animate_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_files(parser)
    _add_shared_arguments(parser)
    text = "write keypoints, deformed source, occlusion and masks to this directory"
    parser.add_argument("--visualize", metavar="DIR", help=text)


def _add_animate_set_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    add("--data", metavar="DIR", required=True, help="the directory that its paths are relative to")
    add("--out", metavar="DIR", required=True, help="output directory for SOURCE--DRIVING.mp4 files")
    _add_shared_arguments(parser)


def _add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    options.add_run(parser)
    options.add_transfer(parser)
    add(
        "--best-frame",
        type=_best_frame,
        default=0,
        metavar="off|N",
        help="index of the driving frame whose pose is closest to the image's, from which relative motion starts "
        "(default: off, the first frame)",
    )
    add("--batch-size", type=int, metavar="N", default=8, help="driving frames per batch (default: 8)")
    add(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks compute in (default: float32; float16 for GPUs, bfloat16 for CPUs that support it)",
    )
    add("--side-by-side", action="store_true", help="show image, driving frame and result in a row")
    options.add_video(parser)


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--out", metavar="DIR", default="outputs/demo", help="output directory (default: %(default)s)")


def _best_frame(text: str) -> int:
    if text == "off":
        return 0
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; give off, or the index of a frame, from 0")
    return int(text)


def _run_animate(arguments: argparse.Namespace) -> None:
    # Mistakes are reported before TensorFlow is loaded.
    inputs = [arguments.source, arguments.driving, *options.list_model_files(arguments.folder)]
    video.check_output(arguments.out, *inputs)
    if arguments.visualize is not None:
        from fomm_tf import visualize

        visualize.check_output(arguments.visualize, *inputs)
    video.read_image(arguments.source)
    _open_driving(arguments, arguments.driving)
    model = _load(arguments)
    count = _animate(model, arguments, arguments.source, arguments.driving, arguments.out, arguments.visualize)
    if not arguments.quiet:
        print(f"{arguments.out}: {count} frames")


def _run_animate_set(arguments: argparse.Namespace) -> None:
    pairs = layout.read_pairs(arguments.pairs)
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    files.check_name(out)
    if not data.is_dir():
        raise errors.UserError(f"--data {data} is not a directory; give the one that the pairs' paths are relative to.")
    used = [data / path for pair in pairs for path in pair if path]
    inputs = files.Inputs([arguments.pairs, *used, *options.list_model_files(arguments.folder)])
    targets = [out / f"{pair.name}.mp4" for pair in pairs]
    model = _load(arguments)
    failures = []
    for number, (pair, target) in enumerate(zip(pairs, targets, strict=True), 1):
        try:
            inputs.check(target)
            count = _animate(model, arguments, str(data / pair.source), str(data / pair.driving), str(target))
        except errors.UserError as error:
            failures.append(f"{pair.source} by {pair.driving}: {error}")
            continue
        if not arguments.quiet:
            print(f"{number}/{len(pairs)} {target}: {count} frames")
    if failures:
        raise errors.UserError(f"{len(failures)} of {len(pairs)} pairs could not be animated: {' | '.join(failures)}")


def _run_demo(arguments: argparse.Namespace) -> None:
    from fomm_tf import demo

    if arguments.folder is not None:
        files.check_other_directory(pathlib.Path(arguments.out), pathlib.Path(arguments.folder))
    for line in demo.run(arguments.folder, pathlib.Path(arguments.out)):
        print(line)


def _open_driving(arguments: argparse.Namespace, path: str) -> video.Video:
    return video.open_video(path, arguments.start, arguments.duration, arguments.fps)


def _load(arguments: argparse.Namespace) -> animator.Animator:
    """Loads the model and prints the device."""
    from fomm_tf import checkpoint
    from fomm_tf.inference import animator

    model = animator.Animator.load(arguments.folder or checkpoint.BUNDLED, arguments.precision)
    if not arguments.quiet:
        print(f"device: {animator.describe_device()}")
    return model


def _animate(
    model: animator.Animator,
    arguments: argparse.Namespace,
    source: str,
    driving: str,
    out: str,
    visualize: str | None = None,
) -> int:
    """Animates one pair; returns the number of frames."""
    from fomm_tf.inference import animate

    return animate.animate_file(
        model,
        source,
        _open_driving(arguments, driving),
        animate.Output(out, arguments.audio, arguments.side_by_side, visualize, not arguments.no_tag),
        dataclasses.replace(model.config.animate, **options.transfer_overrides(arguments)),
        arguments.best_frame,
        arguments.batch_size,
        arguments.fit,
        arguments.start or 0.0,
        progress=not arguments.quiet,
        check_inputs=not arguments.quiet,
    )


# Options of `fomm animate` that a server sets itself.
_NOT_FOR_CLIENTS = ("folder", "model", "precision", "batch_size", "quiet", "help")


def animate_with_options(
    model: animator.Animator, fields: Mapping[str, str], source: str, driving: str, out: str
) -> tuple[int | None, Callable[[], int]]:
    """Prepares the animation of one pair with options as text: `{"mode": "absolute", "audio": "no"}`.

    Args:
      model: the animator.
      fields: options of `fomm animate` without their dashes; those with values `yes` and `no` are switches.
      source: the image.
      driving: the driving video.
      out: the output.

    Returns:
      The number of frames, if known, and what animates.

    Raises:
      errors.UserError: for an unknown option or an invalid value.
    """
    parser = console.Parser(prog="animate", add_help=False)
    _add_shared_arguments(parser)
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_FOR_CLIENTS}
    argv = []
    for name, value in fields.items():
        action = actions.get(name.replace("-", "_"))
        if action is None:
            raise errors.UserError(f"{name}: unknown option; expected one of: {', '.join(sorted(actions))}.")
        if not re.fullmatch(r"[A-Za-z0-9.,+_-]{1,50}", value):  # no paths, and no names of Python functions
            raise errors.UserError(f"{name}: got {value[:50]!r}; expected a word or numbers.")
        if action.nargs != 0:
            argv.append(f"{action.option_strings[0]}={value}")
        elif value in ("yes", "true", "1"):
            argv.append(action.option_strings[0])
        elif value in ("no", "false", "0"):
            argv += action.option_strings[1:2]
        else:
            raise errors.UserError(f"{name}: got {value!r}; expected yes or no.")
    try:
        arguments = parser.parse_args(["--quiet", *argv])
    except errors.UserError as error:
        raise errors.UserError(str(error).replace("; see animate --help", "")) from None
    with parser.options_in_errors():
        opened = _open_driving(arguments, driving)
    return getattr(opened, "frame_count", None), lambda: _animate(model, arguments, source, driving, out)


ANIMATE = console.Command("animate an image by the motion of a driving video", _add_animate_arguments, _run_animate)
ANIMATE_SET = console.Command(
    "animate many pairs of image and video, listed in a CSV file", _add_animate_set_arguments, _run_animate_set
)
DEMO = console.Command("draw an image and a driving video, and animate the image", _add_demo_arguments, _run_demo)
