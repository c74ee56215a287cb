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

what is written: OUT/1, the next time OUT/2, ...: OUT is a base_path of TF-Serving. Signatures: detect, encode_source,
transfer, render, render_details, animate, metadata; detect_uint8, animate_uint8. saved_model_cli show --all --dir OUT/1
lists their inputs; every input has a batch axis.
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
    parser.add_argument("--to", choices=("saved_model",), required=True, help="the form")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the model's versions")
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
    options = _parser().parse_args(argv)
    console.prepare_tensorflow(options.verbose)

    from export import module, saved_model, verify
    from fomm_tf import checkpoint

    folder = options.run or checkpoint.BUNDLED

    def check(written: pathlib.Path) -> None:
        report = verify.compare(folder, written)
        for each in report.differences:
            print(f"{each.name}: {each.worst:.1e} from the Keras model's at the most")
        print(f"animation: {report.psnr:.1f} dB")
        verify.judge(report, options.precision)

    version = saved_model.write(module.load(folder, options.precision), options.out, check if options.verify else None)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"{version}: {size / 1e6:.1f} MB.")


if __name__ == "__main__":
    sys.exit(main())
