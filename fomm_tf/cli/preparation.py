"""`fomm prepare` and `fomm shards`: training data from videos, and from clips for object storage."""

from __future__ import annotations

import argparse
import pathlib
import typing
from collections.abc import Sequence

from fomm_tf import config, console, errors, fetch
from fomm_tf.cli import options, scaling
from fomm_tf.data.prepare import settings as prepare_settings


def _add_prepare_arguments(parser: argparse.ArgumentParser) -> None:
    text = "videos, or directories of videos or of directories of frames; their train/ and test/ are the splits"
    parser.add_argument("videos", metavar="VIDEO", nargs="*", help=text)
    text = "directory of the data set; an interrupted run is resumed"
    parser.add_argument("--out", metavar="DIR", required=True, help=text)
    text = "recipe that will be trained: its frame size, and clips that are long and large enough for it"
    parser.add_argument("--for", dest="recipe", metavar="CONFIG", help=text)
    text = f"{', '.join(prepare_settings.PRESETS)}; the last two download their videos if none are given"
    parser.add_argument("--preset", metavar="NAME", help=text)
    text = "videos at the same time (default: one per core)"
    parser.add_argument("--jobs", dest="processes", type=int, metavar="N", help=text)
    scaling.add_runner(parser)
    group = parser.add_argument_group("clips (each overrides the preset)")

    def add(name: str, text: str, **settings: object) -> None:
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=text, **settings)

    crops = "face (default), body, module:function for your own detector, none for whole frames"
    formats, borders, splits = map(
        typing.get_args, (prepare_settings.Format, prepare_settings.Border, prepare_settings.Split)
    )
    add("crop", crops, metavar="WHAT")
    add("size", "side of the clips' frames (default 256)", type=int, metavar="PIXELS")
    add("format", "mp4 (default), or png: directories of frames, lossless", choices=formats)
    add("margin", "side of the crop, relative to the union of all boxes (default 1.7 for faces, else 1)", type=float)
    add(
        "edge-margin",
        "minimum distance of a box from the crop's edge, as a fraction of the crop's side; with -1 boxes may extend "
        "beyond it (default 0.1 for faces, 0 for your own detectors, else -1)",
        type=float,
    )
    add(
        "border",
        "for a crop that does not fit into the frame: shrink it (default), or repeat the frame's edge pixels",
        choices=borders,
    )
    add("min-side", "minimum side of the crop before resizing (default: --size)", type=int, metavar="PIXELS")
    add("min-frames", "drop shorter clips (default 64)", type=int, metavar="N")
    add("max-frames", "split longer clips (default 1024)", type=int, metavar="N")
    text = "end a clip when the box's IoU with the first box is lower (default 0.25)"
    add("min-iou", text, type=float, metavar="IOU")
    add("cuts", "end a clip where the scene changes (default)", action=argparse.BooleanOptionalAction)
    add("fps", "frames per second (default: unchanged)", type=float, metavar="RATE")
    group = parser.add_argument_group("train and test")
    add("split", "by identity (default), or by time: the last clips of each video", choices=splits)
    text = "fraction of the identities, or of each video's clips, in test (default 0.1)"
    add("test-share", text, type=float, metavar="SHARE")
    add("test-identities", "identities in test; with --split identity no others", nargs="+", metavar="NAME")
    add(
        "identity",
        "regular expression whose first group is the identity in a video's path (default: the topmost directory, or "
        "the file's name up to #)",
        metavar="REGEX",
    )


def _prepare(arguments: argparse.Namespace) -> None:
    names = prepare_settings.Settings.__dataclass_fields__
    overrides = {name: value for name, value in vars(arguments).items() if name in names}
    if "test_identities" in overrides:
        overrides["test_identities"] = tuple(overrides["test_identities"])
    if arguments.recipe:
        recipe = config.load_recipe(arguments.recipe)
        overrides = prepare_settings.fit_recipe(recipe.model.frame_size) | overrides
    settings = prepare_settings.choose(arguments.preset, overrides)
    videos: list[str | pathlib.Path] = arguments.videos
    if not videos and arguments.preset not in prepare_settings.FETCHED:
        raise errors.UserError(
            f"no videos; give files or directories, or one of --preset {' and '.join(prepare_settings.FETCHED)}."
        )
    if settings.crop in ("face", "body"):
        fetch.fetch("detectors", report=print)
    if not videos:
        videos = list(fetch.fetch(arguments.preset, report=print).values())

    from fomm_tf.data.prepare import run as pipeline
    from fomm_tf.data.prepare import table

    if arguments.runner is None:
        print(pipeline.prepare(videos, arguments.out, settings, arguments.processes))
        dropped = table.describe_dropped(arguments.out)
    else:
        dropped = _prepare_on_beam(arguments, videos, settings)
    for line in dropped:
        print(options.name_options(line))


def _prepare_on_beam(
    arguments: argparse.Namespace, videos: Sequence[str | pathlib.Path], settings: prepare_settings.Settings
) -> Sequence[str]:
    with scaling.requires_beam(arguments, arguments.processes):
        from fomm_tf.scale import preparation
    executor = scaling.make_executor(arguments, preparation.PrepareVideos)
    try:
        prepared = preparation.prepare(list(map(str, videos)), arguments.out, settings, executor)
    except errors.UserError:
        scaling.report(executor, executor.dead_letters)
        raise
    print(prepared.summary)
    scaling.report(executor, prepared.dead_letters)
    return prepared.dropped


PREPARE = console.Command(
    "cut videos into clips for training: detect and track a face or body, crop, resize, split into train and test",
    _add_prepare_arguments,
    _prepare,
)


def _add_shards_arguments(parser: argparse.ArgumentParser) -> None:
    text = "directory of clips, as `fomm prepare` makes it and `fomm train` takes it"
    parser.add_argument("clips", metavar="CLIPS", type=pathlib.Path, help=text)
    text = "directory of the shards; an interrupted run is resumed, and what has not changed is kept"
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path, required=True, help=text)
    text = "recipe that will be trained: the shards hold frames of its size"
    parser.add_argument("--for", dest="recipe", metavar="CONFIG", required=True, help=text)
    text = "number of shards per split (default: %(default)s)"
    parser.add_argument("--shards", type=int, default=16, metavar="N", help=text)


def _shards(arguments: argparse.Namespace) -> None:
    recipe = config.load_recipe(arguments.recipe)

    from fomm_tf.data import sharding

    size = recipe.model.frame_size
    print(sharding.write(arguments.clips, arguments.out, size, arguments.shards, recipe.data))


SHARDS = console.Command(
    "write a directory of clips as few large files, the shards, from which training reads in object storage",
    _add_shards_arguments,
    _shards,
)
