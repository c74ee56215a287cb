"""`fomm experiment`: the method beside the baselines of the paper."""

from __future__ import annotations

import argparse
import pathlib

from fomm_tf import config, console
from fomm_tf.cli import options

_TABLE3 = """\
examples:
  fomm experiment table3 --estimate               how long it will take here
  fomm experiment table3                          drawn heads, nine runs
  fomm experiment table3 --data data/faces --steps 20000 --seeds 0 --out runs/faces-table3

recipes: configs/table3/NAME.yaml, or --recipes DIR; they have the same data and as many steps.
data: see fomm ablation --help.

output:
  OUT/NAME-seedS/               run directories, as fomm train writes them
  OUT/evaluation/NAME-seedS/    reports, as fomm evaluate writes them, with the animations as videos
  OUT/report.md, report.json    the tables, updated after each run; reconstruction.png, animation.png
  OUT/study/A--B.html           for each pair of methods, the page of a user study (Table 2) and its key; see fomm study

After Ctrl-C (which saves) or kill -9, the same command resumes, bit for bit.
exit code: 0 done, 2 invalid arguments or a full disk, 130 interrupted and saved
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="experiments", metavar="table3", required=True)
    text = "compare the method with X2Face and Monkey-Net (Table 3), and build the user studies (Table 2)"
    formatter = argparse.RawDescriptionHelpFormatter
    description = f"{text[0].upper()}{text[1:]}."
    table = commands.add_parser("table3", help=text, description=description, epilog=_TABLE3, formatter_class=formatter)
    table.set_defaults(act=_run_table3, parser=table)
    add, names = table.add_argument, list(config.KINDS)
    text = "data set to train and test on (default: the recipes', drawn if it does not exist)"
    add("--data", type=pathlib.Path, metavar="DIR", help=text)
    add("--steps", type=int, metavar="N", help="training steps of each run (default: the recipes')")
    text = "each seed trains every model once (default: 0 1 2)"
    add("--seeds", type=int, nargs="+", default=(0, 1, 2), metavar="S", help=text)
    text = f"some of {', '.join(names)} (default: all)"
    add("--models", nargs="+", choices=names, default=names, metavar="NAME", help=text)
    text = "directory with the recipe NAME.yaml of each model (default: configs/table3)"
    add("--recipes", type=pathlib.Path, metavar="DIR", help=text)
    text = "none|faces|bodies|auto, what AKD, MKR and AED detect, or module:function (default: see fomm ablation)"
    add("--detector", metavar="NAME", help=text)
    add("--estimate", action="store_true", help="only time a few steps, and print how long it will take")
    text = "output directory (default: %(default)s)"
    add("--out", type=pathlib.Path, default=pathlib.Path("runs/table3"), metavar="DIR", help=text)


def _run_table3(arguments: argparse.Namespace) -> None:
    from fomm_tf.experiments import table3, table3_report  # load tqdm, which `fomm --help` need not wait for

    names = [name for name in table3_report.METHODS if name in arguments.models]
    configs = table3.load_recipes(names, arguments.recipes, arguments.steps, arguments.data)
    seeds, out = tuple(dict.fromkeys(arguments.seeds)), arguments.out
    report, command = options.print_above_progress, arguments.command_line
    table = table3.run(configs, seeds, out, arguments.detector, command, report, estimate_only=arguments.estimate)
    if table is not None:
        print(f"{table}\n\n{out}: report.md, report.json, images, and the pages of user studies")


EXPERIMENT = console.Command(
    "compare the method with the paper's baselines, X2Face and Monkey-Net: train, evaluate, user studies",
    _add_arguments,
    lambda arguments: arguments.act(arguments),
)
