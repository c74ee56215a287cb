"""`fomm convert`: a reference checkpoint to a run folder, and back."""

from __future__ import annotations

import argparse
import hashlib
import pathlib

import fomm_tf
from fomm_tf import errors

TEXT = "turn a checkpoint of the PyTorch reference into a run folder, or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("input", metavar="FILE.pth.tar|RUN", help="the checkpoint; with --to-torch or --pack a run")
    parser.add_argument(
        "--config",
        metavar="YAML|RECIPE",
        help="the reference's YAML file (or one of ours), or a recipe's name such as vox-256; without it, sizes are "
        "told from the tensors where they can be",
    )
    parser.add_argument("--out", metavar="RUN", help="the run folder to make")
    parser.add_argument(
        "--align-corners",
        choices=("true", "false"),
        default="true",
        help="what a warp takes -1 and +1 for: pixel centers, as the released weights learnt (true, the default), or "
        "edges, as the reference computes under torch 1.3 and newer (false)",
    )
    parser.add_argument("--to-torch", metavar="OUT.pth.tar", help="the way back: write the run folder's checkpoint")
    parser.add_argument(
        "--pack",
        metavar="DIR",
        help="make of the run folder one to pass on: float16 weights alone, far smaller",
    )


def run(arguments: argparse.Namespace) -> None:
    """Converts.

    Raises:
      errors.UserError: if the input cannot be read, the config does not fit, or the output exists.
    """
    if arguments.pack:
        if arguments.out or arguments.config or arguments.to_torch:
            raise errors.UserError("--pack DIR names what to write: --out, --config and --to-torch do not go with it.")
        return _pack(arguments.input, pathlib.Path(arguments.pack))
    if arguments.to_torch:
        if arguments.out or arguments.config:
            raise errors.UserError("--to-torch writes a checkpoint: --out and --config do not go with it.")
        return _convert_to_torch(arguments.input, pathlib.Path(arguments.to_torch))
    if not arguments.out:
        raise errors.UserError("Say where to: --out RUN (or --to-torch OUT.pth.tar, or --pack DIR).")
    return _convert_from_torch(arguments)


def _convert_from_torch(arguments: argparse.Namespace) -> None:
    from fomm_tf import weights

    source = pathlib.Path(arguments.input)
    tree = weights.load(source)

    from fomm_tf import checkpoint, torch_import

    checkpoint.refuse_existing(arguments.out)
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


def _pack(folder: str, output: pathlib.Path) -> None:
    from fomm_tf import checkpoint

    checkpoint.refuse_existing(output)
    run = checkpoint.load(folder)
    story = (
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}: float16 weights of {pathlib.Path(folder).name} "
        f"after {run.step} steps,\nto animate with and to begin other runs with (--init-from).\n"
    )
    checkpoint.pack(output, run, story)
    size = sum(file.stat().st_size for file in output.iterdir())
    print(f"{output}: {size / 1e6:.1f} MB.")


def _convert_to_torch(folder: str, output: pathlib.Path) -> None:
    from fomm_tf import checkpoint, torch_import, weights

    if output.exists():
        raise errors.UserError(f"{output} already exists; give another name, or delete it first.")
    tree = torch_import.export_checkpoint(checkpoint.load(folder, training=True))
    weights.save(output, tree)
    print(f"{output}: {', '.join(str(part) for part in tree)}.")
