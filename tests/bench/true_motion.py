"""`python tests/bench/true_motion.py RUN... --data DIR`: what the true motion gives, and how near a model's motion is.

The test clips of a set of rendered people are reconstructed from their first frames. L1 is relative to the source
copy's, in all pixels, and in those that the source shows: what is hidden there no motion can bring. The best of the
local motions is, in each pixel, that of the keypoint (or the background) that is nearest to the true one.
"""

import clips
import harness
import numpy as np
import tqdm

from fomm_tf import ops
from fomm_tf.data import people
from fomm_tf.inference import animator
from fomm_tf.ops import warp


def load_clips(data, frame_size):
    """The frames and the true motion of each test clip."""
    index, images = clips.load(data, frame_size)
    for clip, record in zip(images, clips.load_records(data, index), strict=True):
        parameters = {name: record[name] for name in people.Clip._fields} | {"size": frame_size[0]}
        yield clip, people.TrueMotion(people.Clip(**parameters))


def measure(model, images, motion):
    """Sums over a clip: errors of images (in all and in visible pixels), distances of motions; the visible pixels."""
    size = images.shape[1]
    truth = [motion.between(0, driving) for driving in range(1, len(images))]
    true, visible = (np.stack(part) for part in zip(*truth, strict=True))
    source, keypoints = model.encode_source(images[0]), model.detect(images[1:])
    rendering = model.render(source, keypoints, details=True)
    estimated = model.model.generator.resize_deformation(rendering.deformation, size, size).numpy()
    local = model.model.dense_motion.local_motions(source.keypoints, keypoints, size, size).numpy()
    distances = np.linalg.norm(local - true[:, np.newaxis], axis=-1)
    nearest = distances.argmin(axis=1)[:, np.newaxis, ..., np.newaxis]
    best = np.take_along_axis(local, nearest, axis=1)[:, 0]

    first, others = np.float32(images[:1]) / 255, np.float32(images[1:]) / 255
    still = np.broadcast_to(ops.identity_grid(size, size).numpy(), true.shape)
    motions = {"true motion": true, "best local motion": best, "estimated motion": estimated, "source copy": still}
    pictures = {name: warp.backward_warp(first, positions).numpy() for name, positions in motions.items()}
    pictures["result"] = rendering.prediction
    errors = {name: np.abs(picture - others).mean(axis=-1) for name, picture in pictures.items()}
    sums = {name: np.array([error.sum(), error[visible].sum()]) for name, error in errors.items()}
    moved = {
        name: np.linalg.norm(positions - true, axis=-1)[visible].sum() * (size - 1) / 2
        for name, positions in motions.items()
    }
    return sums, moved, visible


def main():
    arguments = harness.parse_models(__doc__)
    summary = {}
    for run in arguments.runs:
        model = animator.Animator.load(run)
        pairs = load_clips(arguments.data, model.config.model.frame_size)
        measured = [measure(model, *pair) for pair in tqdm.tqdm(pairs, unit="clip", disable=None)]
        sums, moved = ({name: sum(part[i][name] for part in measured) for name in measured[0][i]} for i in (0, 1))
        count = sum(visible.sum() for *_, visible in measured)
        total = sums["source copy"][0]
        summary[run] = {
            "visible": count / sum(visible.size for *_, visible in measured),
            "L1": {name: parts[0] / total for name, parts in sums.items()},
            "L1, visible pixels": {name: parts[1] / total for name, parts in sums.items()},
            "pixels from the true motion": {name: distance / count for name, distance in moved.items()},
        }
        print(f"{run}: {summary[run]['visible']:.0%} of the pixels are visible in the source")
        for kind, values in list(summary[run].items())[1:]:
            print(f"  {kind}: {', '.join(f'{name} {value:.3f}' for name, value in values.items())}")
    clips.write(arguments.out, summary)


if __name__ == "__main__":
    main()
