"""The model that a command uses: its options, its name, and its files, which no command may replace."""

from __future__ import annotations

import argparse
import pathlib
import sys

from fomm_tf import fetch

_PATTERNS = ("config.yaml", "checkpoint", "ckpt-*", "best", "weights.npz", "README.txt")


def add_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Declares `--run` and `--model`, which set `folder` once `resolve` is called."""
    group = parser.add_mutually_exclusive_group(required=required)
    default = "" if required else " (default: the bundled model)"
    group.add_argument("--run", metavar="RUN", dest="folder", help=f"the model's run directory{default}")
    group.add_argument("--model", metavar="NAME", help="a model by its name, such as vox-256; fomm models lists them")


def resolve(arguments: argparse.Namespace) -> None:
    """Sets `folder` to the run directory of `model`, if that is given; may ask whether to download it."""
    if getattr(arguments, "model", None) and hasattr(arguments, "folder"):
        arguments.folder = str(locate(arguments.model))


def locate(name: str) -> pathlib.Path:
    """The run directory of a model by name; on a terminal, offers to download one that is not installed.

    Raises:
      errors.UserError: if there is no such model, or it is not installed.
    """
    try:
        return fetch.locate(name)
    except fetch.NotInstalledError as error:
        if fetch.is_offline() or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        print(f"{error.name} is not installed: {fetch.released(error.name).terms}", file=sys.stderr)
        print("Download it now? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise
        missing = error.name
    from fomm_tf import presets

    presets.install(missing)
    return fetch.locate(name)


def list_model_files(folder: str | None) -> list[pathlib.Path]:
    """The files and directories of a run directory that loading it may read; other files may be added beside them.

    Args:
      folder: the run directory; None for the bundled model, whose files are not listed.
    """
    if folder is None:
        return []
    return [path for pattern in _PATTERNS for path in pathlib.Path(folder).glob(pattern)]
