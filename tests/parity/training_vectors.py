"""The reference's training vectors (`training.npz`, `resume.npz`) and the same model here, in float32 or float64."""

import contextlib
import functools
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, structures, torch_import, weights
from fomm_tf.losses import backbones
from fomm_tf.ops import tps
from fomm_tf.torch_import import tensor_names
from fomm_tf.training import step
from fomm_tf.training.objective import Forward, Objective

DATA = pathlib.Path(__file__).parent / "data"
VECTORS = np.load(DATA / "training.npz")
RESUME = np.load(DATA / "resume.npz")
GENERATOR_TERMS = ("perceptual", "gen_gan", "feature_matching", "equivariance_value", "equivariance_jacobian")
TERMS = (*GENERATOR_TERMS, "disc_gan")


@functools.cache
def random_vgg() -> backbones.Vgg19:
    """Creates the VGG-19 of the vectors as their README specifies."""
    random, state, position, channels = np.random.RandomState(1234), {}, 0, 3
    for width in (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4):
        if width == "M":
            position += 1
            continue
        kernel = random.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (channels * 9))
        state[f"features.{position}.weight"] = kernel.astype(np.float32)
        state[f"features.{position}.bias"] = (random.standard_normal(width) * 0.1).astype(np.float32)
        position, channels = position + 2, width
    return backbones.Vgg19(state, "random")


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def suffix(align_corners: bool) -> str:
    """The suffix of the vectors' names."""
    return f"ac_{str(align_corners).lower()}"


@contextlib.contextmanager
def _layers_in(dtype: tf.DType):
    tf.keras.mixed_precision.set_global_policy(dtype.name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def load(align_corners: bool, dtype: tf.DType = tf.float32, file: str = "tiny") -> tuple[checkpoint.Run, Objective]:
    """Builds the model of a reference checkpoint, with variables of `dtype`, and its losses."""
    tree = weights.load(DATA / f"{file}-checkpoint.pth.tar")
    with _layers_in(dtype):
        run = torch_import.import_checkpoint(tree, str(DATA / "tiny.yaml"), align_corners, file)
    return run, Objective(run.config, run.model, run.discriminator, random_vgg())


def batch(dtype: tf.DType = tf.float32) -> tuple[tf.Tensor, tf.Tensor]:
    """The source and driving frames of every step."""
    return tf.constant(VECTORS["train_source"], dtype), tf.constant(VECTORS["train_driving"], dtype)


def transform_of(data: np.lib.npyio.NpzFile, index: int, dtype: tf.DType = tf.float32) -> tps.Transform:
    """The equivariance transform of step `index`."""
    theta, control = data["transform_theta"][index], data["transform_control_params"][index, :, 0]
    return tps.Transform(tf.constant(theta, dtype), tf.constant(control, dtype))


def entries_of(run: checkpoint.Run) -> dict[str, list[tensor_names.Entry]]:
    """The variables by the reference's tensor_names."""
    detector, dense_motion, generator = run.model.layers
    return {
        "kp_detector": tensor_names.detector_entries(detector),
        "generator": tensor_names.generator_entries(dense_motion, generator),
        "discriminator": tensor_names.discriminator_entries(run.discriminator),
    }


def parameters_of(run: checkpoint.Run) -> dict[str, tensor_names.Entry]:
    """The trainable variables by the reference's names, as `kp_detector/kp.weight`."""
    return {
        f"{network}/{entry.name}": entry
        for network, table in entries_of(run).items()
        for entry in tensor_names.parameters(table)
    }


def train(
    run: checkpoint.Run, losses: Objective, data: np.lib.npyio.NpzFile, count: int, graph: bool = False
) -> list[dict]:
    """Does `count` training steps, from the first transform of `data` on; returns the losses of each.

    To trace a step, as training does, takes longer than a few steps without a graph.
    """
    dtype = run.model.generator.final.kernel.dtype
    train_step = step.TrainStep(run, losses, global_batch=2)
    if graph:
        train_step = tf.function(train_step, autograph=False)
    return [train_step(*batch(dtype), transform_of(data, index, dtype)) for index in range(count)]


class FirstStep(NamedTuple):
    """The first batch, forward and backward, without a step of the optimizers.

    Attributes:
      forward: what the networks give.
      terms: name -> each weighted loss, averaged over the batch.
      gradients: `grad_TERM_wrt_PLACE` and `pgrad_PARAMETER` -> array, axes in the reference's order.
      state: the reference's name of each variable -> its value afterwards.
    """

    forward: Forward
    terms: dict[str, tf.Tensor]
    gradients: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


@functools.cache
def first_step(align_corners: bool, dtype: tf.DType) -> FirstStep:
    """`take_first_step` without noise, once."""
    return take_first_step(align_corners, dtype)


def take_first_step(align_corners: bool, dtype: tf.DType, relative_noise: float = 0.0, seed: int = 0) -> FirstStep:
    """Computes the losses of the first batch and their gradients.

    Args:
      align_corners: which of the two models.
      dtype: float32 or float64.
      relative_noise: each pixel of the frames and each weight is multiplied by 1 + a uniform number up to this, of
        either sign.
      seed: of that noise.
    """
    run, losses = load(align_corners, dtype)
    random = np.random.default_rng(seed)

    def perturbed(array: np.ndarray) -> np.ndarray:
        return array * (1 + relative_noise * random.uniform(-1, 1, array.shape))

    source, driving = (tf.constant(perturbed(frames.numpy()), dtype) for frames in batch(dtype))
    transform = transform_of(VECTORS, 0, dtype)
    for entry in parameters_of(run).values():
        entry.variable.assign(perturbed(entry.variable.numpy()))
    with tf.GradientTape(persistent=True) as tape:
        forward = losses.forward(source, driving, transform)
        terms = {
            name: tf.reduce_mean(term) for name, term in losses.generator_losses(driving, forward, transform).items()
        }
        total = tf.add_n(list(terms.values()))
        terms["disc_gan"] = tf.reduce_mean(losses.discriminator_losses(driving, forward)["disc_gan"])
    gradients = {}
    for loss, judging in ((total, False), (terms["disc_gan"], True)):
        entries = {name: entry for name, entry in parameters_of(run).items() if name.startswith("disc") == judging}
        found = tape.gradient(loss, [entry.variable for entry in entries.values()])
        for (name, entry), gradient in zip(entries.items(), found, strict=True):
            gradients[f"pgrad_{name}"] = entry.to_torch(tf.convert_to_tensor(gradient).numpy())
    places = _places(forward)
    for name in GENERATOR_TERMS:
        for place, gradient in zip(places, tape.gradient(terms[name], list(places.values())), strict=True):
            if gradient is not None:
                array = gradient.numpy()
                gradients[f"grad_{name}_wrt_{place}"] = np.moveaxis(array, -1, 1) if place == "prediction" else array
    state = {
        f"{network}/{entry.name}": entry.variable.numpy()
        for network, table in entries_of(run).items()
        for entry in table
    }
    return FirstStep(forward, terms, gradients, state)


def _places(forward: Forward) -> dict[str, tf.Tensor]:
    """The tensors at which the reference's gradients were taken."""
    points = {
        "kp_source": forward.reconstruction.source_keypoints,
        "kp_driving": forward.reconstruction.driving_keypoints,
        "transformed_kp": forward.transformed_keypoints,
    }
    parts = {f"{name}_{part}": getattr(points[name], part) for name in points for part in structures.Keypoints._fields}
    return {"prediction": forward.reconstruction.prediction, **parts}
