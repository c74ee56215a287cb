"""Command line of `python -m export`."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from export import VARIANTS
from fomm_tf import config, console

_TEXT = "Exports the model of a run for servers, phones and other runtimes; verifies it against the Keras model."
_MORE = """\
examples:
  python -m export --to saved_model --out models/fomm                      the bundled model
  python -m export --run runs/faces --to saved_model --out models/faces --precision float16
  python -m export --run runs/faces --check models/faces/1
  python -m export --run runs/faces --to tflite --out models/phone
  python -m export --run runs/faces --to onnx --out models/onnx

saved_model, for TF-Serving: OUT/1, the next time OUT/2, ...: OUT is a base_path. Signatures: detect, encode_source,
animate, each for floats, _uint8 and _jpeg; transfer, render, render_details, metadata. Every input has a batch axis;
saved_model_cli show --all --dir OUT/1 lists them. OUT/1/assets.extra has metadata.json and warm-up requests.
tflite, for phones: five stages in four variants; pipeline.json, which describes them; report.md; runner.py, which runs
them with ai-edge-litert and numpy only; sources for Android and iOS with android.md and ios.md.
onnx: the same five stages, and animate in one file, in two variants; runner.py needs onnxruntime and numpy only.
exit code: 0 done, 2 user error, full disk or difference over tolerance (nothing is left then), 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return console.run("export", lambda: _run(sys.argv[1:] if argv is None else argv))


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="python -m export", description=_TEXT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", metavar="RUN", help="run directory (default: the bundled model)")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--to", choices=("saved_model", "tflite", "onnx"), help="the format to write")
    task.add_argument("--check", metavar="VERSION", help="compare an existing SavedModel with the run")
    parser.add_argument("--out", metavar="DIR", help="output directory; required with --to")
    parser.add_argument(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks of a SavedModel compute in (default: float32); other formats have variants",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="driving frames per call of TFLite files (default: 1; 0: any)"
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help="; ".join(f"for {form}: {' '.join(names)}" for form, names in VARIANTS.items()) + " (default: all)",
    )
    parser.add_argument(
        "--grid-sample",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="export a warp in ONNX files as one GridSample node (default: yes), else as gathers",
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
        parser.error("--to needs --out DIR, the output directory")
    if options.batch < 0:
        parser.error(f"--batch is {options.batch}; give 1 or more, or 0 for any")
    offered = VARIANTS.get(options.to, ())
    options.variants = options.variants or offered
    if unknown := set(options.variants) - set(offered):
        known = f"choose from {', '.join(offered)}" if offered else "there are none"
        parser.error(f"--variants has {', '.join(sorted(unknown))}; of {options.to or 'a check'} {known}")
    console.prepare_tensorflow(options.verbose)

    from fomm_tf import checkpoint

    folder = options.run or checkpoint.BUNDLED
    if options.check:
        from export import verify

        verify.check(folder, options.check)
        return
    written = _WRITERS[options.to](folder, options)
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    print(f"{written}: {size / 1e6:.1f} MB.")


def _write_saved_model(folder: str, options: argparse.Namespace) -> pathlib.Path:
    from export import module, saved_model, verify

    check = (lambda written: verify.check(folder, written)) if options.verify else None
    return saved_model.write(module.load(folder, options.precision), options.out, check)


def _write_tflite(folder: str, options: argparse.Namespace) -> pathlib.Path:
    from export import report, tflite

    check = report.check if options.verify else None
    return tflite.write(folder, options.out, options.variants, options.batch or None, check)


def _write_onnx(folder: str, options: argparse.Namespace) -> pathlib.Path:
    from export import onnx, report

    check = report.check if options.verify else None
    return onnx.write(folder, options.out, options.variants, options.grid_sample, check)


_WRITERS = {"saved_model": _write_saved_model, "tflite": _write_tflite, "onnx": _write_onnx}

if __name__ == "__main__":
    sys.exit(main())
