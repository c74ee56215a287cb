"""`fomm ablation`, `fomm figure` and `fomm study`: what a paper about a model needs."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import secrets

from fomm_tf import config, console, errors, files, video, visualize
from fomm_tf.cli import options
from fomm_tf.data import layout
from fomm_tf.experiments import ablation_plan, figures, study_build, study_score

_RECIPE = "ablation-64"
_ABLATION = """\
variants, each what configs/ablation/ changes relative to full:
  baseline                   no occlusion map, no Jacobians, the loss at full resolution only
  pyramid                    with the loss on a pyramid of resolutions
  pyramid-occlusion          and the occlusion map: also the zeroth-order model (full with model.jacobian=false)
  no-jacobian-equivariance   and Jacobians, but without their equivariance loss (Eq. 12)
  full                       the whole method

examples:
  fomm ablation                                    drawn heads, 15 runs, about two hours on 2 cores
  fomm ablation --data data/faces --config my.yaml --steps 3000 --seeds 0 1 --out runs/faces-ablation
  fomm ablation --variants baseline full --seeds 0

data: the clips of DIR/test (or of a tenth of the identities, if there are no splits) are reconstructed. If
DIR/pairs.csv or DIR/transfers/pairs.csv has a column truth, its pairs are animated too and compared with the ground
truth; python -m fomm_tf.data.puppets --transfers N --out DIR/transfers draws such pairs.

output:
  OUT/VARIANT-seedS/            run directories, as fomm train writes them
  OUT/evaluation/VARIANT-seedS/ reports, as fomm evaluate writes them
  OUT/report.md, report.json    the tables, updated after each run; reconstruction.png, animation.png

