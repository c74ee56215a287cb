"""Training of the keypoint detector alone, on known landmarks, before the model trains on pairs of frames.

The paper finds keypoints without supervision. Rendered people know more: where each lid and lip is, and how the face
around it is turned. A detector that starts from these makes motion that follows speech and blinks, and the dense motion
network and the generator learn from it at once.

Convention: the loss is the mean absolute error of the keypoints, plus `JACOBIAN_WEIGHT` times that of the Jacobians,
plus `OPENING_WEIGHT` times that of the offsets between the keypoints of `PAIRS`: a lid moves less than the position of
a face is off by, and without this term a detector follows heads and not blinks.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fomm_tf import errors, models, ops
from fomm_tf.data import frames
from fomm_tf.data.people import landmarks
from fomm_tf.ops import warp
from fomm_tf.structures import Keypoints

BATCH_SIZE = 32
JACOBIAN_WEIGHT = 0.1
# Keypoints whose offset from each other is speech, a smile, a blink or a raised brow.
PAIRS = (
    ("upper_lip", "lower_lip"), ("left_mouth", "right_mouth"),
    ("left_upper_lid", "left_lower_lid"), ("right_upper_lid", "right_lower_lid"),
    ("left_mid_brow", "left_upper_lid"), ("right_mid_brow", "right_upper_lid"),
)  # fmt: skip
OPENING_WEIGHT = 2.0
_FIRST, _SECOND = ([landmarks.KEYPOINTS.index(pair[side]) for pair in PAIRS] for side in (0, 1))
_LEARNING_RATE, _DECAY = 1e-3, {0.5: 0.3, 0.8: 0.1}
# Ranges of the augmentation: rotation (radians), logarithm of the scale, shift; gamma's logarithm, white balance,
# contrast, brightness, saturation, noise, and from sharper (below 0) to blurred (1).
_ROTATION, _LOG_SCALE, _SHIFT = 0.35, (-0.35, 0.3), 0.2
_COLOR = {
    "gamma": (-0.4, 0.4), "red": (0.7, 1.3), "green": (0.7, 1.3), "blue": (0.7, 1.3), "contrast": (0.6, 1.4),
    "brightness": (-0.15, 0.15), "saturation": (0.0, 1.6), "noise": (0.0, 0.05), "blur": (-0.3, 1.0),
}  # fmt: skip


def train(
    detector: models.KeypointDetector,
    index: frames.Index,
    test: frames.Index | None,
    root: str | pathlib.Path,
    steps: int,
    seed: int,
    report: Callable[[str], object],
) -> None:
    """Trains a detector on the landmarks of rendered people.

    Args:
      detector: of as many keypoints as `landmarks.KEYPOINTS`, with Jacobians; changed in place.
      index: the clips to train on.
      test: clips to report the error on, or None.
      root: the data set that they are of.
      steps: number of batches of `BATCH_SIZE` frames.
      seed: of frames and augmentation.
      report: receives lines for the user.

    Raises:
      errors.UserError: if the set has no landmarks, or the detector has other keypoints.
    """
    expected, actual = len(landmarks.KEYPOINTS), detector.keypoint_head.filters
    if actual != expected or detector.jacobian_head is None:
        raise errors.UserError(
            f"train.landmark_steps needs model.num_keypoints {expected} and model.jacobian true; got {actual} and "
            f"{str(detector.jacobian_head is not None).lower()}."
        )
    data = landmarks.load(index, root)
    report(f"training the keypoint detector on the landmarks of {len(data.images)} frames, {steps} steps")
    regression = _Regression(detector)
    boundaries = [int(share * steps) for share in _DECAY]
    rates = [_LEARNING_RATE, *(_LEARNING_RATE * factor for factor in _DECAY.values())]
    regression.compile(
        tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates), global_clipnorm=5.0
        )
    )
    every = max(1, steps // 10)
    regression.fit(
        make_dataset(data, steps, seed),
        epochs=-(-steps // every),
        steps_per_epoch=every,
        verbose=0,
        callbacks=[_Progress(report, every, steps)],
    )
    if test is not None:
        unseen = landmarks.load(test, root)
        found = regression.predict(tf.data.Dataset.from_tensor_slices(unseen.images).batch(BATCH_SIZE), verbose=0)
        error = np.abs(found.value - unseen.keypoints).mean() * (index.frame_size[1] - 1) / 2
        report(f"keypoint detector: mean error on unseen people {error:.2f} pixels in each direction")


def make_dataset(data: landmarks.LandmarkFrames, steps: int, seed: int) -> tf.data.Dataset:
    """Augmented batches: (images float32 in [0, 1], `Keypoints`); the same for the same seed.

    Args:
      data: frames with keypoints.
      steps: number of batches.
      seed: of frames and augmentation.
    """
    random = np.random.default_rng(seed)
    count = steps * BATCH_SIZE
    numbers = random.integers(0, len(data.images), count)
    mirrored = random.random(count) < 0.5
    linear, shift = _sample_affine(random, mirrored)
    color = {name: random.uniform(low, high, count).astype(np.float32) for name, (low, high) in _COLOR.items()}
    images, keypoints, jacobians = (tf.constant(part) for part in data[:3])
    # Keypoints of the mirrored image are those of the other side, before the sign of x changes with `linear`.
    order = np.where(mirrored[:, None], data.swap, np.arange(len(data.swap))).astype(np.int32)
    flip = np.where(mirrored[:, None, None], np.diag([-1.0, 1.0]), np.eye(2)).astype(np.float32)

    def prepare(row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Keypoints]:
        image = _warp(tf.image.convert_image_dtype(tf.gather(images, row["number"]), tf.float32), row)
        points = tf.gather(tf.gather(keypoints, row["number"]), row["order"], batch_dims=1)
        local = tf.gather(tf.gather(jacobians, row["number"]), row["order"], batch_dims=1)
        points = tf.einsum("nab,nkb->nka", row["linear"], points) + row["shift"][:, tf.newaxis]
        local = tf.einsum("nab,nkbc,ncd->nkad", row["linear"], local, row["flip"])
        return _jitter(image, row), Keypoints(tf.clip_by_value(points, -1.0, 1.0), local)

    rows = {"number": numbers, "order": order, "flip": flip, "linear": linear, "shift": shift, **color}
    rows["seed"] = np.stack([np.full(count, seed), np.arange(count)], axis=-1)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(BATCH_SIZE, drop_remainder=True)
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _sample_affine(random: np.random.Generator, mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[N, 2, 2]` and `[N, 2]`: the position in the augmented image of a position in the frame."""
    angle = random.uniform(-_ROTATION, _ROTATION, len(mirrored))
    scale = np.exp(random.uniform(*_LOG_SCALE, len(mirrored)))
    cosine, sine, sign = scale * np.cos(angle), scale * np.sin(angle), np.where(mirrored, -1, 1)
    linear = np.stack([np.stack([sign * cosine, -sine], -1), np.stack([sign * sine, cosine], -1)], -2)
    shift = random.uniform(-_SHIFT, _SHIFT, (len(mirrored), 2))
    return linear.astype(np.float32), shift.astype(np.float32)


