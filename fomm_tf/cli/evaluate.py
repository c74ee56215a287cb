"""`fomm evaluate`: metrics of a run on a test set, or on pairs to animate."""

from __future__ import annotations

import argparse
from pathlib import Path

from fomm_tf.cli import reconstruct

TEXT = "evaluate a model on a test set by the paper's protocol, beside the source-copy baseline: tables and images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    reconstruct.add_options(parser, "directory for report.md, report.json and sheet.png")
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        help="some of l1,akd,mkr,aed,psnr,ssim,perceptual and, for animations, identity,motion (default: all)",
    )
    parser.add_argument(
        "--detector",
        metavar="faces|bodies|auto",
        default="auto",
        help="what AKD, MKR, AED, identity and motion detect; or module:function for custom points (default: auto, by "
        "the first frames)",
    )
    parser.add_argument(
        "--embedding",
        metavar="NAME",
        help="face-identity, or module:function, for AED and identity (default: the detector's own; bodies have none)",
    )
    parser.add_argument(
        "--animate",
        metavar="CSV",
        dest="pairs",
        help="evaluate animations instead: a table with the columns source and driving, and truth where ground truth "
        "is known; paths are relative to --data",
    )
    parser.add_argument(
        "--expressions",
        metavar="SET",
        help="for rendered people (--data is such a set): measure the face alone and expression transfer, by a reader "
        "fitted on the people in train of SET; writes png/ and expressions.json too",
    )


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the table.

    Raises:
      errors.UserError: see `fomm_tf.evaluation.evaluate`.
    """
    from fomm_tf import evaluation
    from fomm_tf.evaluation import rendered_people

    if arguments.expressions is not None:
        rendered_people.check_set(Path(arguments.expressions), "train")
        rendered_people.check_set(Path(arguments.data), "test")
    metrics = {} if arguments.metrics is None else {"metrics": arguments.metrics}
    settings = evaluation.Settings(
        detector=arguments.detector,
        embedding=arguments.embedding,
        fit=arguments.fit,
        batch_size=arguments.batch_size,
        png=arguments.expressions is not None,
        **metrics,
    )
    report = evaluation.evaluate(
        arguments.folder,
        arguments.data,
        arguments.out,
        settings,
        arguments.pairs,
        arguments.jobs,
        progress=not arguments.quiet,
    )
    scores = None
    if arguments.expressions is not None:
        scores = rendered_people.write(arguments.expressions, arguments.data, arguments.out)
    if not arguments.quiet:
        print(report.summary())
        if scores is not None:
            print(f"\n{scores}")
        print(f"\n{arguments.out}: report.md, report.json, sheet.png")
