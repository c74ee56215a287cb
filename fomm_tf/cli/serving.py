"""`fomm serve` and `fomm client`: a model behind TF-Serving's protocols, and its use."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib

import fomm_tf
from fomm_tf import console, errors, fetch, video
from fomm_tf.cli import options
from fomm_tf.fetch import catalog
from fomm_tf.serving import client as clients

_MORE = """\
example:
  fomm export --to saved_model --out models/fomm
  fomm serve --model models/fomm
  fomm client animate --server localhost:8501 --source face.jpg --driving clip.mp4 --out animated.mp4
"""
_MEBIBYTE = 2**20
_ANIMATE = "animate an image with the motion of a video, through a server"


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    add = parser.add_argument
    text = "directory of versions, 1, 2, ..., of fomm export; or a model by its name, exported at its first use"
    add("--model", dest="directory", metavar="DIR|NAME", required=True, help=text)
    add("--name", default="fomm", help="model name in requests (default: fomm)")
    text = "version label NAME for version N, which then stays loaded; can be repeated"
    add("--label", dest="labels", type=_label, action="append", default=[], metavar="NAME=N", help=text)
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--grpc-port", type=int, default=8500, metavar="N", help="gRPC port; 0 is any free port (default: 8500)")
    add("--rest-port", type=int, default=8501, metavar="N", help="REST port; 0 is any free port (default: 8501)")
    for option, default, text in (
        ("--queue", 128, "requests admitted at once; further ones are rejected (default: 128)"),
        ("--max-batch", 8, "rows of batched requests (default: 8)"),
        ("--threads", 1, "batches computed at once (default: 1)"),
        ("--max-mib", 64, "maximum request size in MiB (default: 64)"),
        ("--max-frames", 256, "frames per request (default: 256)"),
    ):
        add(option, type=_positive_int, default=default, metavar="N", help=text)
    text = "deadline of requests that set none, and of running requests at shutdown (default: 60)"
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help=text)
    add("--quiet", action="store_true", help="print errors only")


def _add_client_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    animate = commands.add_parser("animate", help=_ANIMATE, description=f"{_ANIMATE[0].upper()}{_ANIMATE[1:]}.")
    animate.set_defaults(act=_animate, parser=animate)
    add = animate.add_argument
    add("--server", metavar="HOST:PORT", required=True, help="address of the model server")
    options.add_files(animate)
    add("--protocol", choices=clients.PROTOCOLS, default="rest", help="protocol of that port (default: rest)")
    add("--model", metavar="NAME", default="fomm", help="model name on the server (default: fomm)")
    version = animate.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, metavar="N", help="model version (default: the highest)")
    version.add_argument("--label", metavar="LABEL", help="model version with this label")
    options.add_transfer(animate, mode="relative", adapt_scale=False)
    options.add_framing(animate, "off")
    options.add_filters(animate)
    text = "driving frames per request (default: %(default)s)"
    add("--batch-size", type=int, metavar="N", default=clients.BATCH_SIZE, help=text)
    for option, default, text in (
        ("--timeout", clients.TIMEOUT, "deadline of each request"),
        ("--retry-timeout", clients.RETRY_TIMEOUT, "how long to retry while the server is unavailable"),
    ):
        add(option, type=float, metavar="SECONDS", default=default, help=f"{text} (default: %(default)g)")
    options.add_video(animate)


def _serve(arguments: argparse.Namespace) -> None:
    directory = _find_directory(arguments.directory)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.ERROR if arguments.quiet else logging.WARNING,
        format="%(asctime)s %(name)s: %(message)s",
    )
    with console.requires_extra("serving"):
        from fomm_tf.serving.local import core, server, versions
    limits = core.Limits(
        max_requests=arguments.queue,
        max_request_bytes=arguments.max_mib * _MEBIBYTE,
        max_frames=arguments.max_frames,
        timeout=arguments.timeout,
        max_batch_rows=arguments.max_batch,
        num_threads=arguments.threads,
    )
    manager = versions.VersionManager(arguments.name, directory, dict(arguments.labels))
    server_core = core.ServerCore(manager, limits)
    asyncio.run(server.run(server_core, arguments.host, arguments.grpc_port, arguments.rest_port, arguments.quiet))


def _find_directory(name: str) -> pathlib.Path:
    """The directory of versions, or that of a model by its name."""
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    try:
        run = options.locate_model(name)
    except (fetch.NotInstalledError, fetch.UnavailableError):
        raise
    except errors.UserError as error:
        raise errors.UserError(
            f"`directory`: {name} is not a directory; expected a directory of versions; export one with: "
            f"fomm export --to saved_model --out DIR, or give a model by its name: {error}"
        ) from None
    directory = catalog.folder(name) / f"saved_model-{fomm_tf.__version__}"
    if not directory.is_dir():
        with console.requires_extra("export"):
            from fomm_tf.export import saved_model
        saved_model.write(run, directory, "float32", None)
    return directory


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of at least 1")
    return int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; expected NAME=N, such as stable=1")
    return name, int(version)


def _animate(arguments: argparse.Namespace) -> None:
    # Inputs are checked before anything is sent.
    video.check_output(arguments.out, arguments.source, arguments.driving)
    choice = options.framing(arguments)
    source = video.read_image(arguments.source)
    driving = video.open_video(arguments.driving, arguments.start, arguments.duration, arguments.fps)

    from fomm_tf.serving import animation

    def view(frame_size: tuple[int, int]) -> animation.Views:
        from fomm_tf.inference import framing

        # A server does not say what its model was trained on: `auto` is off.
        frames = framing.open_source(source, arguments.source, choice, "none")
        clip = framing.VideoFrames(driving, choice.driving, choice, "none", "continue")
        for line in () if arguments.quiet else (*frames.describe(), *clip.describe()):
            print(line)
        moment, composite = next(frames.moments(frame_size)), framing.Compositor(choice)
        return animation.Views(
            moment.images, lambda: clip.frames(frame_size), lambda animated: composite(moment, animated)
        )

    settings = animation.Options(
        relative=arguments.mode == "relative",
        adapt_scale=arguments.adapt_scale,
        batch_size=arguments.batch_size,
        audio=arguments.audio,
        audio_start=arguments.start or 0.0,
        tag=not arguments.no_tag,
        progress=not arguments.quiet,
        smooth=arguments.smooth,
        motion_strength=arguments.motion_strength,
    )
    model = arguments.model, arguments.version, arguments.label
    connection = arguments.protocol, arguments.timeout, arguments.retry_timeout
    try:
        with clients.Client(arguments.server, *model, *connection) as client:
            frame_count = animation.animate(client, view, driving, arguments.out, settings)
    except (clients.ArgumentError, clients.ServerError, ImportError) as error:
        raise errors.UserError(str(error)) from error
    if not arguments.quiet:
        print(f"{arguments.out}: {frame_count} frames")


SERVE = console.Command(
    "serve an exported SavedModel over TF-Serving's gRPC and REST protocols, without TF-Serving",
    _add_serve_arguments,
    _serve,
)
CLIENT = console.Command(
    "use a model behind a server: TF-Serving or fomm serve",
    _add_client_arguments,
    lambda arguments: arguments.act(arguments),
)
