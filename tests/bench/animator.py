"""`python tests/bench/animator.py`: `fomm animate` end to end and by stage, 1080p in, random weights.

Networks are timed at one batch of driving frames. The rest of the command ("end to end") is what decoding, resizing,
encoding and Python take; start-up is reported separately. Crop and best frame take passes of their own over the video,
which decode it again; they are timed where `fomm fetch detectors` has been run.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import harness
import numpy as np
import skimage.data
import tensorflow as tf

from fomm_tf import checkpoint, config, detectors, motion_filters, transfer, video
from fomm_tf.inference import animate, animator, crops, faces, paste, quality, stream

FULL_HD = (1080, 1920)
FACE_FRAMES = 16


def build_parts(folder, model, frames, batch):
    """name -> `Part`, from files to files."""
    settings = model.config
    size = settings.model.frame_size
    driving, image, result = folder / "driving.mp4", folder / "source.png", folder / "result.mp4"
    harness.write_drifting_noise(driving, frames, FULL_HD, grain_channels=1)
    first = next(iter(video.open_video(driving)))
    video.write_image(image, first)
    small = np.random.default_rng(0).integers(0, 256, [batch, *size, 3], np.uint8)
    source = model.encode_source(small[0])
    keypoints = model.detect(small)
    _, dense_motion, generator = model.model.layers
    motion = dense_motion(source.lowres, source.keypoints, keypoints)
    warped = generator.warp_features(source.features, motion)

    def write_small():
        with video.write_video(folder / "written.mp4", 25) as writer:
            for _ in range(frames // batch):
                for frame in small:
                    writer.write(frame)

    def whole():
        output = animate.Output(str(result))
        opened = video.open_video(driving)
        animate.animate_file(model, str(image), opened, output, settings.animate, batch_size=batch, progress=False)

    pixels = tf.constant(small, tf.float32) / 255.0
    parts = {
        "decode 1080p": harness.Part(lambda: sum(1 for _ in video.open_video(driving)), frames),
        "resize": harness.Part(lambda: video.resize(first, size)),
        "encode source": harness.graph_part(lambda: generator.encode(pixels[:1])),
        "detect": harness.graph_part(lambda: model.model.detector(pixels), batch),
        "dense motion": harness.graph_part(lambda: dense_motion(source.lowres, source.keypoints, keypoints), batch),
        "warp": harness.graph_part(lambda: generator.warp_features(source.features, motion), batch),
        "generator": harness.graph_part(lambda: generator.decode(warped), batch),
    }
    gflop = {name: part.gflop for name, part in parts.items()}
    gflop["render"] = gflop["dense motion"] + gflop["generator"]
    parts["render"] = harness.Part(lambda: harness.wait(model.render(source, keypoints)), batch, gflop["render"])
    parts["transfer"] = harness.Part(lambda: harness.wait(transfer(source.keypoints, keypoints, keypoints)), batch)
    parts |= build_framing_parts(small, keypoints)
    parts["encode video"] = harness.Part(write_small, frames // batch * batch)
    parts["end to end"] = harness.Part(whole, frames, (gflop["detect"] + gflop["render"]) / batch * frames)
    return parts


def build_framing_parts(small, keypoints):
    """What crops, the best frame, smoothing and paste-back add, in a 1080p video of a face that moves."""
    portrait = video.resize(skimage.data.astronaut(), (540, 540))
    clip = np.full((FACE_FRAMES, *FULL_HD, 3), 90, np.uint8)
    for index, frame in enumerate(clip):
        frame[200:740, 300 + 20 * index : 840 + 20 * index] = portrait
    square = crops.Square(300, 150, 500)
    smooth = motion_filters.KeypointSmoother(1.0, 25)
    paster = paste.Paster(square, FULL_HD)
    parts = {
        "smooth": harness.Part(lambda: smooth(keypoints), len(small)),
        "paste back": harness.Part(lambda: paster(clip[0], small[0])),
    }
    if detectors.are_installed():
        boxes, points = detectors.load_boxes("face"), detectors.load_points("face-points")
        face = [crops.crop(frame, square, small.shape[1:3]) for frame in clip]

        def find_crop():
            return crops.find_squares(iter(clip), FULL_HD, 25, "face", faces.ZoomedDetector(boxes))

        parts["crop"] = harness.Part(find_crop, len(clip))
        parts["best frame"] = harness.Part(lambda: quality.find_best_frame(face[0], face, points), len(clip))
    return parts


def start_up(run, precision):
    """The model of a run directory, and the seconds of what a command does before its second batch."""
    stamps = [time.perf_counter()]
    imports = "import fomm_tf.inference.animate, fomm_tf.inference.engines.keras"
    subprocess.run([sys.executable, "-c", imports], check=True)
    stamps.append(time.perf_counter())
    model = animator.Animator.load(run, precision)
    stamps.append(time.perf_counter())
    frame = np.zeros([1, *model.config.model.frame_size, 3], np.uint8)
    harness.wait(model.render(model.encode_source(frame), model.detect(frame)))
    stamps.append(time.perf_counter())
    return model, dict(zip(("imports", "loading", "first frame"), np.diff(stamps).round(1).tolist(), strict=True))


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=stream.DEFAULT_BATCH_SIZE, help="driving frames a call")
    parser.add_argument("--frames", type=int, default=64, help="of the driving video (default: %(default)s)")
    parser.add_argument("--precision", choices=config.PRECISIONS, default="float32")
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint.save(folder / "run", checkpoint.build(settings), "random weights, for a bench")
        model, once = start_up(folder / "run", arguments.precision)
        parts = build_parts(folder, model, arguments.frames, arguments.batch)
        records = harness.measure(parts, arguments.rounds)
    whole = records["end to end"]
    networks = records["detect"]["ms"] + records["render"]["ms"]
    whole["frames_per_second"] = round(1000 / whole["ms"], 3)
    whole["besides_networks"] = round(1 - networks / whole["ms"], 3)
    whole["start_up_seconds"] = once
    print(
        f"end to end: {whole['frames_per_second']:.2f} frames/s; {whole['besides_networks']:.1%} of the time is not "
        f"the networks'; start-up, in seconds: {', '.join(f'{name} {taken}' for name, taken in once.items())}"
    )
    harness.write(arguments.out, f"animate {arguments.config}, batch {arguments.batch}, {arguments.precision}", records)


if __name__ == "__main__":
    main()
