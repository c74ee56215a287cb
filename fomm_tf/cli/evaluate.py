"""`fomm evaluate`: metrics of a run on a test set, or on pairs to animate."""

from __future__ import annotations

import argparse

from fomm_tf.cli import reconstruct

TEXT = "judge a model on a test set by the paper's protocol, beside copying the source: tables and images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    reconstruct.add_options(parser, "the folder for report.md, report.json and sheet.png")
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        help="some of l1,akd,mkr,aed,psnr,ssim,perceptual and, of animations, identity,motion (default: all)",
    )
    parser.add_argument(
        "--detector",
        metavar="faces|bodies|auto",
        default="auto",
        help="what AKD, MKR, AED, identity and motion look for; or module:function for points of your own (default: "
        "auto, by the first frames)",
    )
    parser.add_argument(
        "--embedding",
        metavar="NAME",
        help="face-identity, or module:function, for AED and identity (default: the detector's own; bodies have none)",
    )
    parser.add_argument(
        "--animate",
        metavar="CSV",
        help="judge animations instead: a table with the columns source and driving, and truth where it is known, "
        "paths that start from --data",
    )


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the table.

    Raises:
      errors.UserError: see `fomm_tf.inference.evaluation.evaluate`.
    """
    from fomm_tf.inference import evaluation

    given = {} if arguments.metrics is None else {"metrics": arguments.metrics}
    settings = evaluation.Settings(
        detector=arguments.detector,
        embedding=arguments.embedding,
        fit=arguments.fit,
        batch_size=arguments.batch_size,
        **given,
    )
    report = evaluation.evaluate(
        arguments.folder,
        arguments.data,
        arguments.out,
        settings,
        arguments.animate,
        arguments.jobs,
        progress=not arguments.quiet,
    )
    if not arguments.quiet:
        print(report.summary())
        print(f"\n{arguments.out}: report.md, report.json, sheet.png")
