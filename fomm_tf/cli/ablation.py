"""`fomm ablation`: the paper's ablation."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from fomm_tf import config
from fomm_tf.experiments import ablation_plan

TEXT = "train and compare the variants of the paper's ablation (Table 1), with the same data and seeds"
_RECIPE = "ablation-64"
_MORE = """\
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

Stopped by Ctrl-C (which saves) or kill -9, the same command resumes, bit for bit.
exit code: 0 done, 2 a mistake or a full disk, 130 stopped and saved
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set to train and test on (default: the recipe's, drawn if it does not exist)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="training steps of each run (default: the recipe's)")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=(0, 1, 2),
        metavar="S",
        help="each seed trains every variant once (default: 0 1 2)",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=list(ablation_plan.VARIANTS),
        default=list(ablation_plan.VARIANTS),
        metavar="NAME",
        help="some of those below (default: all)",
    )
    parser.add_argument(
        "--config",
        default=_RECIPE,
        metavar="RECIPE",
        help="the full model's sizes, schedule and loss weights: a name in configs/ or a file (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        metavar="none|faces|bodies|auto",
        help="what AKD, MKR and AED detect; or module:function, see fomm_tf.detectors (default: none for drawn "
        "characters, otherwise auto, by the first frames)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/ablation"), metavar="DIR", help="output directory (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the ablation and prints Table 1.

    Raises:
      errors.UserError: see `fomm_tf.experiments.ablation.run`.
    """
    import tqdm

    from fomm_tf.experiments import ablation

    def report(line: str) -> None:
        with tqdm.tqdm.external_write_mode():
            print(line, flush=True)

    base = config.load(config.recipes().get(arguments.config, arguments.config))
    if arguments.steps is not None:
        base = config.override(base, [f"train.steps={arguments.steps}"])
    base = ablation_plan.replace_data(base, arguments.data)
    summary = ablation.run(
        base,
        arguments.config,
        [name for name in ablation_plan.VARIANTS if name in arguments.variants],
        tuple(dict.fromkeys(arguments.seeds)),
        arguments.out,
        arguments.detector,
        _command(arguments),
        report,
    )
    print(f"{summary.table()}\n\n{arguments.out}: report.md, report.json and images")


def _command(arguments: argparse.Namespace) -> str:
    """The command line, with every option that has a value."""
    words = ["fomm", "ablation"]
    for name in ("data", "steps", "seeds", "variants", "config", "detector", "out"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return shlex.join(words)