After Ctrl-C (which saves) or kill -9, the same command resumes, bit for bit.
exit code: 0 done, 2 invalid arguments or a full disk, 130 interrupted and saved
"""
_FIGURE_SIZES = (16, 1024)
_STUDY_BUILD = (
    "Builds a page that shows, pair by pair, the image, the driving video and the results of two methods side by side "
    "in random order. It is one self-contained file: open it, put it on any web server, or send it. At its end "
    "participants save their answers as JSON. A key is written beside the page, which maps results to methods: keep it "
    "private. If the page's address ends in ?participant=NAME, the name is filled in."
)
_STUDY_SCORE = (
    "Computes the share of answers that preferred the first method, by study and by question, with 95 % confidence "
    "intervals, as Markdown; with --out also as JSON."
)


def _add_ablation_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _ABLATION
    add, names = parser.add_argument, list(ablation_plan.VARIANTS)
    text = "data set to train and test on (default: the recipe's, drawn if it does not exist)"
    add("--data", type=pathlib.Path, metavar="DIR", help=text)
    add("--steps", type=int, metavar="N", help="training steps of each run (default: the recipe's)")
    text = "each seed trains every variant once (default: 0 1 2)"
    add("--seeds", type=int, nargs="+", default=(0, 1, 2), metavar="S", help=text)
    text = "some of those below (default: all)"
    add("--variants", nargs="+", choices=names, default=names, metavar="NAME", help=text)
    text = "the full model's sizes, schedule and loss weights: a name in configs/ or a file (default: %(default)s)"
    add("--config", default=_RECIPE, metavar="RECIPE", help=text)
    add(
        "--detector",
        metavar="none|faces|bodies|auto",
        help="what AKD, MKR and AED detect; or module:function, see fomm_tf.detectors (default: none for drawn "
        "characters, otherwise auto, by the first frames)",
    )
    text = "output directory (default: %(default)s)"
    add("--out", type=pathlib.Path, default=pathlib.Path("runs/ablation"), metavar="DIR", help=text)


def _run_ablation(arguments: argparse.Namespace) -> None:
    from fomm_tf.experiments import ablation_runner

    base = config.load_recipe(arguments.config)
    if arguments.steps is not None:
        base = config.override(base, [f"train.steps={arguments.steps}"])
    base = ablation_plan.replace_data(base, arguments.data)
    variants = [name for name in ablation_plan.VARIANTS if name in arguments.variants]
    seeds, command = tuple(dict.fromkeys(arguments.seeds)), arguments.command_line
    report = options.print_above_progress
    summary = ablation_runner.run(
        base, arguments.config, variants, seeds, arguments.out, arguments.detector, command, report
    )
    print(f"{summary.table()}\n\n{arguments.out}: report.md, report.json and images")


def _add_figure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = "\n".join(f"  {name:<16}{kind.text}" for name, kind in figures.KINDS.items())
    parser.epilog = f"kinds:\n{kinds}"
    add = parser.add_argument
    add("kind", metavar="KIND", choices=list(figures.KINDS), help=f"{', '.join(figures.KINDS)}: see below")
    add(
        "--run",
        metavar="[NAME=]RUN",
        dest="runs",
        action="append",
        help="a model's run directory, and its label in the figure (default: the directory's name); repeat for further "
        "models (default: the bundled model)",
    )
    add("--source", metavar="IMAGE", nargs="+", default=[], help="source images, one per group of rows")
    add("--driving", metavar="VIDEO", help="the video whose frames are the columns")
    add("--out", metavar="FIGURE", required=True, help="output image: .png or .jpg")
    text = "number of frames, spread over the video (default: %(default)s)"
    add("--frames", type=int, default=5, metavar="N", help=text)
    options.add_range(parser)
    add("--size", type=int, default=256, metavar="PIXELS", help="height of each image (default: %(default)s)")
    add("--jacobians", action="store_true", help="draw the Jacobians of keypoints too")
    options.add_transfer(parser)
    options.add_fit(parser)
    options.add_quiet(parser)


def _run_figure(arguments: argparse.Namespace) -> None:
    kind = figures.KINDS[arguments.kind]
    # Mistakes are reported before TensorFlow is loaded.
    video.check_image_output(arguments.out, *arguments.source, arguments.driving)
    _check_figure(arguments, kind)
    runs = [_parse_run(text) for text in arguments.runs or ()]
    files.check_output(arguments.out, *(path for _, folder in runs for path in options.list_model_files(folder)))
    part = arguments.frames, arguments.start, arguments.duration
    inputs = figures.read_inputs(arguments.source, arguments.driving, *part)
    overrides = options.transfer_overrides(arguments)
    if arguments.kind == "reconstruction":
        inputs = inputs._replace(names=["first frame"], sources=[inputs.first])
        overrides["mode"] = "absolute"

    import tqdm

    from fomm_tf import checkpoint
    from fomm_tf.inference import animator

    outputs, drawn = [], (arguments.fit, kind.animates, arguments.size, arguments.jacobians)
    runs = runs or [("bundled", checkpoint.BUNDLED)]
    for name, folder in tqdm.tqdm(runs, unit="run", disable=True if arguments.quiet else None):
        model = animator.Animator.load(folder)
        transfer = dataclasses.replace(model.config.animate, **overrides)
        outputs.append(figures.render(name, model, inputs, transfer, *drawn))
    size = figures.cell_size((outputs[0].sources + outputs[0].frames)[0].shape[:2], arguments.size)
    figure = visualize.draw_grid(*kind.rows(inputs, outputs), size)
    video.write_image(arguments.out, figure)
    if not arguments.quiet:
        print(f"{arguments.out}: {figure.shape[1]}x{figure.shape[0]} pixels")


def _check_figure(arguments: argparse.Namespace, kind: figures.Kind) -> None:
    if arguments.kind == "reconstruction" and arguments.source:
        raise errors.UserError("A reconstruction has the video's first frame as its source; leave --source out.")
    if kind.needs_source and not arguments.source:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows sources; give --source IMAGE.")
    if kind.needs_driving and not arguments.driving:
        raise errors.UserError(f"A figure of the kind {arguments.kind} shows driving frames; give --driving VIDEO.")
    if not (arguments.source or arguments.driving):
        raise errors.UserError("The figure would be empty; give --source IMAGE, --driving VIDEO, or both.")
    low, high = _FIGURE_SIZES
    if not low <= arguments.size <= high:
        raise errors.UserError(f"--size must be {low} to {high} pixels; got {arguments.size}.")


def _parse_run(text: str) -> tuple[str, str]:
    """Splits NAME=RUN; an equals sign may also be part of the directory's name."""
    name, equals, folder = text.partition("=")
    if not equals or pathlib.Path(text).is_dir():
        name, folder = pathlib.Path(text).resolve().name, text
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--run {folder} is not a directory; give a run directory, or NAME=RUN.")
    return name, folder


