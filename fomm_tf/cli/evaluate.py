"""`fomm evaluate` and `fomm reconstruct`: the paper's protocol, as metrics and as videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fomm_tf import console, errors, files
from fomm_tf.cli import options, scaling
from fomm_tf.data import storage

if TYPE_CHECKING:
    from fomm_tf import evaluation


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _add_shared_arguments(parser, "directory for report.md, report.json and sheet.png")
    scaling.add_runner(parser)
    add = parser.add_argument
    add(
        "--metrics",
        metavar="NAMES",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        help="some of l1,akd,mkr,aed,psnr,ssim,perceptual and, for animations, identity,motion (default: all)",
    )
    add(
        "--detector",
        metavar="faces|bodies|auto",
        default="auto",
        help="what AKD, MKR, AED, identity and motion detect; or module:function for custom points (default: auto, by "
        "the first frames)",
    )
    text = "face-identity, or module:function, for AED and identity (default: the detector's own; bodies have none)"
    add("--embedding", metavar="NAME", help=text)
    add(
        "--animate",
        metavar="CSV",
        dest="pairs",
        help="evaluate animations instead: a table with the columns source and driving, and truth where ground truth "
        "is known; paths are relative to --data",
    )
    add(
        "--expressions",
        metavar="SET",
        help="for rendered people (--data is such a set): measure the face alone and expression transfer, by a reader "
        "fitted on the people in train of SET; writes png/ and expressions.json too",
    )


def _add_reconstruct_arguments(parser: argparse.ArgumentParser) -> None:
    _add_shared_arguments(parser, "directory for NAME.mp4, png/NAME/ and the report")
    text = "write the frames as lossless images too (default: yes)"
    parser.add_argument("--png", action=options.YES_OR_NO, default=True, help=text)
    parser.add_argument("--side-by-side", action="store_true", help="show source, frame and result in the mp4")


def _add_shared_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    add = parser.add_argument
    options.add_run(parser)
    options.add_engine(parser)
    add("--data", metavar="DIR", required=True, help="a data set with a test/ split, or any directory of videos")
    add("--out", metavar="DIR", required=True, help=f"{out}; the same command resumes there")
    add("--jobs", type=int, metavar="N", help="videos at a time (default: 1)")
    options.add_fit(parser, "how frames are resized to the model's size")
    add("--batch-size", type=int, metavar="N", default=8, help="frames per batch (default: 8)")
    add("--quiet", action="store_true", help="print nothing but errors and warnings")


def _run_evaluate(arguments: argparse.Namespace) -> None:
    reads_expressions = arguments.expressions is not None
    if reads_expressions:
        from fomm_tf.evaluation import rendered_people

        files.check_other_directory(Path(arguments.out), Path(arguments.expressions))
        rendered_people.check_set(Path(arguments.expressions), "train")
        rendered_people.check_set(Path(arguments.data), "test")
    names = ("metrics", "detector", "embedding", "fit", "batch_size")
    settings = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    tables = [_evaluate(arguments, arguments.pairs, png=reads_expressions, **settings).summary()]
    if reads_expressions:
        tables.append(rendered_people.write(arguments.expressions, arguments.data, arguments.out))
    if not arguments.quiet:
        print(*tables, f"{arguments.out}: report.md, report.json, sheet.png", sep="\n\n")


def _run_reconstruct(arguments: argparse.Namespace) -> None:
    settings = {name: getattr(arguments, name) for name in ("fit", "batch_size", "png", "side_by_side")}
    rows = _evaluate(arguments, None, metrics=("l1",), videos=True, **settings).rows()
    if not arguments.quiet:
        l1, source_copy, ratio = rows["l1"]["model"], rows["l1"]["source_copy"], rows["l1_ratio"]["model"]
        print(
            f"L1 {l1.value:.4f}, source-copy baseline {source_copy.value:.4f}, ratio {ratio.value:.3f}; "
            f"{l1.videos} videos, {l1.frames} frames"
        )
        print(f"{arguments.out}: the videos, report.md, report.json, sheet.png")


def _evaluate(arguments: argparse.Namespace, pairs: str | None, **settings: object) -> evaluation.Report:
    from fomm_tf import evaluation

    inputs = arguments.folder, arguments.data, arguments.out, evaluation.Settings(**settings), pairs
    model = {"engine": arguments.engine, "precision": arguments.precision, "progress": not arguments.quiet}
    if getattr(arguments, "runner", None) is None:
        return evaluation.evaluate(*inputs, 1 if arguments.jobs is None else arguments.jobs, **model)
    with scaling.requires_beam(arguments, arguments.jobs):
        from fomm_tf.scale import evaluation as scaled
    for option in ("data", "out"):
        if storage.is_url(getattr(arguments, option)):
            raise errors.UserError(
                f"`{option}` must be a path that all workers share; got {getattr(arguments, option)}; copy the videos "
                "to a shared directory."
            )
    executor = scaling.make_executor(arguments, scaled.EvaluateVideos)
    try:
        return evaluation.evaluate(*inputs, **model, execute=executor)
    finally:
        scaling.report(executor, executor.dead_letters, arguments.quiet)


EVALUATE = console.Command(
    "evaluate a model on a test set by the paper's protocol, beside the source-copy baseline: tables and images",
    _add_evaluate_arguments,
    _run_evaluate,
)
RECONSTRUCT = console.Command(
    "reconstruct each video of a test set from its first frame and its keypoints (the paper's protocol)",
    _add_reconstruct_arguments,
    _run_reconstruct,
)
