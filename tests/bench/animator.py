"""`python tests/bench/animator.py`: `fomm animate` end to end and by stage, 1080p in, random weights.

Networks are timed at one batch of driving frames. The rest of the command ("end to end") is what decoding, resizing,
encoding and Python leave over; start-up is told apart.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402

from fomm_tf import checkpoint, config, transfer, video  # noqa: E402
from fomm_tf.inference import animate, animator  # noqa: E402

FULL_HD = (1080, 1920)


def write_video(path, frames, size=FULL_HD, grain_seed=0):
    """Smooth noise that drifts, with grain: about as hard to compress as a filmed face."""
    rng = np.random.default_rng(grain_seed)
    coarse = rng.integers(0, 256, [24, 24, 3], np.uint8)
    height, width = size
    picture = video.resize(coarse, (height + frames, width + frames), "stretch")
    with video.write_video(path, 25) as writer:
        for shift in range(frames):
            window = picture[shift : shift + height, shift : shift + width]
            grain = rng.normal(0, 2, window.shape[:2])[..., np.newaxis]
            writer.write(np.clip(window + grain, 0, 255).astype(np.uint8))


def build_parts(folder, model, frames, batch):
    """name -> `Part`, from files to files."""
    settings = model.config
    size = settings.model.frame_size
    driving, picture, result = folder / "driving.mp4", folder / "source.png", folder / "result.mp4"
    write_video(driving, frames)
    first = next(iter(video.open_video(driving)))
    video.write_image(picture, first)
    small = np.random.default_rng(0).integers(0, 256, [batch, *size, 3], np.uint8)
    source = model.encode_source(small[0])
    keypoints = model.detect(small)
    _, dense_motion, generator = model.networks
    motion = dense_motion(source.reduced, source.keypoints, keypoints)
    warped = generator.warp_features(source.features, motion)

    def run_dense_motion():
        return dense_motion(source.reduced, source.keypoints, keypoints)

    def run_warp():
        return generator.warp_features(source.features, motion)

    def run_decode():
        return generator.decode(warped)

    def write_small():
        with video.write_video(folder / "written.mp4", 25) as writer:
            for _ in range(frames // batch):
                for frame in small:
                    writer.write(frame)

    def whole():
        output = animate.Output(str(result))
        opened = video.open_video(driving)
        animate.animate_file(model, str(picture), opened, output, settings.animate, batch_size=batch, progress=False)

    pixels = tf.constant(small, tf.float32) / 255.0
    one = {"encode source": (lambda: generator.encode(pixels[:1]), 1), "detect": (lambda: model.detect(small), batch)}
    one |= {"dense motion": (run_dense_motion, batch), "warp": (run_warp, batch), "generator": (run_decode, batch)}
    one |= {"render": (lambda: model.render(source, keypoints), batch)}
    work = {
        "encode source": lambda: generator.encode(pixels[:1]),
        "detect": lambda: model.networks.detector(pixels),
        "dense motion": run_dense_motion,
        "generator": run_decode,
    }
    gflop = {name: harness.count_gflop(function) for name, function in work.items()}
    gflop["render"] = gflop["dense motion"] + gflop["generator"]
    parts = {"decode 1080p": harness.Part(lambda: sum(1 for _ in video.open_video(driving)), frames)}
    parts["resize"] = harness.Part(lambda: video.resize(first, size))
    for name, (function, count) in one.items():
        compiled = function if name in ("detect", "render") else tf.function(function, autograph=False)
        parts[name] = harness.Part(lambda run=compiled: harness.wait(run()), count, gflop.get(name, 0.0))
    parts["transfer"] = harness.Part(lambda: harness.wait(transfer(source.keypoints, keypoints, keypoints)), batch)
    parts["encode video"] = harness.Part(write_small, frames // batch * batch)
    each = (gflop["detect"] + gflop["render"]) / batch
    parts["end to end"] = harness.Part(whole, frames, each * frames)
    return parts


def start_up(run):
    """Seconds until `fomm` can compute: its imports, in a process of their own, and a model's loading."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import fomm_tf.inference.animate, fomm_tf.inference.animator"], check=True)
    imported = time.perf_counter()
    model = animator.Animator.load(run)
    return model, imported - begin, time.perf_counter() - imported


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=animate.DEFAULT_BATCH, help="driving frames a call")
    parser.add_argument("--frames", type=int, default=64, help="of the driving video (default: %(default)s)")
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint.save(folder / "run", checkpoint.build(settings), "random weights, for a bench")
        model, imports, loading = start_up(folder / "run")
        parts = build_parts(folder, model, arguments.frames, arguments.batch)
        records = harness.measure(parts, arguments.rounds)
    whole = records["end to end"]
    networks = records["detect"]["ms"] + records["render"]["ms"]
    tracing = records["detect"]["first_ms"] + records["render"]["first_ms"] - networks * arguments.batch
    whole["frames_per_second"] = round(1000 / whole["ms"], 3)
    whole["besides_networks"] = round(1 - networks / whole["ms"], 3)
    whole["start_up_seconds"] = {
        "imports": round(imports, 1),
        "loading": round(loading, 1),
        "tracing": round(tracing / 1000, 1),
    }
    print(
        f"end to end: {whole['frames_per_second']:.2f} frames/s; {whole['besides_networks']:.1%} of the time is not the "
        f"networks'; start-up, once: {imports:.1f} s imports, {loading:.1f} s loading, {tracing / 1000:.1f} s tracing"
    )
    harness.write(arguments.out, f"animate {arguments.config}, batch {arguments.batch}", records)


if __name__ == "__main__":
    main()
