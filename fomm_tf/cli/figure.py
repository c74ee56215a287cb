"""`fomm figure`: figures for a paper."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

from fomm_tf import console, errors, files, video, visualize
from fomm_tf.cli import model_files
from fomm_tf.experiments import figures

_BUNDLED = "bundled"
_PIXELS = (16, 1024)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = "\n".join(f"  {name:<16}{kind.text}" for name, kind in figures.KINDS.items())
    parser.epilog = f"kinds:\n{kinds}"
    parser.add_argument(
        "kind", metavar="KIND", choices=list(figures.KINDS), help=f"{', '.join(figures.KINDS)}: see below"
    )
    parser.add_argument(
        "--run",
        metavar="[NAME=]RUN",
        dest="runs",
        action="append",
        help="a model's run directory, and its label in the figure (default: the directory's name); repeat for further "
        "models (default: the bundled model)",
    )
    parser.add_argument("--source", metavar="IMAGE", nargs="+", default=[], help="source images, one per group of rows")
    parser.add_argument("--driving", metavar="VIDEO", help="the video whose frames are the columns")
    parser.add_argument("--out", metavar="FIGURE", required=True, help="output image: .png or .jpg")
    parser.add_argument(
        "--frames",
        type=int,
        default=5,
        metavar="N",
        help="number of frames, spread over the video (default: %(default)s)",
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where in the video to start")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="how much of it to use")
    parser.add_argument(
        "--size", type=int, default=256, metavar="PIXELS", help="height of each image (default: %(default)s)"
    )
    parser.add_argument("--jacobians", action="store_true", help="draw the Jacobians of keypoints too")
    parser.add_argument("--mode", choices=("relative", "absolute"), help="as for animate (default: the run's)")
    parser.add_argument(
        "--adapt-scale", action=argparse.BooleanOptionalAction, help="as for animate (default: the run's)"
    )
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="as for animate (default: crop)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _run(arguments: argparse.Namespace) -> None:
    kind = figures.KINDS[arguments.kind]
    # Mistakes are reported before TensorFlow is loaded.
    video.check_image_output(arguments.out, *arguments.source, arguments.driving)
    _check(arguments, kind)
    runs = [_parse_run(text) for text in arguments.runs or ()]
    files.check_output(arguments.out, *(path for _, folder in runs for path in model_files.list_model_files(folder)))
    inputs = figures.read_inputs(
        arguments.source, arguments.driving, arguments.frames, arguments.start, arguments.duration
    )
    overrides = {"mode": arguments.mode, "adapt_scale": arguments.adapt_scale}
    if arguments.kind == "reconstruction":
        inputs = inputs._replace(names=["first frame"], sources=[inputs.first])
        overrides["mode"] = "absolute"
    overrides = {name: value for name, value in overrides.items() if value is not None}

    import tqdm

    from fomm_tf import checkpoint
    from fomm_tf.inference import animator

    outputs = []
    for name, folder in tqdm.tqdm(
        runs or [(_BUNDLED, checkpoint.BUNDLED)], unit="run", disable=True if arguments.quiet else None
    ):
        model = animator.Animator.load(folder)
        transfer = dataclasses.replace(model.config.animate, **overrides)
        outputs.append(
            figures.render(
                name, model, inputs, transfer, arguments.fit, kind.animates, arguments.size, arguments.jacobians
            )
        )
    size = figures.cell_size((outputs[0].sources + outputs[0].frames)[0].shape[:2], arguments.size)
    figure = visualize.draw_grid(*kind.rows(inputs, outputs), size)
    video.write_image(arguments.out, figure)
    if not arguments.quiet:
        print(f"{arguments.out}: {figure.shape[1]}x{figure.shape[0]} pixels")


def _check(arguments: argparse.Namespace, kind: figures.Kind) -> None:
    if arguments.kind == "reconstruction" and arguments.source:
        raise errors.UserError("A reconstruction has the video's first frame as its source; leave --source out.")
    if kind.needs_source and not arguments.source:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows sources; give --source IMAGE.")
    if kind.needs_driving and not arguments.driving:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows driving frames; give --driving VIDEO.")
    if not (arguments.source or arguments.driving):
        raise errors.UserError("The figure would be empty; give --source IMAGE, --driving VIDEO, or both.")
    low, high = _PIXELS
    if not low <= arguments.size <= high:
        raise errors.UserError(f"--size must be {low} to {high} pixels; got {arguments.size}.")


def _parse_run(text: str) -> tuple[str, str]:
    """Splits NAME=RUN; an equals sign may also be part of the directory's name."""
    name, equals, folder = text.partition("=")
    if not equals or pathlib.Path(text).is_dir():
        name, folder = pathlib.Path(text).resolve().name, text
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--run {folder} is not a directory; give a run directory, or NAME=RUN.")
    return name, folder


FIGURE = console.Command(
    "draw a figure like the paper's: inputs and outputs of one or several models", _add_arguments, _run
)
