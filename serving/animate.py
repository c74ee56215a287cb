"""`python -m serving animate`: what `fomm animate` does, with the model behind a server."""

from __future__ import annotations

import argparse

import numpy as np

from fomm_tf import console, errors, video
from serving import client as clients
from serving import connection

TEXT = "make a still picture move as the object in a video does, by a server"

_TAG = "animated with fomm-tf"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("--server", metavar="HOST:PORT", required=True, help="who has the model")
    parser.add_argument("--source", metavar="IMAGE", required=True, help="the picture that is to move")
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
    parser.add_argument(
        "--protocol", choices=connection.PROTOCOLS, default="rest", help="what the port speaks (default: rest)"
    )
    parser.add_argument("--model", metavar="NAME", default="fomm", help="the model's name there (default: fomm)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="the model's version (default: the highest)")
    which.add_argument("--label", metavar="LABEL", help="the version that bears this label")
    parser.add_argument(
        "--mode",
        choices=("relative", "absolute"),
        default="relative",
        help="carry the motion from the first driving frame over, or the driving pose itself (default: relative)",
    )
    parser.add_argument(
        "--adapt-scale",
        action=yes_or_no,
        default=False,
        help="scale relative motion by the sizes of the two objects (default: no)",
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        default="crop",
        help="how pictures get the model's size (default: crop)",
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where in the driving video to begin")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="how much of it to take")
    parser.add_argument("--fps", type=float, help="frames a second (default: the driving video's)")
    parser.add_argument("--audio", action=yes_or_no, default=True, help="keep the driving video's sound (default: yes)")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        default=clients.DEFAULT_BATCH,
        help=f"driving frames a request (default: {clients.DEFAULT_BATCH})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=connection.TIMEOUT,
        help=f"what a request may take (default: {connection.TIMEOUT:g})",
    )
    parser.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        default=connection.PATIENCE,
        help=f"how long to try again while the server is unavailable (default: {connection.PATIENCE:g})",
    )
    parser.add_argument("--no-tag", action="store_true", help=f'leave the note "{_TAG}" out of the metadata')
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> None:
    """Animates one picture.

    Raises:
      errors.UserError: for input that cannot be read, output that cannot be written, or a server that does not answer.
    """
    video.check_output(arguments.out)
    picture = video.read_image(arguments.source)
    driving = video.open_video(arguments.driving, arguments.start, arguments.duration, arguments.fps)
    try:
        with _connect(arguments) as client:
            count = _animate(client, picture, driving, arguments)
    except (clients.ServerError, clients.ArgumentError) as error:
        raise errors.UserError(str(error)) from error
    if not arguments.quiet:
        print(f"{arguments.out}: {count} frames")


def _connect(arguments: argparse.Namespace) -> clients.Client:
    console.prepare_tensorflow(verbose=False)  # gRPC loads it
    try:
        return clients.Client(
            arguments.server,
            arguments.model,
            arguments.version,
            arguments.label,
            arguments.protocol,
            arguments.timeout,
            arguments.patience,
        )
    except ImportError as error:
        raise errors.UserError(str(error)) from error


def _animate(client: clients.Client, picture: np.ndarray, driving: video.Video, arguments: argparse.Namespace) -> int:
    """Writes the animation; tells how many frames it has."""
    import tqdm

    size = client.frame_size

    def fitted(frame: np.ndarray) -> np.ndarray:
        return video.resize(frame, size, arguments.fit)

    animated = client.animate(
        fitted(picture),
        map(fitted, driving),
        arguments.mode == "relative",
        arguments.adapt_scale,
        arguments.batch_size,
    )
    audio = driving.path if arguments.audio and driving.has_audio else None
    tag = None if arguments.no_tag else _TAG
    shown = tqdm.tqdm(animated, total=driving.frame_count, unit="frame", disable=True if arguments.quiet else None)
    opened = video.write_video(
        arguments.out, driving.fps, audio_from=audio, audio_start=arguments.start or 0.0, tag=tag
    )
    with opened as writer, shown:
        for frame in shown:
            writer.write(frame)
    return writer.count
