"""Options that several commands share, and the model that they name."""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from typing import TYPE_CHECKING

from fomm_tf import fetch, model_folders, video
from fomm_tf.inference import engines

if TYPE_CHECKING:
    from fomm_tf.inference.framing import Framing

YES_OR_NO = argparse.BooleanOptionalAction


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declares the model, by directory or by name; `resolve_model` sets `folder` for the latter."""
    add = parser.add_mutually_exclusive_group().add_argument
    text = "the model's directory: a run, or what fomm export wrote (default: the bundled model)"
    add("--run", metavar="RUN", dest="folder", help=text)
    add("--model", metavar="NAME", help="a model by its name, such as vox-256; fomm models lists them")


def add_engine(parser: argparse.ArgumentParser, auto: bool = False) -> None:
    """Declares what runs the model, and in which precision; with `auto` among the choices, and `force`."""
    precisions = dict.fromkeys(precision for names in engines.PRECISIONS.values() for precision in names)
    more = [engines.AUTO] if auto else []
    text = (
        "what runs the networks (default: keras for a run, which is exported once for the others; for exported files, "
    )
    text += "what reads them)"
    text += "; auto times them once on this machine" if auto else ""
    parser.add_argument("--engine", choices=(*engines.PRECISIONS, *more), help=text)
    text = "what the networks compute in (default: float32"
    text += ", or auto with --engine auto" if auto else ""
    text += "); dynamic and int8 are the 8-bit variants of fomm export"
    parser.add_argument("--precision", choices=(*precisions, *more), help=text)
    if auto:
        parser.add_argument("--force", action="store_true", help="use a precision that is known to be slow on this CPU")


def resolve_model(arguments: argparse.Namespace) -> None:
    """Sets `folder` to the run directory of `model`, if that is given; may ask whether to download it."""
    if getattr(arguments, "model", None) and hasattr(arguments, "folder"):
        arguments.folder = str(locate_model(arguments.model))


def locate_model(name: str) -> pathlib.Path:
    """The run directory of a model by name; on a terminal, offers to download one that is not installed.

    Raises:
      errors.UserError: if there is no such model, or it is not installed.
    """
    try:
        return fetch.locate(name)
    except fetch.NotInstalledError as error:
        if fetch.is_offline() or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        print(f"{error.name} is not installed: {fetch.released(error.name).terms}", file=sys.stderr)
        print("Download it now? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise
        missing = error.name
    from fomm_tf import presets

    presets.install(missing)
    return fetch.locate(name)


def name_options(line: str) -> str:
    """Replaces parameters in backquotes by the options of `fomm prepare`."""
    return re.sub(r"`(\w+)`", lambda match: f"--{match[1].replace('_', '-')}", line)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Declares the source image, the driving video and the output."""
    add = parser.add_argument
    text = "the driving video: a file, a directory of frames, or a stacked png"
    add("--source", metavar="IMAGE", required=True, help="the image to animate")
    add("--driving", metavar="VIDEO", required=True, help=text)
    text = f"output: a file with suffix {', '.join(video.SUFFIXES)}, or a directory for png frames"
    add("--out", metavar="OUT", required=True, help=text)


def add_range(parser: argparse.ArgumentParser) -> None:
    """Declares which part of the driving video is used."""
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where to start in the driving video")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="how much of the driving video to use")


def add_fit(parser: argparse.ArgumentParser, text: str = "how images are resized to the model's size") -> None:
    """Declares how frames of any size are fitted."""
    parser.add_argument("--fit", choices=("crop", "pad", "stretch"), default="crop", help=f"{text} (default: crop)")


def add_video(parser: argparse.ArgumentParser) -> None:
    """Declares how the driving video is read and the output is written."""
    add = parser.add_argument
    add_fit(parser)
    add_range(parser)
    add("--fps", type=float, help="frames per second (default: the driving video's)")
    add("--audio", action=YES_OR_NO, default=True, help="copy the driving video's audio (default: yes)")
    add("--no-tag", action="store_true", help='omit "animated with fomm-tf" from the metadata of the output')
    add_quiet(parser)


def add_transfer(parser: argparse.ArgumentParser, mode: str | None = None, adapt_scale: bool | None = None) -> None:
    """Declares the motion transfer, with its defaults; None for the run's."""
    add = parser.add_argument
    text = "transfer the motion relative to the first driving frame, or the driving pose itself"
    default = mode or "the run's, relative unless it was changed"
    add("--mode", choices=("relative", "absolute"), default=mode, help=f"{text} (default: {default})")
    text = "scale relative motion by the ratio of the two objects' sizes"
    default = "the run's" if adapt_scale is None else "no"
    add("--adapt-scale", action=YES_OR_NO, default=adapt_scale, help=f"{text} (default: {default})")


def transfer_overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """The options of `add_transfer` that differ from the run's, as fields of `config.AnimateConfig`."""
    overrides = {"mode": arguments.mode, "adapt_scale": arguments.adapt_scale}
    return {name: value for name, value in overrides.items() if value is not None}


def add_framing(parser: argparse.ArgumentParser, default: str) -> None:
    """Declares what of source and driving video is animated; `default` says what `auto` means."""
    crops = "auto|off|face|body|X,Y,W,H"
    add = parser.add_argument_group("what is animated").add_argument
    text = f"crop source and driving video to a face, a body or a rectangle (default: {default})"
    add("--crop", metavar=crops, default="auto", help=text)
    add("--crop-source", metavar=crops, help="the same for the source only (default: --crop)")
    add("--crop-driving", metavar=crops, help="the same for the driving video only (default: --crop)")
    add("--follow", action="store_true", help="move the crop of a video with the object")
    add("--paste-back", action="store_true", help="put the animated crop back into the whole source")
    text = "which face of a source image: the largest (default), its number in fomm faces, or all with --paste-back"
    add("--face", metavar="largest|N|all", default="largest", help=text)


def framing(arguments: argparse.Namespace) -> Framing:
    """The options of `add_framing`, checked."""
    from fomm_tf.inference import crops, faces
    from fomm_tf.inference import framing as framings

    source, driving = (
        crops.parse_crop(chosen or arguments.crop) for chosen in (arguments.crop_source, arguments.crop_driving)
    )
    face = faces.check_choice(arguments.face)
    return framings.Framing(source, driving, face, arguments.follow, arguments.paste_back, arguments.fit)


def add_filters(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declares how keypoints and motion are filtered; returns the group, for more options."""
    group = parser.add_argument_group("motion")
    text = "reduce jitter: 1 is a good value, up to 10; 0, the default, is off"
    group.add_argument("--smooth", type=float, metavar="STRENGTH", default=0.0, help=text)
    text = "scale relative motion: above 1 exaggerates (default: 1)"
    group.add_argument("--motion-strength", type=float, metavar="FACTOR", default=1.0, help=text)
    return group


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Declares that only errors are printed."""
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def print_above_progress(line: str) -> None:
    """Prints a line without breaking the progress bars of tqdm."""
    import tqdm  # not for `fomm --help`

    with tqdm.tqdm.external_write_mode():
        print(line, flush=True)


def positive_int(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """Reads the number of a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a port from 0 to 65535")
    return int(text)


def list_model_files(folder: str | None) -> list[pathlib.Path]:
    """The files and directories of a model directory that loading it may read; see `model_folders.list_files`.

    Args:
      folder: the model directory; None for the bundled model, whose files are not listed.
    """
    return [] if folder is None else model_folders.list_files(folder)
