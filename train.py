"""Trains a model: python train.py CONFIG.yaml [section.key=value ...]; see --help."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from fomm_tf import config, console, errors

_TEXT = "Trains a model on your own videos, on the CPU, one GPU, all GPUs, or several machines (TF_CONFIG)."
_MORE = """\
examples:
  python train.py configs/tiny.yaml                                     drawn characters, minutes on a laptop
  python train.py configs/vox-256.yaml data.root=faces train.batch_size=8 --run runs/faces
  python train.py configs/vox-256.yaml data.root=faces --run runs/mine --init-from runs/vox     fine-tune
  python train.py --run runs/faces --resume                             go on, after Ctrl-C too
  tensorboard --logdir runs                                             curves and images

the run folder: config.yaml, ckpt-* (the newest), best/ (the best on unseen clips, a run folder itself), history.csv
(each test), images/, events.* (TensorBoard). fomm animate --run takes it at any time.
exit code: 0 done, 2 a mistake or a full disk, 130 stopped and saved
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return console.run("train", lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    parser = console.Parser(
        prog="train.py", description=_TEXT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG.yaml", help="a recipe; with --resume the run's own if left out"
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to it; values are YAML")
    parser.add_argument(
        "--run", type=pathlib.Path, metavar="DIR", help="run folder (default: runs/ and the recipe's name)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the run stopped, bit for bit")
    parser.add_argument("--init-from", type=pathlib.Path, metavar="RUN", help="begin with the weights of another run")
    parser.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages too")
    options = parser.parse_intermixed_args(argv)
    if options.config is None and not (options.resume and options.run):
        raise errors.UserError("say what to train: a CONFIG.yaml, or --run DIR --resume; see train.py --help.")
    if options.resume and options.init_from:
        raise errors.UserError("--resume goes on with the run's own weights: --init-from does not go with it.")
    settings = config.override(config.load(options.config), options.overrides) if options.config else None
    console.prepare_tensorflow(options.verbose)

    from fomm_tf.training import loop

    folder = options.run or pathlib.Path("runs") / pathlib.Path(options.config).stem
    command = shlex.join(["python", "train.py", *argv])
    loop.run(settings, folder, resume=options.resume, init_from=options.init_from, command=command)


if __name__ == "__main__":
    sys.exit(main())
