"""`fomm prepare` and `fomm train`: training data from videos, and training."""

from __future__ import annotations

import argparse
import pathlib
import re
import typing
from collections.abc import Sequence

from fomm_tf import config, console, errors, fetch
from fomm_tf.cli import options
from fomm_tf.data.prepare import settings as prepare_settings

_TRAIN_MORE = """\
examples:
  fomm train clips --out runs/mine                                      your own videos, half an hour
  fomm train tiny                                                       drawn characters, minutes on a laptop
  fomm train vox-256 data.root=faces train.batch_size=8 --run runs/faces
  fomm train vox-256 data.root=faces --run runs/mine --init-from runs/vox     fine-tune
  fomm train --run runs/faces --resume                                  continue, also after Ctrl-C
  fomm train --run runs/faces --resume train.steps=20000                continue with this change only
  fomm train tiny train.dry_run=true                                    time and memory; train.learning_rate_test=true
  tensorboard --logdir runs                                             curves, pictures and videos

run directory: config.yaml, ckpt-* (the newest), best/ (the best on unseen clips, a run directory itself), history.csv
(validation results), pictures/, events.* (TensorBoard). fomm animate --run accepts it at any time.
exit code: 0 done, 2 user error or full disk, 130 interrupted and saved
"""


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _TRAIN_MORE
    add = parser.add_argument
    text = (
        "a recipe: its name in configs/, or a YAML file; with --resume it is optional, and changes what it names. Or "
    )
    text += "a directory of videos: they are prepared, and a recipe is chosen"
    add("config", nargs="?", metavar="CONFIG|CLIPS", help=text)
    add("overrides", nargs="*", metavar="section.key=value", help="changes to it; values are YAML")
    text = "run directory (default: runs/ and the recipe's name)"
    add("--run", "--out", dest="folder", type=pathlib.Path, metavar="DIR", help=text)
    add("--resume", action="store_true", help="continue where the run stopped, bit for bit")
    text = "start from the weights of another run, or of a model by its name (default: the recipe's train.init_from)"
    add("--init-from", metavar="RUN|NAME", help=text)
    group = parser.add_argument_group("with a directory of videos").add_argument
    text = "start from random weights (default: from those of --init-from, else of the bundled model)"
    group("--from-scratch", action="store_true", help=text)
    group("--minutes", type=float, default=30.0, help="how long to train (default: 30)")
    text = "what to cut out of the videos: face, body or none (default: face if most of them show one)"
    group("--crop", choices=("face", "body", prepare_settings.WHOLE), help=text)


def _train(arguments: argparse.Namespace) -> None:
    name, overrides, folder = arguments.config, arguments.overrides, arguments.folder
    if name is not None and "=" in name and not pathlib.Path(name).exists():
        name, overrides = None, [name, *overrides]
    if name is None and not (arguments.resume and folder):
        raise errors.UserError(
            "`config` is missing: give a recipe or a directory of videos, or `folder` and `resume`; see fomm train "
            "--help."
        )
    if arguments.resume and arguments.init_from:
        raise errors.UserError("`resume` cannot be combined with `init_from`: it continues with the run's own weights.")
    path = None if name is None else config.recipes().get(name, name)
    folder = folder or pathlib.Path("runs") / pathlib.Path(name).stem
    if path is not None and pathlib.Path(path).is_dir() and not arguments.resume:
        _train_on_videos(pathlib.Path(path), folder, overrides, arguments)
        return
    if arguments.resume:
        from fomm_tf import checkpoint

        settings = checkpoint.read_config(folder)
        settings = config.override(config.load(path, settings) if path else settings, overrides)
    else:
        settings = config.override(config.load(path), overrides)

    init_from = _locate(arguments.init_from or (None if arguments.resume else settings.train.init_from))

    from fomm_tf.training import loop

    loop.run(settings, folder, resume=arguments.resume, init_from=init_from, command=arguments.command_line)


def _locate(init_from: str | None) -> pathlib.Path | None:
    """The run directory that `--init-from` names."""
    if init_from is None or pathlib.Path(init_from).exists():
        return init_from and pathlib.Path(init_from)
    return options.locate_model(init_from)


_CROPS = {
    "face": "clips of one face each,",
    "body": "clips of one body each,",
    prepare_settings.WHOLE: "clips of whole frames,",
}


