"""`fomm ...`: files in, files out.

A user's mistake is one line on stderr and exit code 2; Ctrl-C and SIGTERM end with 130; a bug keeps its traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import signal
import sys
from collections.abc import Sequence

import fomm_tf
from fomm_tf import errors


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the arguments; default those of the process.

    Returns:
      The exit code.
    """
    try:
        arguments = _parser().parse_args(argv)
        _quieten(arguments.verbose)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        arguments.run_command(arguments)
    except errors.UserError as error:
        print(f"fomm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fomm: interrupted; nothing was left half-written.", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise errors.UserError(f"{message}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fomm", description="First Order Motion Model: makes a still picture move as the object in a video does."
    )
    parser.add_argument("--version", action="version", version=f"fomm-tf {fomm_tf.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _Parser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages too")

    def add(name: str, run_command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])
        command.set_defaults(run_command=run_command)
        return command

    convert = add("convert", _convert, "turn a checkpoint of the PyTorch reference into a run folder, or back")
    convert.add_argument("input", metavar="FILE.pth.tar|RUN", help="the checkpoint, or with --to-torch the run folder")
    convert.add_argument(
        "--config",
        metavar="YAML|RECIPE",
        help="the reference's YAML file (or one of ours), or a recipe's name such as vox-256; without it, sizes are "
        "told from the tensors where they can be",
    )
    convert.add_argument("--out", metavar="RUN", help="the run folder to make")
    convert.add_argument(
        "--align-corners",
        choices=("true", "false"),
        default="true",
        help="what a warp takes -1 and +1 for: pixel centres, as the released weights learnt (true, the default), or "
        "edges, as the reference computes under torch 1.3 and newer (false)",
    )
    convert.add_argument("--to-torch", metavar="OUT.pth.tar", help="the way back: write the run folder's checkpoint")

    info = add("info", _info, "say what a run folder or a checkpoint holds, and which device would be used")
    info.add_argument("input", metavar="RUN|FILE")

    demo = add("demo", _demo, "draw a picture and show what a model sees in it")
    demo.add_argument("--run", metavar="RUN", required=True, help="the model (none is bundled yet)")
    demo.add_argument("--out", metavar="DIR", default="outputs/demo", help="where to write (default: %(default)s)")
    return parser


def _quieten(verbose: bool) -> None:
    """Keeps TensorFlow's start-up notices out of the way; it reads these before its first import."""
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import logging

        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _convert(arguments: argparse.Namespace) -> None:
    if arguments.to_torch:
        if arguments.out or arguments.config:
            raise errors.UserError("--to-torch writes a checkpoint: --out and --config do not go with it.")
        return _convert_to_torch(arguments.input, pathlib.Path(arguments.to_torch))
    if not arguments.out:
        raise errors.UserError("Say where to: --out RUN (or --to-torch OUT.pth.tar for the way back).")
    return _convert_from_torch(arguments)


def _convert_from_torch(arguments: argparse.Namespace) -> None:
    from fomm_tf import weights

    source = pathlib.Path(arguments.input)
    tree = weights.load(source)

    from fomm_tf import checkpoint, torch_import

    run = torch_import.import_checkpoint(tree, arguments.config, arguments.align_corners == "true", str(source))
    del tree
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    chosen = arguments.config or "sizes told from the tensors"
    story = (
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}, converted from {source.name}\n"
        f"(sha256 {digest}), epoch {run.epoch}, with {chosen}, align_corners {arguments.align_corners}.\n"
    )
    checkpoint.save(arguments.out, run, story)
    height, width = run.config.model.frame_size
    extra = [
        name for name, present in (("discriminator", run.discriminator), ("Adam moments", run.optimizers)) if present
    ]
    print(
        f"{arguments.out}: {run.config.model.num_keypoints} keypoints, frames of {width}x{height}, epoch {run.epoch}"
        f"{''.join(f', with {name}' for name in extra)}."
    )
    if arguments.config is None:
        print("The tensors do not tell the frames' size; the released models' 256x256 is assumed (else give --config).")


def _convert_to_torch(folder: str, output: pathlib.Path) -> None:
    from fomm_tf import checkpoint, torch_import, weights

    if output.exists():
        raise errors.UserError(f"{output} exists already; give another name, or delete it first.")
    tree = torch_import.export_checkpoint(checkpoint.load(folder, training=True))
    weights.save(output, tree)
    print(f"{output}: {', '.join(str(part) for part in tree)}.")


def _info(arguments: argparse.Namespace) -> None:
    from fomm_tf import info

    for line in info.describe(pathlib.Path(arguments.input)):
        print(line)


def _demo(arguments: argparse.Namespace) -> None:
    from fomm_tf import demo

    for line in demo.run(arguments.run, pathlib.Path(arguments.out)):
        print(line)
