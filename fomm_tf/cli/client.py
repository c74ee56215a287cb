"""`fomm client`: uses a model behind a server."""

from __future__ import annotations

import argparse

from fomm_tf import console, errors, video
from fomm_tf.cli import animate as local
from fomm_tf.serving import client as clients

_ANIMATE = "animate an image with the motion of a video, through a server"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    animate = commands.add_parser("animate", help=_ANIMATE, description=f"{_ANIMATE[0].upper()}{_ANIMATE[1:]}.")
    animate.set_defaults(act=_animate, parser=animate)
    animate.add_argument("--server", metavar="HOST:PORT", required=True, help="address of the model server")
    local.add_file_arguments(animate)
    animate.add_argument(
        "--protocol", choices=clients.PROTOCOLS, default="rest", help="protocol of that port (default: rest)"
    )
    animate.add_argument("--model", metavar="NAME", default="fomm", help="model name on the server (default: fomm)")
    version = animate.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, metavar="N", help="model version (default: the highest)")
    version.add_argument("--label", metavar="LABEL", help="model version with this label")
    animate.add_argument(
        "--mode",
        choices=("relative", "absolute"),
        default="relative",
        help="transfer the motion relative to the first driving frame, or the driving pose itself (default: relative)",
    )
    animate.add_argument(
        "--adapt-scale",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="scale relative motion by the ratio of the two objects' sizes (default: no)",
    )
    animate.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        default=clients.BATCH_SIZE,
        help="driving frames per request (default: %(default)s)",
    )
    animate.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=clients.TIMEOUT,
        help="deadline of each request (default: %(default)g)",
    )
    animate.add_argument(
        "--retry-timeout",
        type=float,
        metavar="SECONDS",
        default=clients.RETRY_TIMEOUT,
        help="how long to retry while the server is unavailable (default: %(default)g)",
    )
    local.add_video_arguments(animate)


def _animate(arguments: argparse.Namespace) -> None:
    # Inputs are checked before anything is sent.
    video.check_output(arguments.out, arguments.source, arguments.driving)
    source = video.read_image(arguments.source)
    driving = video.open_video(arguments.driving, arguments.start, arguments.duration, arguments.fps)

    from fomm_tf.serving import animation

    options = animation.Options(
        relative=arguments.mode == "relative",
        adapt_scale=arguments.adapt_scale,
        batch_size=arguments.batch_size,
        fit=arguments.fit,
        audio=arguments.audio,
        audio_start=arguments.start or 0.0,
        tag=not arguments.no_tag,
        progress=not arguments.quiet,
    )
    try:
        with clients.Client(
            arguments.server,
            arguments.model,
            arguments.version,
            arguments.label,
            arguments.protocol,
            arguments.timeout,
            arguments.retry_timeout,
        ) as client:
            frame_count = animation.animate(client, source, driving, arguments.out, options)
    except (clients.ArgumentError, clients.ServerError, ImportError) as error:
        raise errors.UserError(str(error)) from error
    if not arguments.quiet:
        print(f"{arguments.out}: {frame_count} frames")


CLIENT = console.Command(
    "use a model behind a server: TF-Serving or fomm serve",
    _add_arguments,
    lambda arguments: arguments.act(arguments),
)
