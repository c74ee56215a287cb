"""`fomm animate-set`: many pairs with one model."""

from __future__ import annotations

import argparse
import pathlib

from fomm_tf import errors
from fomm_tf.cli import animate
from fomm_tf.data import pairlist

TEXT = "animate many pairs of image and video, listed in a CSV file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    parser.add_argument("--data", metavar="DIR", required=True, help="the folder that its paths start from")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder for SOURCE--DRIVING.mp4 files")
    animate.add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Animates all pairs; one that cannot be is reported and the others go on.

    Raises:
      errors.UserError: if the list cannot be read, or some pairs could not be animated.
    """
    pairs = pairlist.read(arguments.pairs)
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    if not data.is_dir():
        raise errors.UserError(f"--data {data} is no folder; give the one that the pairs' paths start from.")
    model = animate.load(arguments)
    failures = []
    for number, pair in enumerate(pairs, 1):
        target = out / f"{pair.name}.mp4"
        try:
            count = animate.animate(model, arguments, str(data / pair.source), str(data / pair.driving), str(target))
        except errors.UserError as error:
            failures.append(f"{pair.source} by {pair.driving}: {error}")
            continue
        if not arguments.quiet:
            print(f"{number}/{len(pairs)} {target}: {count} frames")
    if failures:
        raise errors.UserError(f"{len(failures)} of {len(pairs)} pairs could not be animated: {' | '.join(failures)}")
