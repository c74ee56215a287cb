"""`fomm reconstruct`: the paper's reconstruction task, as videos."""

from __future__ import annotations

import argparse

TEXT = "reconstruct each video of a test set from its first frame and its keypoints (the paper's protocol)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_options(parser, "directory for NAME.mp4, png/NAME/ and the report")
    parser.add_argument(
        "--png",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the frames as lossless images too (default: yes)",
    )
    parser.add_argument("--side-by-side", action="store_true", help="show source, frame and result in the mp4")


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Declares the options that `reconstruct` and `evaluate` share.

    Args:
      parser: of the command.
      out: description of `--out`.
    """
    parser.add_argument(
        "--run", metavar="RUN", dest="folder", help="the model's run directory (default: the bundled model)"
    )
    parser.add_argument(
        "--data", metavar="DIR", required=True, help="a data set with a test/ split, or any directory of videos"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help=f"{out}; the same command resumes there")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="videos at a time (default: 1)")
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="how frames are resized to the model's size"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", default=8, help="frames per batch (default: 8)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors and warnings")


def run(arguments: argparse.Namespace) -> None:
    """Reconstructs the videos and prints their L1.

    Raises:
      errors.UserError: see `fomm_tf.evaluation.evaluate`.
    """
    from fomm_tf import evaluation

    settings = evaluation.Settings(
        metrics=("l1",),
        fit=arguments.fit,
        batch_size=arguments.batch_size,
        videos=True,
        png=arguments.png,
        side_by_side=arguments.side_by_side,
    )
    report = evaluation.evaluate(
        arguments.folder,
        arguments.data,
        arguments.out,
        settings,
        jobs=arguments.jobs,
        progress=not arguments.quiet,
    )
    if not arguments.quiet:
        rows = report.rows()
        l1, source_copy, ratio = rows["l1"]["model"], rows["l1"]["source_copy"], rows["l1_ratio"]["model"]
        print(
            f"L1 {l1.value:.4f}, source-copy baseline {source_copy.value:.4f}, ratio {ratio.value:.3f}; "
            f"{l1.videos} videos, {l1.frames} frames"
        )
        print(f"{arguments.out}: the videos, report.md, report.json, sheet.png")
