"""`fomm animate-set`: many pairs with one model."""

from __future__ import annotations

import argparse
import csv
import pathlib

from fomm_tf import errors
from fomm_tf.cli import animate

TEXT = "animate many pairs of picture and video, listed in a CSV file"


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
    pairs = read_pairs(arguments.pairs)
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    if not data.is_dir():
        raise errors.UserError(f"--data {data} is no folder; give the one that the pairs' paths start from.")
    model = animate.load(arguments)
    failures = []
    for number, (source, driving) in enumerate(pairs, 1):
        target = out / f"{pathlib.Path(source).stem}--{pathlib.Path(driving).stem}.mp4"
        try:
            count = animate.animate(model, arguments, str(data / source), str(data / driving), str(target))
        except errors.UserError as error:
            failures.append(f"{source} by {driving}: {error}")
            continue
        if not arguments.quiet:
            print(f"{number}/{len(pairs)} {target}: {count} frames")
    if failures:
        raise errors.UserError(f"{len(failures)} of {len(pairs)} pairs could not be animated: {' | '.join(failures)}")


def read_pairs(path: str) -> list[tuple[str, str]]:
    """The rows of a list of pairs.

    Args:
      path: CSV with a head line that names `source` and `driving`; other columns are ignored.

    Raises:
      errors.UserError: if it cannot be read, lacks a column, or two pairs would be written to one file.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.UserError(f"Cannot read the pairs {path}: {error}.") from error
    missing = {"source", "driving"} - set(reader.fieldnames or ())
    if missing or not rows:
        found = ", ".join(reader.fieldnames or ()) or "nothing"
        raise errors.UserError(f"{path} must have the columns source and driving and a row below; it has {found}.")
    pairs = [(row["source"] or "", row["driving"] or "") for row in rows]
    names = [(pathlib.Path(source).stem, pathlib.Path(driving).stem) for source, driving in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise errors.UserError(f"{path} has two pairs for {twice[0]}--{twice[1]}.mp4; give their files other names.")
    return pairs
