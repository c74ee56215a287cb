"""Run in an environment with today's TensorFlow and nothing of ours: a SavedModel answers as it did where it was made.

    python saved_model_answers.py VERSION_FOLDER ANSWERS.npz

ANSWERS.npz holds `signature|in|name` and `signature|out|name`; strings are JPEG bytes or text.
"""

import collections
import importlib.util
import sys

import numpy as np
import tensorflow as tf

# Shares of max(1, the output's largest value), as `fomm export` allows them; gray levels for images in bytes.
FLOAT, UINT8, JPEG = 2e-4, 1, 8


def worst(mine, other):
    """How far apart two answers are, and how far they may be."""
    if mine.dtype.kind == "f":
        return np.abs(mine - other).max() / max(1.0, np.abs(other).max()), FLOAT
    if mine.dtype == np.uint8:
        return np.abs(np.int16(mine) - other).max(), UINT8
    if other.flat[0].startswith(b"{"):
        return float((mine != other).any()), 0
    pairs = [[np.int16(tf.io.decode_jpeg(each)) for each in pair] for pair in zip(mine.flat, other.flat, strict=True)]
    return max(np.abs(one - two).max() for one, two in pairs), JPEG


def main():
    for package in ("fomm_tf", "tensorflow_addons"):
        assert importlib.util.find_spec(package) is None, f"{package} is here; this must do without"
    folder, answers = sys.argv[1:]
    signatures = tf.saved_model.load(folder).signatures
    stored = collections.defaultdict(lambda: {"in": {}, "out": {}})
    with np.load(answers) as data:
        for key in data.files:
            signature, side, name = key.split("|")
            stored[signature][side][name] = data[key]
    assert set(stored) == set(signatures), f"{sorted(signatures)} are there, {sorted(stored)} wanted"
    for signature, sides in stored.items():
        made = signatures[signature](**{name: tf.constant(value) for name, value in sides["in"].items()})
        assert set(made) == set(sides["out"]), signature
        for name, expected in sides["out"].items():
            found, allowed = worst(made[name].numpy(), expected)
            assert found <= allowed, f"{signature}.{name} differs by {found}, over {allowed}"
    try:
        signatures["detect"](frames=tf.fill(stored["detect"]["in"]["frames"].shape, float("nan")))
    except tf.errors.InvalidArgumentError as error:
        assert "frames must lie in [0, 1]" in str(error)
    else:
        raise AssertionError("NaN was answered")
    print(f"TensorFlow {tf.__version__}: {len(stored)} signatures answer as they did")


main()
