"""`python -m serving local`: an exported SavedModel behind TF-Serving's protocols, for those without Docker."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib

from fomm_tf import console, errors

TEXT = "serve an exported SavedModel by TF-Serving's gRPC and REST protocols, from this process"
_MEBIBYTE = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--model", metavar="DIR", required=True, help="folder of versions, 1, 2, ..., as python -m export writes it"
    )
    parser.add_argument("--name", default="fomm", help="the model's name in requests (default: fomm)")
    parser.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=N",
        help="a name for version N, which then stays loaded; may be given several times",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--grpc-port", type=int, default=8500, metavar="N", help="default: 8500; 0: any free port")
    parser.add_argument("--rest-port", type=int, default=8501, metavar="N", help="default: 8501; 0: any free port")
    parser.add_argument(
        "--queue", type=_count, default=128, metavar="N", help="requests taken at once, more are refused (default: 128)"
    )
    parser.add_argument(
        "--max-batch", type=_count, default=8, metavar="N", help="rows of requests computed together (default: 8)"
    )
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="batches computed at once (default: 1)")
    parser.add_argument("--max-mib", type=_count, default=64, metavar="N", help="size of a request (default: 64)")
    parser.add_argument(
        "--max-frames", type=_count, default=256, metavar="N", help="frames of a request, all rows (default: 256)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for a request that names no deadline, and for the end of those under way at a stop (default: 60)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--verbose", action="store_true", help="let TensorFlow talk, log versions and failures")


def run(arguments: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
      errors.UserError: if there is no model, a port is taken, or a package is missing.
    """
    if not pathlib.Path(arguments.model).is_dir():
        raise errors.UserError(
            f"{arguments.model} is no folder; give one with versions: python -m export --to saved_model --out DIR"
        )
    console.prepare_tensorflow(arguments.verbose)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.ERROR if arguments.quiet else logging.WARNING,
        format="%(asctime)s %(name)s: %(message)s",
    )
    try:
        from serving.local import core, server, versions
    except ModuleNotFoundError as error:
        raise errors.UserError(f"{error.name} is not installed; run: pip install -e '.[serving]'") from None
    limits = core.Limits(
        requests=arguments.queue,
        request_bytes=arguments.max_mib * _MEBIBYTE,
        frames=arguments.max_frames,
        seconds=arguments.timeout,
        batch_rows=arguments.max_batch,
        threads=arguments.threads,
    )
    held = versions.Versions(arguments.name, pathlib.Path(arguments.model), dict(arguments.label))
    asyncio.run(
        server.run(core.Core(held, limits), arguments.host, arguments.grpc_port, arguments.rest_port, arguments.quiet)
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; give a whole number from 1 on")
    return int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise argparse.ArgumentTypeError(f"it is {text!r}; give NAME=N, as stable=1")
    return name, int(version)
