"""`python -m serving animate`: `fomm animate` with the model behind a server."""

from __future__ import annotations

import argparse

import numpy as np

from fomm_tf import console, errors, video
from serving import base_client
from serving import client as clients

TEXT = "animate an image with the motion of a video, through a server"

_TAG = "animated with fomm-tf"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("--server", metavar="HOST:PORT", required=True, help="address of the model server")
    parser.add_argument("--source", metavar="IMAGE", required=True, help="the image to animate")
    parser.add_argument(
        "--driving",
        metavar="VIDEO",
        required=True,
        help="the video whose motion is used: a file, a directory of frames, or a stacked png",
    )
    parser.add_argument(
        "--out",
        metavar="OUT",
        required=True,
        help=f"output: a file ({', '.join(video.SUFFIXES)}) or a directory of png frames",
    )
    parser.add_argument(
        "--protocol", choices=base_client.PROTOCOLS, default="rest", help="protocol of that port (default: rest)"
    )
    parser.add_argument("--model", metavar="NAME", default="fomm", help="model name on the server (default: fomm)")
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, metavar="N", help="model version (default: the highest)")
    version.add_argument("--label", metavar="LABEL", help="model version with this label")
    parser.add_argument(
        "--mode",
        choices=("relative", "absolute"),
        default="relative",
        help="transfer the motion relative to the first driving frame, or the driving pose itself (default: relative)",
    )
    parser.add_argument(
        "--adapt-scale",
        action=yes_or_no,
        default=False,
        help="scale relative motion by the ratio of the two objects' sizes (default: no)",
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        default="crop",
        help="how images are fitted to the model's frame size (default: crop)",
    )
    parser.add_argument("--start", type=float, metavar="SECONDS", help="start time in the driving video")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="duration to use of the driving video")
    parser.add_argument("--fps", type=float, help="frames per second (default: the driving video's)")
    parser.add_argument("--audio", action=yes_or_no, default=True, help="keep the driving video's audio (default: yes)")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        default=clients.DEFAULT_BATCH_SIZE,
        help=f"driving frames per request (default: {clients.DEFAULT_BATCH_SIZE})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=base_client.TIMEOUT,
        help=f"deadline of each request (default: {base_client.TIMEOUT:g})",
    )
    parser.add_argument(
        "--retry-timeout",
        type=float,
        metavar="SECONDS",
        default=base_client.RETRY_TIMEOUT,
        help=f"how long to retry while the server is unavailable (default: {base_client.RETRY_TIMEOUT:g})",
    )
    parser.add_argument("--no-tag", action="store_true", help=f'do not write the comment "{_TAG}" to the metadata')
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(arguments: argparse.Namespace) -> None:
    """Animates one image.

    Raises:
      errors.UserError: if an input cannot be read, the output cannot be written, or the server does not answer.
    """
    video.check_output(arguments.out)
    source = video.read_image(arguments.source)
    driving = video.open_video(arguments.driving, arguments.start, arguments.duration, arguments.fps)
    try:
        with _connect(arguments) as client:
            frame_count = _animate(client, source, driving, arguments)
    except (clients.ServerError, clients.ArgumentError) as error:
        raise errors.UserError(str(error)) from error
    if not arguments.quiet:
        print(f"{arguments.out}: {frame_count} frames")


def _connect(arguments: argparse.Namespace) -> clients.Client:
    console.prepare_tensorflow(verbose=False)  # the gRPC client imports it
    try:
        return clients.Client(
            arguments.server,
            arguments.model,
            arguments.version,
            arguments.label,
            arguments.protocol,
            arguments.timeout,
            arguments.retry_timeout,
        )
    except ImportError as error:
        raise errors.UserError(str(error)) from error


def _animate(client: clients.Client, source: np.ndarray, driving: video.Video, arguments: argparse.Namespace) -> int:
    """Writes the animation and returns its number of frames."""
    import tqdm

    frame_size = client.frame_size

    def fit(frame: np.ndarray) -> np.ndarray:
        return video.resize(frame, frame_size, arguments.fit)

    animation = client.animate(
        fit(source), map(fit, driving), arguments.mode == "relative", arguments.adapt_scale, arguments.batch_size
    )
    writer = video.write_video(
        arguments.out,
        driving.fps,
        audio_from=driving.path if arguments.audio and driving.has_audio else None,
        audio_start=arguments.start or 0.0,
        tag=None if arguments.no_tag else _TAG,
    )
    progress = tqdm.tqdm(animation, total=driving.frame_count, unit="frame", disable=True if arguments.quiet else None)
    with writer as output, progress:
        for frame in progress:
            output.write(frame)
    return output.count
