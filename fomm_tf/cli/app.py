"""`fomm app` and `fomm webcam`: a page to click, and a camera that drives an image."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import pathlib
import sys
import warnings
from typing import TYPE_CHECKING

from fomm_tf import console, errors, model_folders, sockets, video
from fomm_tf.cli import options, serving

if TYPE_CHECKING:
    from fomm_tf.inference import animator


def _add_app_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    options.add_run(parser)
    text = "directory whose run directories can be chosen too (default: runs)"
    add("--runs", metavar="DIR", default="runs", help=text)
    options.add_engine(parser)
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    add("--port", type=options.port, default=7860, metavar="N", help="0 is any free port (default: 7860)")
    text = "ask visitors for this user and password; needed if other machines can reach the page"
    add("--auth", type=_auth, metavar="USER:PASSWORD", help=text)
    add = parser.add_argument_group("limits").add_argument
    for option, default, text in (
        ("--max-upload-mib", 1024, "of an uploaded file, such as a checkpoint, in MiB (default: 1024)"),
        ("--max-video-mib", 256, "of a source or driving file, in MiB (default: 256)"),
        ("--max-disk-mib", 4096, "of all uploaded files and results, in MiB; the oldest are deleted (default: 4096)"),
        ("--max-megapixels", 10, "of a video frame, in millions of pixels (default: 10)"),
        ("--max-seconds", 60, "of a driving video (default: 60)"),
        ("--max-job-frames", 3000, "frames of an animation (default: 3000)"),
        ("--max-jobs", 8, "animations that are running or waiting (default: 8)"),
        ("--max-cameras", 2, "cameras at once (default: 2)"),
        ("--keep-seconds", 3600, "how long uploaded files and results are kept (default: 3600)"),
    ):
        add(option, type=options.positive_int, default=default, metavar="N", help=text)
    options.add_quiet(parser)


def _run_app(arguments: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.ERROR, format="%(name)s: %(message)s")
    # Mistakes are reported before TensorFlow is loaded.
    model_folders.read(arguments.folder or model_folders.BUNDLED)
    with console.requires_extra("app"):
        import gradio  # noqa: F401
    from fomm_tf.app import limits, models, server

    address = server.Address(sockets.bind(arguments.host, arguments.port), arguments.host, arguments.auth)
    if not arguments.quiet and not address.is_loopback and address.auth is None:
        text = f"{arguments.host} can be reached from other machines: without --auth, anyone there can use the page."
        warnings.warn(text, UserWarning, stacklevel=2)
    bounds = limits.Limits(
        upload_mib=arguments.max_upload_mib,
        video_mib=arguments.max_video_mib,
        disk_mib=arguments.max_disk_mib,
        megapixels=arguments.max_megapixels,
        seconds=arguments.max_seconds,
        frames=arguments.max_job_frames,
        waiting=arguments.max_jobs,
        live_sessions=arguments.max_cameras,
        keep_seconds=arguments.keep_seconds,
    )
    pool = models.ModelPool(arguments.folder, pathlib.Path(arguments.runs), functools.partial(_load, arguments))
    pool.get(pool.default)
    report = (lambda line: None) if arguments.quiet else functools.partial(print, flush=True)
    with server.open_app(address, pool, serving.prepare_animation, bounds) as app:
        server.run(address, app, report)
    # TensorFlow's own end would take seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _add_webcam_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source", metavar="IMAGE", required=True, help="the image to animate")
    options.add_run(parser)
    options.add_engine(parser)
    text = "the number of a camera, or a video file that stands in for one (default: 0)"
    add("--camera", type=_camera, metavar="N|FILE", default=0, help=text)
    add("--virtual-camera", action="store_true", help="be a camera for other programs (needs pyvirtualcam)")
    add("--out", metavar="FILE", help=f"also write a video: {', '.join(video.SUFFIXES)}")
    add("--no-window", action="store_true", help="show no window")
    text = "turn the camera's frames left to right, as in a mirror (default: yes)"
    add("--mirror", action=options.YES_OR_NO, default=True, help=text)
    options.add_transfer(parser, mode="relative")
    group = parser.add_argument_group("motion").add_argument
    group(
        "--smooth", type=float, metavar="STRENGTH", default=1.0, help="reduce jitter, up to 10; 0 is off (default: 1)"
    )
    text = "scale relative motion: above 1 exaggerates (default: 1)"
    group("--motion-strength", type=float, metavar="FACTOR", default=1.0, help=text)
    options.add_quiet(parser)


def _run_webcam(arguments: argparse.Namespace) -> None:
    if arguments.no_window and not (arguments.virtual_camera or arguments.out):
        raise errors.UserError("`no_window` leaves nothing to show; give `virtual_camera` or `out` too.")
    image = video.read_image(arguments.source)
    if arguments.out is not None:
        inputs = [arguments.source, *([arguments.camera] if isinstance(arguments.camera, str) else [])]
        video.check_output(arguments.out, *inputs, *options.list_model_files(arguments.folder))
    from fomm_tf.app import live, webcam

    report = (lambda line: None) if arguments.quiet else functools.partial(print, flush=True)
    model = _load(arguments, arguments.folder or model_folders.BUNDLED)
    report(f"device: {model.engine.device()}")
    settings = live.Settings(arguments.mode, arguments.smooth, arguments.motion_strength, arguments.adapt_scale)
    animated = live.LiveAnimator(model, image, settings)
    size = tuple(model.config.model.frame_size)
    outputs = webcam.open_outputs(size, not arguments.no_window, arguments.virtual_camera, arguments.out, report)
    with outputs as opened:
        if not arguments.no_window:
            report("q ends, r recenters")
        summary = webcam.run(animated, webcam.Camera(arguments.camera), opened, arguments.mirror)
    report(
        f"{summary.frames} frames, {summary.fps:.1f} frames/s, {1000 * summary.latency:.0f} ms from camera to output, "
        f"{summary.dropped} camera frames dropped"
    )


def _load(arguments: argparse.Namespace, folder: str | pathlib.Path) -> animator.Animator:
    from fomm_tf.inference import animator

    return animator.Animator.load(folder, arguments.precision, arguments.engine)


def _auth(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("expected USER:PASSWORD")
    return user, password


def _camera(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


APP = console.Command("serve a web page to animate without a terminal, also live", _add_app_arguments, _run_app)
WEBCAM = console.Command("animate an image live by a camera", _add_webcam_arguments, _run_webcam)