def _warp(images: tf.Tensor, row: dict[str, tf.Tensor]) -> tf.Tensor:
    """Moves the images by the affine maps; pixels from outside repeat the edge."""
    offsets = ops.identity_grid(*images.shape[1:3]) - row["shift"][:, tf.newaxis, tf.newaxis]
    positions = tf.einsum("nab,nhwb->nhwa", tf.linalg.inv(row["linear"]), offsets)
    return warp.backward_warp(images, positions, padding="border")


def _jitter(images: tf.Tensor, row: dict[str, tf.Tensor]) -> tf.Tensor:
    """What cameras differ in: exposure, white balance, color, noise, sharpness."""
    values = {name: row[name][:, tf.newaxis, tf.newaxis, tf.newaxis] for name in _COLOR}
    images = images ** tf.exp(values["gamma"]) * tf.concat([values[name] for name in ("red", "green", "blue")], -1)
    images = (images - 0.5) * values["contrast"] + 0.5 + values["brightness"]
    gray = tf.reduce_mean(images, axis=-1, keepdims=True)
    images = gray + (images - gray) * values["saturation"]
    noise = tf.random.stateless_normal(tf.shape(images), row["seed"][0])
    images += noise * values["noise"]
    images += (tf.nn.avg_pool2d(images, 3, 1, "SAME") - images) * values["blur"]
    return tf.clip_by_value(images, 0.0, 1.0)


def mean_errors(found: Keypoints, truth: Keypoints) -> dict[str, tf.Tensor]:
    """Mean absolute errors of keypoints with Jacobians, of N frames.

    Args:
      found: what the detector finds.
      truth: where the landmarks are, and how the face around them is turned.

    Returns:
      Scalars: `keypoints`, `jacobians`, and `openings`, the offsets between the keypoints of `PAIRS`.
    """
    error = found.value - truth.value
    openings = tf.gather(error, _FIRST, axis=1) - tf.gather(error, _SECOND, axis=1)
    parts = {"keypoints": error, "jacobians": found.jacobian - truth.jacobian, "openings": openings}
    return {name: tf.reduce_mean(tf.abs(part)) for name, part in parts.items()}


class _Regression(tf.keras.Model):
    """A detector as a Keras model that `fit` trains on `make_dataset`."""

    def __init__(self, detector: models.KeypointDetector) -> None:
        super().__init__(autocast=False)
        self.detector = detector
        self._means = [tf.keras.metrics.Mean(name) for name in ("keypoints", "jacobians", "openings")]

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The mean absolute errors of an epoch."""
        return self._means

    def call(self, images: tf.Tensor, training: bool = False) -> Keypoints:
        """Finds the keypoints of `[N, H, W, 3]` images, uint8 or float32 in [0, 1]."""
        return self.detector(tf.image.convert_image_dtype(images, tf.float32), training=training)

    def train_step(self, data: tuple[tf.Tensor, Keypoints]) -> dict[str, tf.Tensor]:
        """Makes one step on images and their keypoints."""
        images, truth = data
        with tf.GradientTape() as tape:
            found = self(images, training=True)
            parts = mean_errors(found, truth)
            loss = parts["keypoints"] + JACOBIAN_WEIGHT * parts["jacobians"] + OPENING_WEIGHT * parts["openings"]
            loss /= tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)
        variables = self.detector.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        for mean in self._means:
            mean.update_state(parts[mean.name])
        return {mean.name: mean.result() for mean in self._means}


class _Progress(tf.keras.callbacks.Callback):
    """Reports the errors of each epoch of `fit` in a line."""

    def __init__(self, report: Callable[[str], object], every: int, steps: int) -> None:
        super().__init__()
        self._report, self._every, self._steps = report, every, steps

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the errors of an epoch."""
        done = min((epoch + 1) * self._every, self._steps)
        values = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        self._report(f"keypoint detector: step {done} of {self._steps}: {values}")
