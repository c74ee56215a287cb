"""`fomm export`, `serve` and `client`: models for other runtimes, and behind TF-Serving's protocols."""

from __future__ import annotations

import argparse
import pathlib
import ssl
from collections.abc import Sequence

from fomm_tf import config, console, errors, fetch, files, video
from fomm_tf.cli import options, serving
from fomm_tf.export import VARIANTS
from fomm_tf.serving import client as clients

_EXPORT_MORE = """\
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


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXPORT_MORE
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


def _run_export(arguments: argparse.Namespace) -> None:
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
    _add_export_arguments,
    _run_export,
)


_ANIMATE = "animate an image with the motion of a video, through a server"


def _add_client_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    animate = commands.add_parser("animate", help=_ANIMATE, description=f"{_ANIMATE[0].upper()}{_ANIMATE[1:]}.")
    animate.set_defaults(act=_animate, parser=animate)
    add = animate.add_argument
    add("--server", metavar="HOST:PORT", required=True, help="address of the model server")
    options.add_files(animate)
    add("--protocol", choices=clients.PROTOCOLS, default="rest", help="protocol of that port (default: rest)")
    add("--model", metavar="NAME", default="fomm", help="model name on the server (default: fomm)")
    version = animate.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, metavar="N", help="model version (default: the highest)")
    version.add_argument("--label", metavar="LABEL", help="model version with this label")
    options.add_transfer(animate, mode="relative", adapt_scale=False)
    options.add_framing(animate, "off")
    options.add_filters(animate)
    text = "driving frames per request (default: %(default)s)"
    add("--batch-size", type=int, metavar="N", default=clients.BATCH_SIZE, help=text)
    for option, default, text in (
        ("--timeout", clients.TIMEOUT, "deadline of each request"),
        ("--retry-timeout", clients.RETRY_TIMEOUT, "how long to retry while the server is unavailable"),
    ):
        add(option, type=float, metavar="SECONDS", default=default, help=f"{text} (default: %(default)g)")
    add("--token-file", metavar="FILE", help="file with the token of the server")
    add("--ca-file", metavar="FILE", help="for TLS: the server's certificate or that of its authority, PEM")
    options.add_video(animate)


def _animate(arguments: argparse.Namespace) -> None:
    # Inputs are checked before anything is sent.
    video.check_output(arguments.out, arguments.source, arguments.driving)
    choice = options.framing(arguments)
    source = video.read_image(arguments.source)
    driving = video.open_video(arguments.driving, arguments.start, arguments.duration, arguments.fps)

    from fomm_tf.serving import animation

    def view(frame_size: tuple[int, int]) -> animation.Views:
        from fomm_tf.inference import framing

        # A server does not say what its model was trained on: `auto` is off.
        frames = framing.open_source(source, arguments.source, choice, "none")
        clip = framing.VideoFrames(driving, choice.driving, choice, "none", "continue")
        for line in () if arguments.quiet else (*frames.describe(), *clip.describe()):
            print(line)
        moment, composite = next(frames.moments(frame_size)), framing.Compositor(choice)
        return animation.Views(
            moment.images, lambda: clip.frames(frame_size), lambda animated: composite(moment, animated)
        )

    settings = animation.Options(
        relative=arguments.mode == "relative",
        adapt_scale=arguments.adapt_scale,
        batch_size=arguments.batch_size,
        audio=arguments.audio,
        audio_start=arguments.start or 0.0,
        tag=not arguments.no_tag,
        progress=not arguments.quiet,
        smooth=arguments.smooth,
        motion_strength=arguments.motion_strength,
    )
    model = arguments.model, arguments.version, arguments.label
    connection, token = (
        (arguments.protocol, arguments.timeout, arguments.retry_timeout),
        serving.read_token(arguments.token_file),
    )
    try:
        with clients.Client(arguments.server, *model, *connection, token=token, ca_file=arguments.ca_file) as client:
            frame_count = animation.animate(client, view, driving, arguments.out, settings)
    except (clients.ArgumentError, clients.ServerError, ImportError, ssl.SSLError) as error:
        raise errors.UserError(str(error)) from error
    if not arguments.quiet:
        print(f"{arguments.out}: {frame_count} frames")


CLIENT = console.Command(
    "use a model behind a server: TF-Serving or fomm serve",
    _add_client_arguments,
    lambda arguments: arguments.act(arguments),
)
