"""`fomm bench`: a GPU or CPU checked and timed."""

from __future__ import annotations

import argparse
import pathlib

from fomm_tf import config, console, errors, files
from fomm_tf.cli import options

# Recipe and batch size by device: a GPU has the paper's model, a CPU one that takes minutes.
_DEFAULTS = {"gpu": ("vox-256", 8), "cpu": ("face-64", 4)}
_MORE = """\
checks, each in float32, TF32, float16, bfloat16 and with XLA, as far as the device has them:
  parity with float64   frames and keypoints of the bundled model, against float64 on the CPU
  SavedModel, ONNX      exports of it, against the Keras model
  matrix product        what the device computes at best
  animation             time of a driving frame of the recipe's model, with random weights
  training step         time of a step, memory on a GPU, and losses against float64; VGG-19, random weights

Without a GPU, --device gpu says why and ends with exit code 0. A failed check ends with exit code 2, after the others.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    add = parser.add_argument
    add("--device", choices=tuple(_DEFAULTS), required=True, help="what to check; of several GPUs the first one")
    recipes = ", ".join(f"{device} {name}" for device, (name, _) in _DEFAULTS.items())
    add("--config", metavar="RECIPE", help=f"the recipe to time: a name in configs/, or a file (default: {recipes})")
    sizes = ", ".join(f"{device} {size}" for device, (_, size) in _DEFAULTS.items())
    text = f"driving frames a call and pairs a training step (default: {sizes})"
    add("--batch-size", type=options.positive_int, metavar="N", help=text)
    text = "file to write the table to (default: outputs/bench-DEVICE.md)"
    add("--out", type=pathlib.Path, metavar="FILE.md", help=text)


def _run(arguments: argparse.Namespace) -> None:
    recipe, batch_size = _DEFAULTS[arguments.device]
    recipe = arguments.config or recipe
    settings = config.load_recipe(recipe)
    out = arguments.out or pathlib.Path("outputs") / f"bench-{arguments.device}.md"
    files.check_output(out)

    from fomm_tf import device_check, devices

    if arguments.device == "gpu" and not devices.list_gpus():
        print(f"skipped: {devices.explain_missing_gpu()}")
        return
    for line in devices.find_problems():
        print(line)
    chosen = device_check.Options(settings, arguments.batch_size or batch_size)
    facts, rows = device_check.run(arguments.device, chosen, options.print_above_progress)
    table = device_check.as_markdown({"command": f"`{arguments.command_line}`", "recipe": recipe} | facts, rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, table)
    print(f"\n{table}\n{out}: the table above")
    failed = [f"{row.check}, {row.mode}" for row in rows if row.status == device_check.FAILED]
    if failed:
        raise errors.UserError(f"failed: {'; '.join(failed)}; please report it with {out}.")


BENCH = console.Command(
    "check a GPU or CPU: parity, exports, speed and memory by precision, as a table to report", _add_arguments, _run
)
