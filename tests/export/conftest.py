"""Runs of many models, each exported once, and requests of any batch for them."""

import functools
import pathlib

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, torch_import, weights

_REFERENCE = pathlib.Path(__file__).parents[1] / "parity" / "data"
_SMALLEST = config.parse(
    {
        "model": model_list.TINY
        | {
            "frame_size": [32, 32],
            "num_keypoints": 2,
            "keypoint_detector": {"block_expansion": 8, "max_features": 8, "num_blocks": 1},
            "dense_motion": {"block_expansion": 8, "max_features": 8, "num_blocks": 1},
            "generator": {"block_expansion": 8, "max_features": 8, "num_down_blocks": 1, "num_residual_blocks": 0},
        }
    }
)
_LARGE = config.parse({"model": {**model_list.TINY, "frame_size": [512, 512]}})


def _drawn(settings, stddev=0.05):
    tf.keras.utils.set_random_seed(3)
    run = checkpoint.build(settings)
    model_list.shake([variable for network in run.model.layers for variable in network.weights], stddev)
    return run


def _converted(name, align_corners):
    tree = weights.load(_REFERENCE / f"{name}-checkpoint.pth.tar")
    return torch_import.import_checkpoint(tree, str(_REFERENCE / f"{name}.yaml"), align_corners, name)


RUNS = {name: functools.partial(_drawn, config.Config(model=model)) for name, model in model_list.MODELS.items()}
# The warped source keeps its edges, where the rounding of a wild motion shows.
for _name in ("blend-source", "zeroth-order-no-occlusion-blend-skips"):
    RUNS[_name] = functools.partial(RUNS[_name], stddev=0.02)
# For what does not depend on the model.
RUNS["smallest"] = functools.partial(_drawn, _SMALLEST)
# Of a convolution's 9 x 1024 inputs the noise adds up.
RUNS |= {"512": functools.partial(_drawn, _LARGE), "vox-256": functools.partial(_drawn, config.Config(), 0.02)}
RUNS |= {label: functools.partial(_converted, *which) for label, which in model_list.REFERENCE.items()}

FORMS = {
    "saved_model": ["--to", "saved_model"],
    "tflite": ["--to", "tflite"],
    "tflite-float32": ["--to", "tflite", "--variants", "float32"],
    "onnx": ["--to", "onnx"],
    "onnx-float32": ["--to", "onnx", "--variants", "float32"],
    "onnx-gathers": ["--to", "onnx", "--variants", "float32", "--no-grid-sample"],
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """Writes a run by its name in `RUNS`, once."""

    @functools.cache
    def make(name):
        place = tmp_path_factory.mktemp("model") / "run"
        checkpoint.save(place, RUNS[name](), "for a test")
        return place

    return make


@pytest.fixture(scope="session")
def files_of(run_folder, export_once):
    """A model of `RUNS`, or the bundled one, in one of `FORMS`, and what `fomm export` printed."""

    def make(model, form):
        run = checkpoint.BUNDLED if model == "bundled" else run_folder(model)
        return export_once(f"{model}-{form}", "--run", run, *FORMS[form])

    return make


@pytest.fixture(scope="session")
def saved(files_of):
    """The SavedModel of the tiny run."""
    return files_of("tiny", "saved_model")[0] / "1"


@pytest.fixture(scope="session")
def served(saved):
    return tf.saved_model.load(str(saved))


@pytest.fixture
def random_request():
    rng = np.random.default_rng(0)

    def make(signature, count):
        """Inputs for a signature, `count` examples of three driving frames; Jacobians near the identity."""
        inputs = {}
        for name, spec in signature.structured_input_signature[1].items():
            shape = [count, *(3 if size is None else size for size in spec.shape[1:])]
            if spec.dtype == tf.bool:
                value = rng.random(shape) < 0.5
            elif spec.dtype == tf.uint8:
                value = rng.integers(0, 256, shape)
            elif spec.dtype == tf.string:
                images = rng.integers(0, 256, [int(np.prod(shape)), 70, 90, 3], np.uint8)
                value = np.reshape([tf.io.encode_png(each).numpy() for each in images], shape)
            elif name.endswith("jacobian"):
                value = np.eye(2) + rng.normal(0, 0.1, shape)
            else:
                value = rng.uniform(0, 1, shape)
            inputs[name] = tf.constant(value, spec.dtype)
        return inputs

    return make
