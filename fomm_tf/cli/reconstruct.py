"""`fomm reconstruct`: the paper's proxy task, as videos."""

from __future__ import annotations

import argparse

TEXT = "rebuild each video of a test set from its first frame and its keypoints (the paper's proxy task)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_options(parser, "the folder for NAME.mp4, png/NAME/ and the report")
    parser.add_argument(
        "--png",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the frames as lossless images too (default: yes)",
    )
    parser.add_argument("--side-by-side", action="store_true", help="show source, frame and result in the mp4")


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Declares what `reconstruct` and `evaluate` have in common.

    Args:
      parser: of the command.
      out: what `--out` is.
    """
    parser.add_argument("--run", metavar="RUN", dest="folder", help="the model's run folder (default: the bundled one)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        required=True,
        help="a data set, whose part test is taken, or any folder of videos",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help=f"{out}; the same command goes on there")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="videos at a time (default: 1)")
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="how frames get the model's size"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", default=8, help="frames at once (default: 8)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors and warnings")


def run(arguments: argparse.Namespace) -> None:
    """Rebuilds the videos and says how near they are.

    Raises:
      errors.UserError: see `fomm_tf.inference.evaluation.evaluate`.
    """
    from fomm_tf.inference import evaluation

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
        at_once=arguments.jobs,
        progress=not arguments.quiet,
    )
    if not arguments.quiet:
        rows = report.rows()
        l1, copying, share = rows["l1"]["model"], rows["l1"]["copying"], rows["l1_share"]["model"]
        print(
            f"L1 {l1.value:.4f}, copying the source {copying.value:.4f}, share {share.value:.3f}; "
            f"{l1.videos} videos, {l1.frames} frames"
        )
        print(f"{arguments.out}: the videos, report.md, report.json, sheet.png")
