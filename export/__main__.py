"""`python -m export`."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from fomm_tf import config, console

_TEXT = "Writes a run's model for TF-Serving: a SavedModel, compared with the Keras model before it gets its name."
_MORE = """\
examples:
  python -m export --to saved_model --out models/fomm                      the bundled model
  python -m export --run runs/faces --to saved_model --out models/faces --precision float16
  python -m export --run runs/faces --check models/faces/1

what is written: OUT/1, the next time OUT/2, ...: OUT is a base_path of TF-Serving. Signatures: detect, encode_source,
animate, each for floats, _uint8 and _jpeg; transfer, render, render_details, metadata. Every input has a batch axis;
saved_model_cli show --all --dir OUT/1 lists them. OUT/1/assets.extra holds metadata.json and TF-Serving's warm-up.
exit code: 0 done, 2 a mistake, a full disk or a difference over tolerance (nothing is left then), 130 stopped
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return console.run("export", lambda: _run(sys.argv[1:] if argv is None else argv))


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="python -m export", description=_TEXT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", metavar="RUN", help="run folder (default: the bundled model)")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--to", choices=("saved_model",), help="the form to write")
    task.add_argument("--check", metavar="VERSION", help="compare what was written before; nothing is written")
    parser.add_argument("--out", metavar="DIR", help="folder of the model's versions; --to needs it")
    parser.add_argument(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks compute in (default: float32)",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare with the Keras model (default: yes)",
    )
    parser.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages too")
    return parser


def _run(argv: Sequence[str]) -> None:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.to and not options.out:
        parser.error("--to needs --out DIR, the folder of the model's versions")
    console.prepare_tensorflow(options.verbose)

    from export import module, saved_model, verify
    from fomm_tf import checkpoint

    folder = options.run or checkpoint.BUNDLED

    def check(written: pathlib.Path) -> None:
        verify.check(folder, written)

    if options.check:
        check(pathlib.Path(options.check))
        return
    version = saved_model.write(module.load(folder, options.precision), options.out, check if options.verify else None)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"{version}: {size / 1e6:.1f} MB.")


if __name__ == "__main__":
    sys.exit(main())
