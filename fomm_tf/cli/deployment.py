"""`fomm export`, `serve` and `client`: models for other runtimes, and behind TF-Serving's protocols."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import math
import os
import pathlib
import socket
import ssl
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import fomm_tf
from fomm_tf import config, console, errors, fetch, files, video
from fomm_tf.cli import options
from fomm_tf.export import VARIANTS
from fomm_tf.fetch import catalog
from fomm_tf.serving import client as clients
from fomm_tf.serving.local import listen

if TYPE_CHECKING:
    from fomm_tf.serving.local import jobs

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
    add("--grpc-port", type=_port, default=8500, metavar="N", help="gRPC port; 0 is any free port (default: 8500)")
    add("--rest-port", type=_port, default=8501, metavar="N", help="REST port; 0 is any free port (default: 8501)")
    add("--cert", metavar="FILE", help="certificate for TLS, PEM; with --key")
    add("--key", metavar="FILE", help="the private key of --cert, PEM")
    text = "file with a token that clients must send as `Authorization: Bearer TOKEN`"
    add("--token-file", metavar="FILE", help=text)
    text = "origin, such as http://localhost:3000, whose pages may call the REST API; can be repeated"
    add("--cors", action="append", default=[], metavar="ORIGIN", help=text)
    add = parser.add_argument_group("limits").add_argument
    for option, default, text in (
        ("--queue", 128, "requests admitted at once; further ones are rejected (default: 128)"),
        ("--max-batch", 8, "rows of batched requests (default: 8)"),
        ("--threads", 1, "batches computed at once (default: 1)"),
        ("--max-mib", 16, "maximum request size in MiB (default: 16)"),
        (
            "--max-total-mib",
            512,
            "messages in memory at once, in MiB (default: 512); the model and a process that parses JSON, which may "
            "take 40 times --max-mib, come on top",
        ),
        ("--max-connections", 512, "connections by REST, and calls by gRPC, at once (default: 512)"),
        ("--max-frames", 64, "frames per request (default: 64)"),
        ("--max-upload-mib", 256, "files of an :animate request, on disk, in MiB (default: 256)"),
        ("--max-job-frames", 3000, "frames of an :animate request (default: 3000)"),
        ("--max-megapixels", 100, "of the encoded images of a request, in millions of pixels (default: 100)"),
    ):
        add(option, type=_positive_int, default=default, metavar="N", help=text)
    text = "deadline of requests that set none, and of running requests at shutdown (default: 60)"
    add("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help=text)
    text = "how long a client may send nothing before a request is complete (default: 10)"
    add("--idle-timeout", type=_seconds, default=10.0, metavar="SECONDS", help=text)
    parser.add_argument("--quiet", action="store_true", help="print errors only")


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
    add("--token-file", metavar="FILE", help="file with the token of the server")
    add("--ca-file", metavar="FILE", help="for TLS: the server's certificate or that of its authority, PEM")
    options.add_video(animate)


def _serve(arguments: argparse.Namespace) -> None:
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.ERROR if arguments.quiet else logging.WARNING,
        format="%(asctime)s %(name)s: %(message)s",
    )
    token, certificate = _read_token(arguments.token_file), _check_certificate(arguments.cert, arguments.key)
    # Before TensorFlow is imported.
    listener = listen.bind(arguments.host, arguments.grpc_port, arguments.rest_port)
    if not arguments.quiet and not _is_loopback(listener) and (token is None or certificate is None):
        missing = [
            name for name, value in (("--token-file", token), ("--cert and --key", certificate)) if value is None
        ]
        text = f"{arguments.host} can be reached from other machines: without {' and '.join(missing)}, "
        warnings.warn(text + "anyone there can use the model or read along.", UserWarning, stacklevel=2)
    directory = _find_directory(arguments.directory)
    with console.requires_extra("serving"):
        from fomm_tf.serving.local import core, server, versions
    limits = core.Limits(
        max_requests=arguments.queue,
        max_request_bytes=arguments.max_mib * _MEBIBYTE,
        max_total_bytes=max(arguments.max_total_mib, 2 * arguments.max_mib) * _MEBIBYTE,
        max_connections=arguments.max_connections,
        max_frames=arguments.max_frames,
        max_pixels=arguments.max_megapixels * 1_000_000,
        timeout=arguments.timeout,
        idle_timeout=arguments.idle_timeout,
        max_batch_rows=arguments.max_batch,
        num_threads=arguments.threads,
    )
    manager = versions.VersionManager(arguments.name, directory, dict(arguments.labels), arguments.threads)
    address = server.Address(arguments.host, arguments.grpc_port, listener, certificate, tuple(arguments.cors))
    animation = server.Animation(_animate_job, arguments.max_job_frames, arguments.max_upload_mib * _MEBIBYTE)
    asyncio.run(server.run(core.ServerCore(manager, limits, token), address, arguments.quiet, animation))
    # All is answered and closed; TensorFlow's own end would take seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _animate_job(job: jobs.Job, run: jobs.RunSignature) -> None:
    """Animates the files of a job as `fomm animate` does, by the signatures of the served model."""
    import tensorflow as tf

    from fomm_tf.cli import animate
    from fomm_tf.inference import animator
    from fomm_tf.inference.engines import keras

    def run_on_tensors(signature: str, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = run(signature, {name: tensor.numpy() for name, tensor in tensors.items()})
        return {name: tf.convert_to_tensor(array) for name, array in outputs.items()}

    description = json.loads(run("metadata", {"request": np.array([b""], object)})["metadata"].item(0))
    engine = keras.SignatureEngine(run_on_tensors, description["precision"], description["weights_sha256"])
    model = animator.Animator(engine, config.parse(description["config"]))
    files = str(job.source), str(job.driving), str(job.result)
    job.total, start = animate.animate_with_options(model, job.options, *files)
    start()


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _read_token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        token = pathlib.Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise errors.UserError(f"`token_file`: {path} cannot be read as ASCII text ({error}).") from None
    if not token or not token.isprintable() or " " in token:
        raise errors.UserError(f"`token_file`: {path} must hold one token, printable and without spaces.")
    return token


def _check_certificate(cert: str | None, key: str | None) -> tuple[str, str] | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise errors.UserError("`cert` and `key`: got one of them; expected both or none.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except OSError as error:
        raise errors.UserError(f"`cert` {cert} and `key` {key} are not a certificate and its key: {error}.") from None
    return cert, key


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


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a number of seconds above 0")
    return seconds


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
    connection, token = (
        (arguments.protocol, arguments.timeout, arguments.retry_timeout),
        _read_token(arguments.token_file),
    )
    try:
        with clients.Client(arguments.server, *model, *connection, token=token, ca_file=arguments.ca_file) as client:
            frame_count = animation.animate(client, view, driving, arguments.out, settings)
    except (clients.ArgumentError, clients.ServerError, ImportError, ssl.SSLError) as error:
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
