"""`fomm animate`, `animate-set`, `faces` and `demo`: animations of one image, of many pairs, of drawn heads."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from fomm_tf import console, errors, files, model_folders, video
from fomm_tf.cli import options
from fomm_tf.data import layout

if TYPE_CHECKING:
    import numpy as np

    from fomm_tf.inference import animator, framing, motion_files


def _add_animate_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_files(parser)
    _add_shared_arguments(parser)
    text = "write keypoints, deformed source, occlusion and masks to this directory"
    parser.add_argument("--visualize", metavar="DIR", help=text)
    text = "write the motion to this npz file, which --driving takes instead of the video"
    parser.add_argument("--save-motion", metavar="FILE", help=text)


def _add_animate_set_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    add("--data", metavar="DIR", required=True, help="the directory that its paths are relative to")
    add("--out", metavar="DIR", required=True, help="output directory for SOURCE--DRIVING.mp4 files")
    _add_shared_arguments(parser)


def _add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    options.add_run(parser)
    options.add_transfer(parser)
    add(
        "--best-frame",
        type=_best_frame,
        default=0,
        metavar="off|auto|N",
        help="the driving frame whose pose is closest to the image's, from which relative motion starts: its index, or "
        "auto to search for it (default: off, the first frame)",
    )
    _add_framing_arguments(parser)
    add("--batch-size", type=int, metavar="N", default=8, help="driving frames per batch (default: 8)")
    options.add_engine(parser, auto=True)
    add("--side-by-side", action="store_true", help="show image, driving frame and result in a row")
    options.add_video(parser)


def _add_framing_arguments(parser: argparse.ArgumentParser) -> None:
    crops = "auto|off|face|body|X,Y,W,H"
    add = parser.add_argument_group("what is animated").add_argument
    text = "crop image and video to a face, a body or a rectangle (default: auto, as in the model's training)"
    add("--crop", metavar=crops, default="auto", help=text)
    add("--crop-source", metavar=crops, help="the same for the image only (default: --crop)")
    add("--crop-driving", metavar=crops, help="the same for the driving video only (default: --crop)")
    add("--follow", action="store_true", help="move the crop of the driving video with the object")
    add("--paste-back", action="store_true", help="put the animated crop back into the whole image")
    text = "which face of the image: the largest (default), its number in fomm faces, or all with --paste-back"
    add("--face", metavar="largest|N|all", default="largest", help=text)
    add = parser.add_argument_group("motion").add_argument
    text = "reduce jitter: 1 is a good value, up to 10; 0, the default, is off"
    add("--smooth", type=float, metavar="STRENGTH", default=0.0, help=text)
    text = "scale relative motion: above 1 exaggerates (default: 1)"
    add("--motion-strength", type=float, metavar="FACTOR", default=1.0, help=text)
    text = "at cuts in the driving video: restart relative motion (default), continue, or stop"
    add("--on-cut", choices=("restart", "continue", "stop"), default="restart", help=text)


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--out", metavar="DIR", default="outputs/demo", help="output directory (default: %(default)s)")


def _add_faces_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image")
    text = "what to find: face (default), body, or module:function for your own detector"
    parser.add_argument("--crop", metavar="WHAT", default="face", help=text)


def _best_frame(text: str) -> int | str:
    if text in ("off", "auto"):
        return 0 if text == "off" else text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; give off, auto, or the index of a frame, from 0")
    return int(text)


def _run_animate(arguments: argparse.Namespace) -> None:
    # Mistakes are reported before TensorFlow is loaded.
    inputs = [arguments.source, arguments.driving, *options.list_model_files(arguments.folder)]
    video.check_output(arguments.out, *inputs)
    if arguments.visualize is not None:
        from fomm_tf import visualize

        visualize.check_output(arguments.visualize, *inputs)
    if arguments.save_motion is not None:
        files.check_output(arguments.save_motion, *inputs)
    video.read_image(arguments.source)
    _framing(arguments)
    _open_driving(arguments, arguments.driving)
    model = _load(arguments, arguments.source)
    count = _animate(model, arguments, arguments.source, arguments.driving, arguments.out)
    if not arguments.quiet:
        print(f"{arguments.out}: {count} frames")


def _run_animate_set(arguments: argparse.Namespace) -> None:
    pairs = layout.read_pairs(arguments.pairs)
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    files.check_name(out)
    if not data.is_dir():
        raise errors.UserError(f"--data {data} is not a directory; give the one that the pairs' paths are relative to.")
    used = [data / path for pair in pairs for path in pair if path]
    inputs = files.Inputs([arguments.pairs, *used, *options.list_model_files(arguments.folder)])
    targets = [out / f"{pair.name}.mp4" for pair in pairs]
    model = _load(arguments, str(data / pairs[0].source))
    failures = []
    for number, (pair, target) in enumerate(zip(pairs, targets, strict=True), 1):
        try:
            inputs.check(target)
            count = _animate(model, arguments, str(data / pair.source), str(data / pair.driving), str(target))
        except errors.UserError as error:
            failures.append(f"{pair.source} by {pair.driving}: {error}")
            continue
        if not arguments.quiet:
            print(f"{number}/{len(pairs)} {target}: {count} frames")
    if failures:
        raise errors.UserError(f"{len(failures)} of {len(pairs)} pairs could not be animated: {' | '.join(failures)}")


def _run_demo(arguments: argparse.Namespace) -> None:
    from fomm_tf import demo

    if arguments.folder is not None:
        files.check_other_directory(pathlib.Path(arguments.out), pathlib.Path(arguments.folder))
    for line in demo.run(arguments.folder, pathlib.Path(arguments.out)):
        print(line)


def _run_faces(arguments: argparse.Namespace) -> None:
    image = video.read_image(arguments.image)
    from fomm_tf.inference import faces

    found = faces.find_faces(image, arguments.crop)
    for line in faces.list_faces(faces.choose_faces(found, faces.ALL, arguments.image)):
        print(line)


def _open_driving(
    arguments: argparse.Namespace, path: str, model: str | None = None
) -> video.Video | motion_files.Motion:
    from fomm_tf.inference import motion_files

    if motion_files.is_motion_name(path):
        return motion_files.read_motion(path, model)
    return video.open_video(path, arguments.start, arguments.duration, arguments.fps)


def _framing(arguments: argparse.Namespace) -> framing.Framing:
    """The options of `_add_framing_arguments` about crops, checked."""
    from fomm_tf.inference import crops, faces, framing

    source, driving = (
        crops.parse_crop(chosen or arguments.crop) for chosen in (arguments.crop_source, arguments.crop_driving)
    )
    face = faces.check_choice(arguments.face)
    return framing.Framing(source, driving, face, arguments.follow, arguments.paste_back, arguments.fit)


def _load(arguments: argparse.Namespace, source: str) -> animator.Animator:
    """Loads the model on the engine of the options and prints the device; engines are timed on the source."""
    from fomm_tf.inference import animator, engines
    from fomm_tf.inference.engines import choice

    report = (lambda line: None) if arguments.quiet else print
    folder = model_folders.read(arguments.folder or model_folders.BUNDLED)
    engine, precision = arguments.engine, arguments.precision
    if engines.AUTO in (engine, precision):

        def read_image() -> np.ndarray:
            return video.resize(video.read_image(source), folder.config.model.frame_size, arguments.fit)

        engine, precision = choice.choose(folder, engine, precision, read_image, arguments.force, report)
    else:
        choice.check(folder, engine, precision, arguments.force)
    model = animator.Animator(engines.load(folder, engine, precision), folder.config)
    report(f"device: {model.engine.device()}")
    return model


def _animate(model: animator.Animator, arguments: argparse.Namespace, source: str, driving: str, out: str) -> int:
    """Animates one pair; returns the number of frames."""
    from fomm_tf.inference import animate

    visualize, save = getattr(arguments, "visualize", None), getattr(arguments, "save_motion", None)
    return animate.animate_file(
        model,
        source,
        _open_driving(arguments, driving, model.engine.weights_sha256()),
        animate.Output(out, arguments.audio, arguments.side_by_side, visualize, not arguments.no_tag),
        dataclasses.replace(model.config.animate, **options.transfer_overrides(arguments)),
        animate.MotionOptions(
            arguments.best_frame, arguments.on_cut, arguments.smooth, arguments.motion_strength, save
        ),
        _framing(arguments),
        arguments.batch_size,
        arguments.start or 0.0,
        progress=not arguments.quiet,
        check_inputs=not arguments.quiet,
        report=(lambda line: None) if arguments.quiet else print,
    )


ANIMATE = console.Command("animate an image by the motion of a driving video", _add_animate_arguments, _run_animate)
ANIMATE_SET = console.Command(
    "animate many pairs of image and video, listed in a CSV file", _add_animate_set_arguments, _run_animate_set
)
DEMO = console.Command("draw an image and a driving video, and animate the image", _add_demo_arguments, _run_demo)
FACES = console.Command(
    "list the faces of an image with their numbers and boxes, from left to right", _add_faces_arguments, _run_faces
)
