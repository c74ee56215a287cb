"""`fomm personalization`: what `fomm train --personalize` gains, measured."""

from __future__ import annotations

import argparse
import pathlib

from fomm_tf import console
from fomm_tf.cli import options

_MORE = """\
examples:
  fomm prepare --preset faces --out data/faces
  fomm personalization --data data/faces --run runs/people-64 --out runs/personalization
  fomm personalization --data data/faces --run runs/people-64 --people franck --steps 100 train.batch_size=4

The last fifth of a person's training clips decides when to stop; the table is of the clips in test alone.

output:
  OUT/PERSON/after, OUT/PERSON/after-frozen-detector   run directories, as fomm train --personalize writes them
  OUT/PERSON/evaluation/                               reports, as fomm evaluate writes them
  OUT/report.md, report.json                           the table

After Ctrl-C (which saves) or kill -9, the same command resumes.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    add = parser.add_argument
    add("overrides", nargs="*", metavar="section.key=value", help="changes to the fine-tuning; values are YAML")
    text = "data set split by time: a person has two clips in train, and later ones in test"
    add("--data", type=pathlib.Path, metavar="DIR", required=True, help=text)
    options.add_run(parser)
    add("--people", nargs="+", metavar="NAME", help="some of the people (default: all with enough clips)")
    add("--steps", type=int, default=500, metavar="N", help="most steps of a fine-tuning (default: %(default)s)")
    text = (
        "what AKD and AED detect, or module:function, see fomm_tf.detectors (default: %(default)s, by the first frames)"
    )
    add("--detector", metavar="none|faces|bodies|auto", default="auto", help=text)
    text = "output directory (default: %(default)s)"
    add("--out", type=pathlib.Path, default=pathlib.Path("runs/personalization"), metavar="DIR", help=text)


def _run(arguments: argparse.Namespace) -> None:
    from fomm_tf import checkpoint
    from fomm_tf.experiments import personalization

    start = pathlib.Path(arguments.folder or checkpoint.BUNDLED)
    inputs = arguments.data, start, arguments.out, arguments.steps, arguments.overrides
    table = personalization.run(*inputs, arguments.people, arguments.detector, arguments.command_line)
    print(f"{table.table()}\n\n{arguments.out}: report.md, report.json")


PERSONALIZATION = console.Command(
    "measure what fine-tuning for one person gains: before, after, and with a frozen detector", _add_arguments, _run
)
