"""`fomm demo`."""

from __future__ import annotations

import argparse
import pathlib

TEXT = "draw an image and a clip and animate the one by the other"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--run", metavar="RUN", dest="folder", help="another model than the bundled one")
    parser.add_argument("--out", metavar="DIR", default="outputs/demo", help="where to write (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the demo and says where its results are."""
    from fomm_tf import demo

    for line in demo.run(arguments.folder, pathlib.Path(arguments.out)):
        print(line)
