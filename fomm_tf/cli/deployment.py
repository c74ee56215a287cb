"""`fomm export`, `serve` and `client`: models for other runtimes, and behind TF-Serving's protocols."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib
from collections.abc import Sequence

import fomm_tf
from fomm_tf import config, console, errors, fetch, files, video
from fomm_tf.cli import options
from fomm_tf.export import VARIANTS
from fomm_tf.fetch import catalog
from fomm_tf.serving import client as clients

_EXPORT_MORE = """\
examples:
  fomm export --to saved_model --out models/fomm                      the bundled model
  fomm export --run runs/faces --to saved_model --out models/faces --precision float16
  fomm export --model vox-256 --to saved_model --out models/vox       a released model: see fomm models
  fomm export --run runs/faces --check models/faces/1
  fomm export --run runs/faces --to tflite --out models/phone
  fomm export --run runs/faces --to onnx --out models/onnx

saved_model, for TF-Serving: OUT/1, the next time OUT/2, ...: OUT is a base_path. Signatures: detect, encode_source,
animate, each for floats, _uint8 and _jpeg; transfer, render, render_details, metadata. Every input has a batch axis;
saved_model_cli show --all --dir OUT/1 lists them. OUT/1/assets.extra has metadata.json and warm-up requests.
tflite, for phones: five stages in four variants; pipeline.json, which describes them; report.md; runner.py, which runs
them with ai-edge-litert and numpy only; sources for Android and iOS with android.md and ios.md.
onnx: the same five stages, and animate in one file, in two variants; runner.py needs onnxruntime and numpy only.
exit code: 0 done, 2 user error, full disk or difference over tolerance (nothing is left then), 130 interrupted
"""


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXPORT_MORE
    add, text = parser.add_argument, "; ".join(f"for {form}: {' '.join(names)}" for form, names in VARIANTS.items())
    options.add_run(parser)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--to", choices=("saved_model", "tflite", "onnx"), help="the format to write")
    task.add_argument("--check", metavar="VERSION", help="compare an existing SavedModel with the run")
    add("--out", dest="output", metavar="DIR", help="output directory; required with --to")
    add(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks of a SavedModel compute in (default: float32); other formats have variants",
    )
    add(
        "--batch", type=int, default=1, metavar="N", help="driving frames per call of TFLite files (default: 1; 0: any)"
    )
    add("--variants", nargs="+", metavar="NAME", help=f"{text} (default: all)")
    text = "export a warp in ONNX files as one GridSample node (default: yes), else as gathers"
    add("--grid-sample", action=options.YES_OR_NO, default=True, help=text)
    add("--verify", action=options.YES_OR_NO, default=True, help="compare with the Keras model (default: yes)")


def _run_export(arguments: argparse.Namespace) -> None:
    form, batch = arguments.to, arguments.batch
    if form and not arguments.output:
        raise errors.UserError("`output` is missing: `to` needs an output directory.")
    if batch < 0:
        raise errors.UserError(f"`batch` must be at least 1, or 0 for any; got {batch}.")
    known = VARIANTS.get(form, ())
    variants = arguments.variants or known
    if unknown := set(variants) - set(known):
        expected = f"some of {', '.join(known)}" if known else "none"
        raise errors.UserError(
            f"`variants`: got {', '.join(sorted(unknown))}; expected {expected} for {form or 'a check'}."
        )

    if form:
        inputs = [pathlib.Path(arguments.folder)] if arguments.folder else []
        files.check_other_directory(pathlib.Path(arguments.output), *inputs)
    with console.requires_extra("export"):
        _export(arguments, variants)


def _export(arguments: argparse.Namespace, variants: Sequence[str]) -> None:
    from fomm_tf import checkpoint
    from fomm_tf.export import report, saved_model

    folder, output = arguments.folder or checkpoint.BUNDLED, arguments.output
    check = report.check if arguments.verify else None
    if arguments.check:
        saved_model.check(folder, arguments.check)
        return
    if arguments.to == "saved_model":
        check = (lambda version: saved_model.check(folder, version)) if arguments.verify else None
        written = saved_model.write(folder, output, arguments.precision, check)
    elif arguments.to == "tflite":
        from fomm_tf.export import tflite

        written = tflite.write(folder, output, variants, arguments.batch or None, check)
    else:
        from fomm_tf.export import onnx

        written = onnx.write(folder, output, variants, arguments.grid_sample, check)
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    print(f"{written}: {size / 1e6:.1f} MB")


EXPORT = console.Command(
    "export the model of a run for servers, phones and other runtimes, and verify it against the Keras model",
    _add_export_arguments,
    _run_export,
)


_SERVE_MORE = """\
example:
  fomm export --to saved_model --out models/fomm
  fomm serve --model models/fomm
  fomm client animate --server localhost:8501 --source face.jpg --driving clip.mp4 --out animated.mp4
"""
_MEBIBYTE = 2**20
_ANIMATE = "animate an image with the motion of a video, through a server"


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _SERVE_MORE
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
