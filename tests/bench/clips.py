"""What benchmarks of models on the test clips of a set share: the clips, and what is known of rendered people."""

import json

import numpy as np

from fomm_tf.data import frames
from fomm_tf.data.people import dataset


def load(data, frame_size):
    """The index of the test clips, and the frames of each."""
    index = frames.load(data, "test", frame_size)
    return index, [np.stack([clip.frame(number) for number in range(len(clip))]) for clip in index.clips]


def load_records(data, index):
    """What is known of each clip of rendered people; None of other sets."""
    path = data / dataset.TRUTH
    if not path.is_file():
        return None
    records = json.loads(path.read_text(encoding="utf-8"))["clips"]
    return [records[clip.path.relative_to(data).as_posix()] for clip in index.clips]


def write(path, summary):
    """Writes the figures, if there is a path."""
    if path:
        path.write_text(json.dumps(summary, indent=1, default=float) + "\n", encoding="utf-8")