def _add_study_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="build|score", required=True)
    build = commands.add_parser("build", help="build the page and its key", description=_STUDY_BUILD)
    build.set_defaults(act=_build_study, parser=build)
    add = build.add_argument
    add("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    add("--data", metavar="DIR", required=True, help="the directory that the paths in the CSV are relative to")
    for option, text in (("--a", "the method whose share is reported"), ("--b", "the method to compare with")):
        text += ": its name, and the directory that fomm animate-set wrote (SOURCE--DRIVING.mp4)"
        add(option, metavar="NAME=DIR", required=True, help=text)
    add("--out", metavar="PAGE.html", required=True, help="the page; the key is PAGE.key.json beside it")
    add("--key", metavar="KEY.json", help="another place for the key")
    add("--name", help="name of the study in the table of scores (default: the page's file name)")
    text = 'text of the question (default: "%(default)s")'
    add("--question", metavar="TEXT", default=study_build.QUESTION, help=text)
    options.add_fit(build, "how image and driving video are resized to the results' size, as for animate-set")
    text = "where the results start in the driving videos"
    add("--start", type=float, default=0.0, metavar="SECONDS", help=text)
    add("--seed", type=int, metavar="N", help="seed of the order (default: a random one, stored in the key)")
    score = commands.add_parser("score", help="score the answers", description=_STUDY_SCORE)
    score.set_defaults(act=_score_study, parser=score)
    add = score.add_argument
    add("answers", metavar="ANSWERS.json", nargs="+", help="saved by the page, one file per participant")
    text = "of the study; each of several keys is a row"
    add("--key", metavar="KEY.json", nargs="+", required=True, help=text)
    add("--out", metavar="DIR", help="write study.md and study.json there")


def _build_study(arguments: argparse.Namespace) -> None:
    page = pathlib.Path(arguments.out)
    if page.suffix.lower() not in (".html", ".htm"):
        raise errors.UserError(f"--out {page} must be an HTML file; give a name that ends in .html.")
    key_path = pathlib.Path(arguments.key or page.with_suffix(".key.json"))
    methods = [_method(option, getattr(arguments, option)) for option in ("a", "b")]
    data = pathlib.Path(arguments.data)
    pairs = [
        study_build.Pair(
            data / pair.source,
            data / pair.driving,
            tuple(folder / f"{pair.name}.mp4" for _, folder in methods),
            (pair.source, pair.driving),
        )
        for pair in layout.read_pairs(arguments.pairs)
    ]

    used = [path for pair in pairs for path in (pair.source, pair.driving, *pair.results)]
    for output in (page, key_path):
        files.check_output(output, arguments.pairs, *used)

    import tqdm  # not for `fomm --help`

    key = study_build.build(
        pairs,
        tuple(name for name, _ in methods),
        page,
        key_path,
        name=arguments.name or page.stem,
        seed=secrets.randbits(32) if arguments.seed is None else arguments.seed,
        question=arguments.question,
        fit=arguments.fit,
        start=arguments.start,
        track=lambda items: tqdm.tqdm(items, unit="pair", disable=None),
    )
    print(f"{page}: {len(pairs)} questions, {page.stat().st_size / 1e6:.2f} MB")
    print(f"{key_path}: the key of the study {key.study}, which fomm study score needs")


def _method(option: str, text: str) -> tuple[str, pathlib.Path]:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise errors.UserError(f"--{option} is {text!r}; give the method's name and its directory as NAME=DIR.")
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--{option} {folder} is not a directory; give the one that fomm animate-set wrote.")
    return name.strip(), pathlib.Path(folder)


def _score_study(arguments: argparse.Namespace) -> None:
    if arguments.out:
        for name in ("study.md", "study.json"):
            files.check_output(pathlib.Path(arguments.out) / name, *arguments.answers, *arguments.key)
    keys = {key.study: key for key in map(study_build.read_key, arguments.key)}
    answers = [study_score.read_answers(path, keys) for path in arguments.answers]
    scores = [study_score.score(key, answers) for key in keys.values()]
    text = study_score.as_markdown(scores)
    print(text, end="")
    if arguments.out:
        folder = pathlib.Path(arguments.out)
        files.write_text(folder / "study.md", text)
        files.write_json(folder / "study.json", study_score.as_json(scores))


ABLATION = console.Command(
    "train and compare the variants of the paper's ablation (Table 1), with the same data and seeds",
    _add_ablation_arguments,
    _run_ablation,
)
FIGURE = console.Command(
    "draw a figure like the paper's: inputs and outputs of one or several models", _add_figure_arguments, _run_figure
)
STUDY = console.Command(
    "run a user study that compares two methods: build its page, score the answers",
    _add_study_arguments,
    lambda arguments: arguments.act(arguments),
)
