"""`fomm serve`: a model behind TF-Serving's protocols, and animations of whole files."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import math
import os
import pathlib
import re
import socket
import ssl
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

import fomm_tf
from fomm_tf import config, console, errors, fetch
from fomm_tf.cli import animate, options
from fomm_tf.fetch import catalog
from fomm_tf.serving.local import listen, memory

if TYPE_CHECKING:
    from fomm_tf.inference import animator as animators
    from fomm_tf.serving.local import jobs

_SERVE_MORE = """\
example:
  fomm export --to saved_model --out models/fomm
  fomm serve --model models/fomm
  fomm client animate --server localhost:8501 --source face.jpg --driving clip.mp4 --out animated.mp4
"""
_MEBIBYTE = 2**20


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
    add(
        "--grpc-port",
        type=options.port,
        default=8500,
        metavar="N",
        help="gRPC port; 0 is any free port (default: 8500)",
    )
    add(
        "--rest-port",
        type=options.port,
        default=8501,
        metavar="N",
        help="REST port; 0 is any free port (default: 8501)",
    )
    add("--cert", metavar="FILE", help="certificate for TLS, PEM; with --key")
    add("--key", metavar="FILE", help="the private key of --cert, PEM")
    text = "file with a token that clients must send as `Authorization: Bearer TOKEN`"
    add("--token-file", metavar="FILE", help=text)
    text = "origin, such as http://localhost:3000, whose pages may call the REST API; can be repeated"
    add("--cors", action="append", default=[], metavar="ORIGIN", help=text)
    add = parser.add_argument_group("limits").add_argument
    for option, default, text in (
        ("--queue", 128, "requests admitted at once; further ones are rejected (default: 128)"),
        ("--max-batch", 8, "frames of batched requests; a larger request runs beside them (default: 8)"),
        ("--threads", 1, "batches computed at once, and as many larger requests beside them (default: 1)"),
        ("--max-mib", 16, "maximum request size in MiB (default: 16)"),
        (
            "--max-total-mib",
            512,
            "messages in memory at once, in MiB (default: 512); on top come the model, up to "
            f"{memory.RUN_BYTES // _MEBIBYTE} MiB for each of the two runs of each of --threads, "
            f"{memory.CONNECTION_BYTES // 2**10} KiB for each connection, and two processes that parse JSON, which may "
            f"take {memory.PARSING_FACTOR} times --max-mib and {memory.PARSING_FACTOR} MiB",
        ),
        ("--max-connections", 512, "connections by REST, and calls by gRPC, at once (default: 512)"),
        ("--max-frames", 64, "frames per request (default: 64)"),
        ("--max-upload-mib", 256, "files of an :animate request, on disk, in MiB (default: 256)"),
        ("--max-job-frames", 3000, "frames of an :animate request (default: 3000)"),
        ("--max-megapixels", 100, "of the encoded images of a request, in millions of pixels (default: 100)"),
    ):
        add(option, type=options.positive_int, default=default, metavar="N", help=text)
    text = "deadline of requests that set none, and of running requests at shutdown (default: 60)"
    add("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help=text)
    text = "how long a client may send nothing before a request is complete (default: 10)"
    add("--idle-timeout", type=_seconds, default=10.0, metavar="SECONDS", help=text)
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _serve(arguments: argparse.Namespace) -> None:
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.ERROR if arguments.quiet else logging.WARNING,
        format="%(asctime)s %(name)s: %(message)s",
    )
    token, certificate = read_token(arguments.token_file), _check_certificate(arguments.cert, arguments.key)
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
        max_batch_frames=arguments.max_batch,
        num_threads=arguments.threads,
    )
    manager = versions.VersionManager(arguments.name, directory, dict(arguments.labels), limits.max_runs)
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

    from fomm_tf.inference import animator
    from fomm_tf.inference.engines import keras

    def run_on_tensors(signature: str, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = run(signature, {name: tensor.numpy() for name, tensor in tensors.items()})
        return {name: tf.convert_to_tensor(array) for name, array in outputs.items()}

    description = json.loads(run("metadata", {"request": np.array([b""], object)})["metadata"].item(0))
    engine = keras.SignatureEngine(run_on_tensors, description["precision"], description["weights_sha256"])
    model = animator.Animator(engine, config.parse(description["config"]))
    files = str(job.source), str(job.driving), str(job.result)
    job.total, start = prepare_animation(model, job.options, *files)
    start()


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def read_token(path: str | None) -> str | None:
    """Reads the token of a server from a file; None without one."""
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


# Options of `fomm animate` that a server sets itself.
_NOT_FOR_CLIENTS = ("folder", "model", "engine", "precision", "force", "batch_size", "quiet", "help")


def prepare_animation(
    model: animators.Animator,
    fields: Mapping[str, str],
    source: str,
    driving: str,
    out: str,
    report: Callable[[str], object] | None = None,
) -> tuple[int | None, Callable[[], int]]:
    """Prepares the animation of one pair with options as text: `{"mode": "absolute", "audio": "no"}`.

    Args:
      model: the animator.
      fields: options of `fomm animate` without their dashes; those with values `yes` and `no` are switches.
      source: the image.
      driving: the driving video.
      out: the output.
      report: receives what `fomm animate` prints about its choices; then the input is checked too.

    Returns:
      The number of frames, if known, and what animates.

    Raises:
      errors.UserError: for an unknown option or an invalid value.
    """
    parser = console.Parser(prog="animate", add_help=False)
    animate.add_shared_arguments(parser)
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
        opened = animate.open_pair(arguments, source, driving, out, model.engine.weights_sha256()).driving
    return getattr(opened, "frame_count", None), lambda: animate.animate_pair(
        model, arguments, source, driving, out, report
    )


SERVE = console.Command(
    "serve an exported SavedModel over TF-Serving's gRPC and REST protocols, without TF-Serving",
    _add_serve_arguments,
    _serve,
)
