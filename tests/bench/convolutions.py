"""`python tests/bench/convolutions.py`: the convolutions of vox-256's detector and dense motion, one by one.

CPU time of one thread, a batch of 8 frames, without the other operations of the networks and with upsampled inputs at
full size; as they are, and with input and output channels padded to multiples of 16.
"""

import time

import harness
import tensorflow as tf

from fomm_tf import config

BATCH, BLOCK = 8, 16
CEILING = (64, 256, 256, 3, "SAME")


def hourglass(channels, sizes, side):
    """(side, input channels, output channels, kernel, padding) of each convolution."""
    widths = [min(sizes.max_features, sizes.block_expansion * 2**index) for index in range(sizes.num_blocks + 1)]
    inputs = [channels, *widths[1:]]
    for index in range(sizes.num_blocks):
        yield side >> index, inputs[index], widths[index + 1], 3, "SAME"
    for index in range(sizes.num_blocks, 0, -1):
        skips = 1 if index == sizes.num_blocks else 2
        yield side >> (index - 1), widths[index] * skips, widths[index - 1], 3, "SAME"


def networks(model):
    """name -> its convolutions; the heads are one convolution."""
    count = model.num_keypoints
    side, channels = round(model.frame_size[0] * model.motion_scale), 4 * (count + 1)
    detector, motion = model.keypoint_detector, model.dense_motion
    frame = round(model.frame_size[0] * detector.scale)
    return {
        "detector": [
            *hourglass(3, detector, frame),
            (frame, detector.block_expansion + 3, 5 * count, 7, "VALID"),
        ],
        "dense motion": [
            *hourglass(channels, motion, side),
            (side, motion.block_expansion + channels, count + 2, 7, "SAME"),
        ],
    }


def part(side, inputs, outputs, kernel, padding):
    """The convolution as a function, and its 1e9 operations a frame."""
    pixels = tf.random.normal([BATCH, side, side, inputs])
    weights = tf.random.normal([kernel, kernel, inputs, outputs])
    convolve = tf.function(lambda x, w: tf.nn.conv2d(x, w, 1, padding), autograph=False)
    places = (side if padding == "SAME" else side - kernel + 1) ** 2
    return lambda: convolve(pixels, weights).numpy(), 2e-9 * places * inputs * outputs * kernel**2


def padded(side, inputs, outputs, kernel, padding):
    return side, *(-(-count // BLOCK) * BLOCK for count in (inputs, outputs)), kernel, padding


def milliseconds(run, rounds):
    """The fastest of some calls: other processes disturb it least."""
    seconds = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return 1000 * min(seconds[1:]) / BATCH


def main():
    parser = harness.parser(__doc__)
    parser.set_defaults(rounds=5)
    rounds = parser.parse_args().rounds
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    run, work = part(*CEILING)
    top = work / milliseconds(run, rounds)
    print(f"ceiling, 256 channels at 64x64: {1000 * top:.0f} GFLOP/s")
    for name, layers in networks(config.load(config.recipes()["vox-256"]).model).items():
        rows = []
        for layer in layers:
            run, work = part(*layer)
            plain = wide = milliseconds(run, rounds)
            if padded(*layer) != layer:
                wide = milliseconds(part(*padded(*layer))[0], rounds)
            side, inputs, outputs, kernel, _ = layer
            rows.append((f"{inputs} -> {outputs} channels, {kernel}x{kernel}, at {side}x{side}", plain, work, wide))
        rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
        for shape, plain, work, wide in rows:
            print(f"{name:13} {shape:44} {plain:6.2f} ms a frame, {work / plain / top:4.0%}, padded {wide:6.2f} ms")


if __name__ == "__main__":
    main()
