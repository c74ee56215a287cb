"""`fomm export`: writes a run's model for servers, phones, browsers and other runtimes."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from fomm_tf import config, console, errors, fetch, files
from fomm_tf.cli import options
from fomm_tf.export import VARIANTS

_MORE = """\
examples:
  fomm export --to saved_model --out models/fomm                      the bundled model
  fomm export --run runs/faces --to saved_model --out models/faces --precision float16
  fomm export --model vox-256 --to saved_model --out models/vox       a released model: see fomm models
  fomm export --run runs/faces --check models/faces/1
  fomm export --run runs/faces --to tflite --out models/phone
  fomm export --run runs/faces --to onnx --out models/onnx
  fomm export --run runs/faces --to web --out site

saved_model, for TF-Serving: OUT/1, the next time OUT/2, ...: OUT is a base_path. Signatures: detect, encode_source,
animate, each for floats, _uint8 and _jpeg; transfer, render, render_details, metadata. Every input has a batch axis;
saved_model_cli show --all --dir OUT/1 lists them. OUT/1/assets.extra has metadata.json and warm-up requests.
tflite, for phones: five stages in four variants; pipeline.json, which describes them; report.md; runner.py, which runs
them with ai-edge-litert and numpy only; sources for Android and iOS with android.md and ios.md.
onnx: the same five stages, and animate in one file, in two variants; runner.py needs onnxruntime and numpy only.
web: a static site that animates in the visitor's browser and uploads nothing, and a JavaScript package. The first time,
npm downloads LiteRT.js (12 MB): fomm fetch web. Put the directory on a web server, or try it: python -m http.server
exit code: 0 done, 2 user error, full disk or difference over tolerance (nothing is left then), 130 interrupted
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    add, text = parser.add_argument, "; ".join(f"for {form}: {' '.join(names)}" for form, names in VARIANTS.items())
    options.add_run(parser)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--to", choices=("saved_model", *VARIANTS), help="the format to write")
    task.add_argument("--check", metavar="VERSION", help="compare an existing SavedModel with the run")
    add("--out", dest="output", metavar="DIR", help="output directory; required with --to")
    add(
        "--precision",
        choices=config.PRECISIONS,
        default="float32",
        help="what the networks of a SavedModel compute in (default: float32); other formats have variants",
    )
    add(
        "--batch", type=int, default=1, metavar="N", help="driving frames per call of TFLite files (default: 1; 0: any)"
    )
    add("--variants", nargs="+", metavar="NAME", help=f"{text} (default: all; for web the first)")
    text = "export a warp in ONNX files as one GridSample node (default: yes), else as gathers"
    add("--grid-sample", action=options.YES_OR_NO, default=True, help=text)
    add("--verify", action=options.YES_OR_NO, default=True, help="compare with the Keras model (default: yes)")


def _run(arguments: argparse.Namespace) -> None:
    form, batch = arguments.to, arguments.batch
    if form and not arguments.output:
        raise errors.UserError("`output` is missing: `to` needs an output directory.")
    if batch < 0:
        raise errors.UserError(f"`batch` must be at least 1, or 0 for any; got {batch}.")
    known = VARIANTS.get(form, ())
    variants = arguments.variants or (known[:1] if form == "web" else known)
    if unknown := set(variants) - set(known):
        expected = f"some of {', '.join(known)}" if known else "none"
        raise errors.UserError(
            f"`variants`: got {', '.join(sorted(unknown))}; expected {expected} for {form or 'a check'}."
        )

    if form:
        inputs = [pathlib.Path(arguments.folder)] if arguments.folder else []
        files.check_other_directory(pathlib.Path(arguments.output), *inputs)
    with console.requires_extra("export"):
        _export(arguments, variants)


def _export(arguments: argparse.Namespace, variants: Sequence[str]) -> None:
    from fomm_tf import checkpoint
    from fomm_tf.export import report, saved_model

    folder, output = arguments.folder or checkpoint.BUNDLED, arguments.output
    check = report.check if arguments.verify else None
    if arguments.check:
        saved_model.check(folder, arguments.check)
        return
    if arguments.to == "saved_model":
        check = (lambda version: saved_model.check(folder, version)) if arguments.verify else None
        written = saved_model.write(folder, output, arguments.precision, check)
    elif arguments.to == "tflite":
        from fomm_tf.export import tflite

        written = tflite.write(folder, output, variants, arguments.batch or None, check)
    elif arguments.to == "web":
        from fomm_tf.export import web

        written = web.write(folder, output, fetch.fetch(web.RUNTIME), variants, check)
    else:
        from fomm_tf.export import onnx

        written = onnx.write(folder, output, variants, arguments.grid_sample, check)
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    print(f"{written}: {size / 1e6:.1f} MB")


EXPORT = console.Command(
    "export the model of a run for servers, phones, browsers and other runtimes, and verify it against the Keras model",
    _add_arguments,
    _run,
)