def _train_on_videos(
    videos: pathlib.Path, folder: pathlib.Path, overrides: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Prepares videos, chooses a recipe and the steps that fit the time, writes it as a file, and trains."""
    recipe, clips = folder.with_name(f"{folder.name}.yaml"), folder.with_name(f"{folder.name}-clips")
    if (videos / "config.yaml").is_file():
        raise errors.UserError(f"{videos} is a run directory; resume it with --run {videos} --resume.")
    if recipe.exists():
        raise errors.UserError(
            f"{recipe} already exists; train with it by fomm train {recipe} --run {folder}, or give another `folder`."
        )
    if arguments.from_scratch and arguments.init_from:
        raise errors.UserError("`from_scratch` cannot be combined with `init_from`.")
    if arguments.minutes <= 0:
        raise errors.UserError(f"`minutes` must be above 0; got {arguments.minutes:g}.")

    import tensorflow as tf

    from fomm_tf import checkpoint, files
    from fomm_tf.data.prepare import run as pipeline
    from fomm_tf.training import loop, planning

    checkpoint.refuse_existing(folder, "continue it with `resume`, or give another `folder`")
    facts = pipeline.survey([videos], clips, find_faces=arguments.crop is None and _fetch_face_detector())
    if not facts:
        raise errors.UserError(f"{videos} holds no readable video.")
    has_faces = 2 * sum(fact.has_face for fact in facts) > len(facts)
    crop = arguments.crop or ("face" if has_faces else prepare_settings.WHOLE)
    init_from = None if arguments.from_scratch else _locate(arguments.init_from) or checkpoint.BUNDLED
    plan = planning.choose_plan(
        min(fact.side for fact in facts), init_from, bool(tf.config.list_physical_devices("GPU"))
    )
    chosen = prepare_settings.fit_videos(facts, plan.settings.model.frame_size, crop)
    print(f"{videos}: {len(facts)} videos; {plan.reason}; {_CROPS[crop]} of at least {chosen.min_frames} frames")
    print(pipeline.prepare([videos], clips, chosen))
    for line in pipeline.describe_dropped(clips):
        print(_name_options(line))
    # Videos in directories of these names are split already; others are split by training, which tests at least one.
    root = clips if any((clips / "test").glob("*")) else clips / "train"
    settings = planning.plan_training(plan, root, arguments.minutes, overrides, print)
    again = f"fomm train {recipe} --run {folder}-2" + (f" --init-from {init_from}" if init_from else "")
    lines = [f"Chosen by: {arguments.command_line}", f"{plan.reason}.", f"To edit, and train with: {again}"]
    files.write_text(recipe, "".join(f"# {line}\n" for line in lines) + config.dump(settings))
    print(f"{recipe}: the recipe, with {settings.train.steps} steps; a first picture comes after the first one")
    print("expect: shares below 1.0 of the source-copy baseline mean that the model beats copying the source")
    loop.run(settings, folder, init_from=init_from, command=arguments.command_line)


def _name_options(line: str) -> str:
    """Replaces parameters in backquotes by the options of `fomm prepare`."""
    return re.sub(r"`(\w+)`", lambda match: f"--{match[1].replace('_', '-')}", line)


def _fetch_face_detector() -> bool:
    """Downloads the face detector, if it is not in the cache, and returns whether that is possible."""
    try:
        fetch.fetch("detectors", report=print)
    except fetch.UnavailableError as error:
        print(f"whole frames are used, since the face detector cannot be downloaded: {error}")
        return False
    return True


TRAIN = console.Command(
    "train a model on your own videos, on the CPU, one GPU, all GPUs, or several machines (TF_CONFIG)",
    _add_train_arguments,
    _train,
)


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
        recipe = config.load(config.recipes().get(arguments.recipe, arguments.recipe))
        overrides = prepare_settings.fit_recipe(recipe.model.frame_size) | overrides
    settings = prepare_settings.choose(arguments.preset, overrides)
    videos = list(map(pathlib.Path, arguments.videos))
    if not videos and arguments.preset not in prepare_settings.FETCHED:
        raise errors.UserError(
            f"no videos; give files or directories, or one of --preset {' and '.join(prepare_settings.FETCHED)}."
        )
    if settings.crop in ("face", "body"):
        fetch.fetch("detectors", report=print)
    if not videos:
        videos = list(fetch.fetch(arguments.preset, report=print).values())

    from fomm_tf.data.prepare import run as pipeline

    print(pipeline.prepare(videos, arguments.out, settings, arguments.processes))
    for line in pipeline.describe_dropped(arguments.out):
        print(_name_options(line))


PREPARE = console.Command(
    "cut videos into clips for training: detect and track a face or body, crop, resize, split into train and test",
    _add_prepare_arguments,
    _prepare,
)
