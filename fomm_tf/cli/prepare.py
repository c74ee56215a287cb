"""`fomm prepare`."""

from __future__ import annotations

import argparse
import pathlib
import typing

from fomm_tf import errors, fetch
from fomm_tf.data.prepare import settings as known

TEXT = "cut videos into clips to train on: find a face or body, follow it, crop, resize, divide into train and test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments; those that are not given are left to the preset."""
    parser.add_argument(
        "videos",
        metavar="VIDEO",
        nargs="*",
        help="videos, and folders of videos or of folders of frames; train/ and test/ below a folder are kept apart",
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder of the set; one that was begun is gone on with"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"{', '.join(known.PRESETS)}; the last two fetch their videos if none are given",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="videos at a time (default: one a processor)")
    group = parser.add_argument_group("what to cut out (each changes the preset)")

    def add(name: str, text: str, **options: object) -> None:
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=text, **options)

    add(
        "crop",
        "face (default), body, module:function for a detector of your own, none for whole frames",
        metavar="WHAT",
    )
    add("size", "side of the clips' frames (default 256)", type=int, metavar="PIXELS")
    add("format", "mp4 (default), or png: folders of frames, lossless", choices=typing.get_args(known.Format))
    add("margin", "side of the crop, in units of what holds all boxes (default 1.7 for faces, else 1)", type=float)
    add(
        "edge-margin",
        "least distance of a box from the crop's edge, as a share of its side; -1 lets it stick out (default 0.1 for "
        "faces, 0 for detectors of your own, else -1)",
        type=float,
    )
    add(
        "border",
        "a crop that does not fit into the frame shrinks (default), or the frame's edge is repeated",
        choices=typing.get_args(known.Border),
    )
    add("min-side", "least side of the crop before resizing (default: --size)", type=int, metavar="PIXELS")
    add("min-frames", "drop what is shorter (default 64)", type=int, metavar="N")
    add("max-frames", "divide what is longer (default 1024)", type=int, metavar="N")
    add(
        "min-iou",
        "end a clip when the box shares less than this of its union with the first one (default 0.25)",
        type=float,
        metavar="IOU",
    )
    add("cuts", "end a clip where the scene changes (default)", action=argparse.BooleanOptionalAction)
    add("fps", "frames a second (default: as they are)", type=float, metavar="RATE")
    group = parser.add_argument_group("train and test")
    add(
        "split", "by identity (default), or by time: the last clips of each video", choices=typing.get_args(known.Split)
    )
    add("test-share", "of the identities, or of each video's clips (default 0.1)", type=float, metavar="SHARE")
    add("test-identities", "these are for testing; with --split identity no others", nargs="+", metavar="NAME")
    add(
        "identity",
        "pattern that finds the identity in a video's path, in brackets (default: the topmost folder, or the file's "
        "name up to #)",
        metavar="REGEX",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prepares the set and says what was done.

    Raises:
      errors.UserError: see `fomm_tf.data.prepare.run.prepare`.
    """
    names = known.Settings.__dataclass_fields__
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if "test_identities" in given:
        given["test_identities"] = tuple(given["test_identities"])
    settings = known.choose(arguments.preset, given)
    videos = list(map(pathlib.Path, arguments.videos))
    if not videos and arguments.preset not in known.FETCHED:
        raise errors.UserError(
            f"No videos are given; give files or folders, or one of --preset {' and '.join(known.FETCHED)}."
        )
    if settings.crop in ("face", "body"):
        fetch.fetch("detectors", report=print)
    if not videos:
        videos = list(fetch.fetch(arguments.preset, report=print).values())

    from fomm_tf.data.prepare import run as preparing

    print(preparing.prepare(videos, arguments.out, settings, arguments.jobs))
