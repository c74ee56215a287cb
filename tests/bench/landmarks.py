"""`python tests/bench/landmarks.py RUN... --data DIR`: what detectors see, and what becomes of it.

On the test clips of a set it measures the L1 of frames reconstructed from the first one, and that of the warped source
alone, relative to the source copy's. Of rendered people it measures, for detectors of their landmarks, how far
keypoints are off, and how well the openings of mouth and eyes follow the truth: distances between keypoints, divided by
that of forehead and chin, and correlated with the true values within each clip.
"""

import clips
import harness
import numpy as np
import tqdm

from fomm_tf.data.people import landmarks
from fomm_tf.inference import animator

EYES = (("left_upper_lid", "left_lower_lid"), ("right_upper_lid", "right_lower_lid"))


def reconstruct(model, images):
    """Mean L1 of the result, of the warped source and of the source copy, for the frames of a clip."""
    source = model.encode_source(images[0])
    sums = np.zeros(3)
    for start in range(0, len(images), 8):
        part = images[start : start + 8]
        rendering = model.render(source, model.detect(part), details=True)
        for index, found in enumerate((rendering.prediction, rendering.deformed, images[:1] / np.float32(255))):
            sums[index] += np.abs(found - part / np.float32(255)).mean() * len(part)
    return sums / len(images)


def openings(keypoints):
    """`[T]` each: how far the mouth and the eyes are open, in heights of the face."""

    def distance(first, second):
        places = (landmarks.KEYPOINTS.index(name) for name in (first, second))
        return np.linalg.norm(np.subtract(*(keypoints[:, place] for place in places)), axis=-1)

    height = distance("forehead", "chin")
    return distance("upper_lip", "lower_lip") / height, sum(distance(*eye) for eye in EYES) / height


def correlate(keypoints, records):
    """Mean correlation within a clip of the openings with the truth; clips in which nothing moves are left out."""
    found = {"mouth opening": [], "eye closure": []}
    for clip, record in zip(keypoints, records, strict=True):
        mouth, eyes = openings(clip)
        pairs = (mouth, record["mouth_opening"]), (-eyes, np.mean(record["eye_closure"], axis=1))
        for values, (measured, true) in zip(found.values(), pairs, strict=True):
            if np.std(true) > 1e-3:
                values.append(np.corrcoef(measured, true)[0, 1])
    return {name: float(np.mean(values)) for name, values in found.items()}


def main():
    arguments = harness.parse_models(__doc__)
    summary = {}
    for run in arguments.runs:
        model = animator.Animator.load(run)
        index, images = clips.load(arguments.data, model.config.model.frame_size)
        losses = np.sum([reconstruct(model, clip) for clip in tqdm.tqdm(images, unit="clip", disable=None)], axis=0)
        summary[run] = {"result": losses[0] / losses[2], "warped source": losses[1] / losses[2]}
        records = clips.load_records(arguments.data, index)
        if records and model.config.model.num_keypoints == len(landmarks.KEYPOINTS):
            ends = np.cumsum([len(clip) for clip in images])
            true = np.split(landmarks.load(index, arguments.data).keypoints, ends[:-1])
            found = [model.detect(clip).value.numpy() for clip in images]
            off = np.abs(np.concatenate(found) - np.concatenate(true)).mean() * (index.frame_size[1] - 1) / 2
            summary[run] |= {"pixels off": off} | correlate(found, records)
            summary["true landmarks"] = correlate(true, records)
    for name, values in summary.items():
        print(f"{name}: {', '.join(f'{key} {value:.3f}' for key, value in values.items())}")
    clips.write(arguments.out, summary)


if __name__ == "__main__":
    main()
