"""`fomm train`: trains a model."""

from __future__ import annotations

import argparse
import pathlib

from fomm_tf import config, console, errors
from fomm_tf.cli import options

_MORE = """\
examples:
  fomm train tiny                                                       drawn characters, minutes on a laptop
  fomm train vox-256 data.root=faces train.batch_size=8 --run runs/faces
  fomm train vox-256 data.root=faces --run runs/mine --init-from runs/vox     fine-tune
  fomm train --run runs/faces --resume                                  continue, also after Ctrl-C
  tensorboard --logdir runs                                             curves and sample images

run directory: config.yaml, ckpt-* (the newest), best/ (the best on unseen clips, a run directory itself), history.csv
(validation results), samples/, events.* (TensorBoard). fomm animate --run accepts it at any time.
exit code: 0 done, 2 user error or full disk, 130 interrupted and saved
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    add = parser.add_argument
    text = "a recipe: its name in configs/, or a YAML file; with --resume the run's own by default"
    add("config", nargs="?", metavar="CONFIG", help=text)
    add("overrides", nargs="*", metavar="section.key=value", help="changes to it; values are YAML")
    text = "run directory (default: runs/ and the recipe's name)"
    add("--run", dest="folder", type=pathlib.Path, metavar="DIR", help=text)
    add("--resume", action="store_true", help="continue where the run stopped, bit for bit")
    text = "start from the weights of another run, or of a model by its name (default: the recipe's train.init_from)"
    add("--init-from", metavar="RUN|NAME", help=text)


def _run(arguments: argparse.Namespace) -> None:
    name, folder = arguments.config, arguments.folder
    if name is None and not (arguments.resume and folder):
        raise errors.UserError("`config` is missing: give a recipe, or `folder` and `resume`; see fomm train --help.")
    if arguments.resume and arguments.init_from:
        raise errors.UserError("`resume` cannot be combined with `init_from`: it continues with the run's own weights.")
    recipes = config.recipes()
    settings = config.override(config.load(recipes.get(name, name)), arguments.overrides) if name else None

    init_from = arguments.init_from
    if settings is not None and not arguments.resume:
        init_from = init_from or settings.train.init_from
    if init_from is not None:
        init_from = pathlib.Path(init_from)
        init_from = init_from if init_from.exists() else options.locate_model(str(init_from))

    from fomm_tf.training import loop

    folder = folder or pathlib.Path("runs") / pathlib.Path(name).stem
    loop.run(settings, folder, resume=arguments.resume, init_from=init_from, command=arguments.command_line)


TRAIN = console.Command(
    "train a model on your own videos, on the CPU, one GPU, all GPUs, or several machines (TF_CONFIG)",
    _add_arguments,
    _run,
)
