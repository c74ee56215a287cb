"""`fomm serve`: serves an exported SavedModel over TF-Serving's protocols, without Docker."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib

import fomm_tf
from fomm_tf import console, errors, fetch
from fomm_tf.cli import model_files

_MORE = """\
example:
  fomm export --to saved_model --out models/fomm
  fomm serve --model models/fomm
  fomm client animate --server localhost:8501 --source face.jpg --driving clip.mp4 --out animated.mp4
"""
_MEBIBYTE = 2**20


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    parser.add_argument(
        "--model",
        dest="directory",
        metavar="DIR|NAME",
        required=True,
        help="directory of versions, 1, 2, ..., as fomm export writes it; or a model by its name, which is exported to "
        "the cache when it is first served",
    )
    parser.add_argument("--name", default="fomm", help="model name in requests (default: fomm)")
    parser.add_argument(
        "--label",
        dest="labels",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=N",
        help="version label NAME for version N, which then stays loaded; can be repeated",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--grpc-port", type=int, default=8500, metavar="N", help="gRPC port; 0 is any free port (default: 8500)"
    )
    parser.add_argument(
        "--rest-port", type=int, default=8501, metavar="N", help="REST port; 0 is any free port (default: 8501)"
    )
    parser.add_argument(
        "--queue",
        type=_positive_int,
        default=128,
        metavar="N",
        help="requests admitted at once; further ones are rejected (default: 128)",
    )
    parser.add_argument(
        "--max-batch", type=_positive_int, default=8, metavar="N", help="rows of batched requests (default: 8)"
    )
    parser.add_argument(
        "--threads", type=_positive_int, default=1, metavar="N", help="batches computed at once (default: 1)"
    )
    parser.add_argument(
        "--max-mib", type=_positive_int, default=64, metavar="N", help="maximum request size in MiB (default: 64)"
    )
    parser.add_argument(
        "--max-frames", type=_positive_int, default=256, metavar="N", help="frames per request (default: 256)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="deadline of requests that set none, and of running requests at shutdown (default: 60)",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _run(arguments: argparse.Namespace) -> None:
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
        run = model_files.locate(name)
    except (fetch.NotInstalledError, fetch.UnavailableError):
        raise
    except errors.UserError as error:
        raise errors.UserError(
            f"`directory`: {name} is not a directory; expected a directory of versions; export one with: "
            f"fomm export --to saved_model --out DIR, or give a model by its name: {error}"
        ) from None
    directory = fetch.cache_folder() / "models" / name / f"saved_model-{fomm_tf.__version__}"
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


SERVE = console.Command(
    "serve an exported SavedModel over TF-Serving's gRPC and REST protocols, without TF-Serving",
    _add_arguments,
    _run,
)
