"""`fomm train`: training by a recipe, on a directory of videos, or for one person."""

from __future__ import annotations

import argparse
import pathlib
import warnings
from collections.abc import Sequence

from fomm_tf import config, console, errors, fetch, video
from fomm_tf.cli import options
from fomm_tf.data import layout
from fomm_tf.data.prepare import settings as prepare_settings
from fomm_tf.video import reading

_TRAIN_MORE = """\
examples:
  fomm train clips --out runs/mine                                      your own videos, half an hour
  fomm train tiny                                                       drawn characters, minutes on a laptop
  fomm train vox-256 data.root=faces train.batch_size=8 --run runs/faces
  fomm train vox-256 data.root=faces --run runs/mine --init-from runs/vox     fine-tune
  fomm train --personalize me.mp4 --model vox-256 --out runs/me         fine-tune for one person
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
    add("--init-from", "--model", metavar="RUN|NAME", help=text)
    text = "fine-tune the model of --model (default: the bundled one) for the person in a video or a directory of "
    text += "videos: few steps at low learning rates, until held-out frames no longer improve; with "
    text += "train.freeze_detector=true the keypoint detector stays as it is. A photo is not enough: it has no motion"
    add("--personalize", type=pathlib.Path, metavar="VIDEOS", help=text)
    group = parser.add_argument_group("with a directory of videos, or --personalize").add_argument
    text = "start from random weights (default: from those of --init-from, else of the bundled model)"
    group("--from-scratch", action="store_true", help=text)
    group("--minutes", type=float, default=30.0, help="how long to train at most (default: 30)")
    text = "what to cut out of the videos: face, body or none (default: face if most of them show one)"
    group("--crop", choices=("face", "body", prepare_settings.WHOLE), help=text)


def _train(arguments: argparse.Namespace) -> None:
    name, overrides, folder = arguments.config, arguments.overrides, arguments.folder
    if name is not None and "=" in name and not pathlib.Path(name).exists():
        name, overrides = None, [name, *overrides]
    if arguments.personalize is not None:
        _check_personalize(name, arguments)
        folder = folder or pathlib.Path("runs") / arguments.personalize.stem
        _train_on_videos(arguments.personalize, folder, overrides, arguments)
        return
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


def _check_personalize(name: str | None, arguments: argparse.Namespace) -> None:
    if arguments.resume:
        raise errors.UserError(
            "`resume` cannot be combined with `personalize`: give the run alone, by `folder` and `resume`."
        )
    for option, is_given in (("`config`", name is not None), ("`from_scratch`", arguments.from_scratch)):
        if is_given:
            raise errors.UserError(
                f"{option} cannot be combined with `personalize`, which takes recipe and weights from `init_from`."
            )
    if arguments.personalize.is_file() and reading.is_image_name(arguments.personalize):
        try:
            video.open_video(arguments.personalize)  # an animated image is a video
        except errors.UnreadableError:
            raise errors.UserError(_PHOTO.format(arguments.personalize)) from None


def _locate(init_from: str | None) -> pathlib.Path | None:
    """The run directory that `--init-from` names."""
    if init_from is None or pathlib.Path(init_from).exists():
        return init_from and pathlib.Path(init_from)
    return options.locate_model(init_from)


_EXPECT = "expect: shares below 1.0 of the source-copy baseline mean that the model beats copying the source"
_EXPECT_PERSONAL = (
    "expect: L1 on held-out frames below that of step 0, which is the model before; {} has the best weights, for this "
    "person: other people may look worse"
)
# The only deformations of a photo are drawn ones: nothing in it says how this face moves, and nothing can be held out
# that would tell whether the model animates it better.
_PHOTO = (
    "{} is a photo, and one image does not show how a person moves; give a video of the person, or animate the photo "
    "without training: fomm animate --source PHOTO."
)
_CROPS = {
    "face": "clips of one face each,",
    "body": "clips of one body each,",
    prepare_settings.WHOLE: "clips of whole frames,",
}


def _train_on_videos(
    videos: pathlib.Path, folder: pathlib.Path, overrides: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Prepares videos, chooses a recipe and the steps that fit the time, writes it as a file, and trains."""
    personal = arguments.personalize is not None
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
    from fomm_tf.data.prepare import table
    from fomm_tf.training import loop, planning

    checkpoint.refuse_existing(folder, "continue it with `resume`, or give another `folder`")
    facts = pipeline.survey([videos], clips, find_faces=arguments.crop is None and _fetch_face_detector())
    if not facts:
        raise errors.UserError(f"{videos} holds no readable video.")
    has_faces = 2 * sum(fact.has_face for fact in facts) > len(facts)
    crop = arguments.crop or ("face" if has_faces else prepare_settings.WHOLE)
    init_from = None if arguments.from_scratch else _locate(arguments.init_from) or checkpoint.BUNDLED
    if personal:
        plan = planning.choose_personal_plan(init_from)
    else:
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        plan = planning.choose_plan(min(fact.side for fact in facts), init_from, has_gpu)
    chosen = prepare_settings.fit_videos(facts, plan.settings.model.frame_size, crop, hold_out=personal)
    number = f"{len(facts)} video{'s' * (len(facts) > 1)}"
    print(f"{videos}: {number}; {plan.reason}; {_CROPS[crop]} of at least {chosen.min_frames} frames")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no test clip")  # an error below, where that matters
        print(pipeline.prepare([videos], clips, chosen))
    for line in table.describe_dropped(clips):
        print(options.name_options(line))
    if personal and not all(any((clips / split).glob("*")) for split in layout.SPLITS):
        raise errors.UserError(
            f"{videos} gives a single clip, of which nothing can be held out; give a longer video, or several videos."
        )
    # Videos in directories of these names are split already; others are split by training, which tests at least one.
    root = clips if any((clips / "test").glob("*")) else clips / "train"
    settings = planning.plan_training(plan, root, arguments.minutes, overrides, print)
    again = f"fomm train {recipe} --run {folder}-2" + (f" --init-from {init_from}" if init_from else "")
    lines = [f"Chosen by: {arguments.command_line}", f"{plan.reason}.", f"To edit, and train with: {again}"]
    files.write_text(recipe, "".join(f"# {line}\n" for line in lines) + config.dump(settings))
    print(f"{recipe}: the recipe, with {settings.train.steps} steps; a first picture comes after the first one")
    print(_EXPECT_PERSONAL.format(folder / checkpoint.BEST) if personal else _EXPECT)
    loop.run(settings, folder, init_from=init_from, command=arguments.command_line)


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
