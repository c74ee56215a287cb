"""`fomm figure`: images for a paper."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

from fomm_tf import errors, video
from fomm_tf.figures import kinds, layout
from fomm_tf.figures import material as materials

TEXT = "make a figure of what models see and do, in the manner of the paper's"
_BUNDLED = "bundled"
_PIXELS = (16, 1024)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    shown = "\n".join(f"  {name:<16}{kind.text}" for name, kind in kinds.KINDS.items())
    parser.epilog = f"kinds:\n{shown}"
    parser.add_argument("kind", metavar="KIND", choices=list(kinds.KINDS), help=f"{', '.join(kinds.KINDS)}: see below")
    parser.add_argument(
        "--run",
        metavar="[NAME=]RUN",
        dest="runs",
        action="append",
        help="a model's run folder, and what the figure calls it (default: the folder's name); again for each further "
        "model (default: the bundled one)",
    )
    parser.add_argument("--source", metavar="IMAGE", nargs="+", default=[], help="images, one below the other")
    parser.add_argument("--driving", metavar="VIDEO", help="the video whose frames stand beside each other")
    parser.add_argument("--out", metavar="FIGURE", required=True, help="what to write: .png or .jpg")
    parser.add_argument(
        "--frames", type=int, default=5, metavar="N", help="how many, spread over the video (default: %(default)s)"
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where in the video to begin")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="how much of it to take")
    parser.add_argument(
        "--size", type=int, default=256, metavar="PIXELS", help="height of each image (default: %(default)s)"
    )
    parser.add_argument("--jacobians", action="store_true", help="where keypoints are drawn, draw their Jacobians too")
    parser.add_argument("--mode", choices=("relative", "absolute"), help="as for animate (default: the run's)")
    parser.add_argument(
        "--adapt-scale", action=argparse.BooleanOptionalAction, help="as for animate (default: the run's)"
    )
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="as for animate (default: crop)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> None:
    """Makes the figure.

    Raises:
      errors.UserError: for input that cannot be read or does not suit the kind, or output that cannot be written.
    """
    kind = kinds.KINDS[arguments.kind]
    # What can be refused before TensorFlow is loaded is.
    video.check_image_output(arguments.out)
    _check(arguments, kind)
    runs = [_split(text) for text in arguments.runs or ()]
    material = materials.read(
        arguments.source, arguments.driving, arguments.frames, arguments.start, arguments.duration
    )
    chosen = {"mode": arguments.mode, "adapt_scale": arguments.adapt_scale}
    if arguments.kind == "reconstruction":
        material = material._replace(names=["first frame"], sources=[material.first])
        chosen["mode"] = "absolute"
    chosen = {name: value for name, value in chosen.items() if value is not None}

    import tqdm

    from fomm_tf import checkpoint
    from fomm_tf.figures import seeing
    from fomm_tf.inference import animator

    seen = []
    for name, folder in tqdm.tqdm(
        runs or [(_BUNDLED, checkpoint.BUNDLED)], unit="run", disable=True if arguments.quiet else None
    ):
        model = animator.Animator.load(folder)
        transfer = dataclasses.replace(model.config.animate, **chosen)
        seen.append(
            seeing.look(
                name, model, material, transfer, arguments.fit, kind.renders, arguments.size, arguments.jacobians
            )
        )
    size = seeing.cell_size((seen[0].sources + seen[0].frames)[0].shape[:2], arguments.size)
    figure = layout.assemble(*kind.rows(material, seen), size)
    video.write_image(arguments.out, figure)
    if not arguments.quiet:
        print(f"{arguments.out}: {figure.shape[1]}x{figure.shape[0]} pixels")


def _check(arguments: argparse.Namespace, kind: kinds.Kind) -> None:
    if arguments.kind == "reconstruction" and arguments.source:
        raise errors.UserError("A reconstruction has the video's first frame as its source; leave --source out.")
    if kind.needs_source and not arguments.source:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows sources; give --source IMAGE.")
    if kind.needs_driving and not arguments.driving:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows driving frames; give --driving VIDEO.")
    if not (arguments.source or arguments.driving):
        raise errors.UserError("There is nothing to show; give --source IMAGE, --driving VIDEO, or both.")
    low, high = _PIXELS
    if not low <= arguments.size <= high:
        raise errors.UserError(f"--size is {arguments.size}; give {low} to {high} pixels.")


def _split(text: str) -> tuple[str, str]:
    """Name and folder; an equals sign may be part of the folder's own name."""
    name, equals, folder = text.partition("=")
    if not equals or pathlib.Path(text).is_dir():
        name, folder = pathlib.Path(text).resolve().name, text
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--run {folder} is no folder; give a run folder, or NAME=RUN.")
    return name, folder
