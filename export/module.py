"""What is exported: the animation as functions of tensors alone, each input with a batch axis first.

Convention:
  * TF-Serving's batching joins requests on axis 0 and splits the answers there, so every input has that axis, of the
    same length B, scalars and switches too, and no example touches another;
  * frames are float32 in [0, 1]; a function whose name ends in `_uint8` takes and gives uint8;
  * T driving frames of one source lie on axis 1, so that a source is encoded once for all of them;
  * a model of zeroth order has no input or output whose name ends in `jacobian`.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import tensorflow as tf

from fomm_tf import checkpoint, models
from fomm_tf import config as configs
from fomm_tf.models import fold
from fomm_tf.models.precision import computing_in
from fomm_tf.ops import keypoints as keypoint_ops
from fomm_tf.ops import motion

Tensors = dict[str, tf.Tensor]


class Module:
    """A run's networks behind named functions, `signatures`.

    Args:
      settings: the run's config.
      networks: built and restored.
      metadata: what the `metadata` signature tells, as JSON.
    """

    def __init__(self, settings: configs.Config, networks: models.Networks, metadata: dict[str, object]) -> None:
        self.config, self.networks, self._metadata = settings, networks, json.dumps(metadata)
        model = settings.model
        frame, points = [*model.frame_size, 3], [model.num_keypoints, 2]
        source, initial, driving = (self._keypoint_specs(name) for name in ("source", "initial", "driving"))
        driving = {name: tf.TensorSpec([None, *spec.shape], tf.float32, name) for name, spec in driving.items()}
        switches = {name: tf.TensorSpec([None], tf.bool, name) for name in ("relative", "adapt_scale")}
        encoded = _concrete(self._encode_source, {"source": tf.TensorSpec([None, *frame], tf.float32, "source")})
        encoding = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in encoded.structured_outputs.items()
        }
        posed = {"value": tf.TensorSpec([None, None, *points], tf.float32, "value")}
        if model.jacobian:
            posed["jacobian"] = tf.TensorSpec([None, None, *points, 2], tf.float32, "jacobian")
        self.signatures = {
            "encode_source": encoded,
            "transfer": _concrete(self._transfer, source | driving | initial | switches),
            "render": _concrete(self._render, encoding | posed),
            "render_details": _concrete(self._render_details, encoding | posed),
            "metadata": tf.function(self._tell, autograph=False).get_concrete_function(),
        }
        for suffix, dtype in (("", tf.float32), ("_uint8", tf.uint8)):
            frames = {"frames": tf.TensorSpec([None, *frame], dtype, "frames")}
            clips = {
                "source": tf.TensorSpec([None, *frame], dtype, "source"),
                "driving": tf.TensorSpec([None, None, *frame], dtype, "driving"),
                "use_initial": tf.TensorSpec([None], tf.bool, "use_initial"),
            }
            self.signatures["detect" + suffix] = _concrete(self._detect, frames)
            self.signatures["animate" + suffix] = _concrete(self._animate, clips | initial | switches)

    def _keypoint_specs(self, owner: str) -> dict[str, tf.TensorSpec]:
        points = [None, self.config.model.num_keypoints, 2]
        specs = {f"{owner}_value": tf.TensorSpec(points, tf.float32, f"{owner}_value")}
        if self.config.model.jacobian:
            specs[f"{owner}_jacobian"] = tf.TensorSpec([*points, 2], tf.float32, f"{owner}_jacobian")
        return specs

    def _detect(self, inputs: Tensors) -> Tensors:
        return named(self.networks.detector(_as_float(inputs, "frames")))

    def _encode_source(self, inputs: Tensors) -> Tensors:
        return self._encode(_as_float(inputs, "source"))

    def _encode(self, source: tf.Tensor) -> Tensors:
        return {
            "image": source,
            "features": tf.cast(self.networks.generator.encode(source), tf.float32),
            "reduced": self.networks.dense_motion.reduce(source),
            **named(self.networks.detector(source), "source_"),
        }

    def _transfer(self, inputs: Tensors) -> Tensors:
        _check_finite(inputs)
        given = {name.removeprefix("driving_"): tf.float32 for name in inputs if name.startswith("driving_")}
        return _one_by_one(self._transfer_one, inputs, given)

    def _transfer_one(self, inputs: Tensors) -> Tensors:
        """The driving motion carried over to one source (Eq. 14-15); its switches choose among all three ways."""
        source, initial = (_alone(_keypoints(inputs, owner)) for owner in ("source_", "initial_"))
        driving = _keypoints(inputs, "driving_")
        plain, scaled = (
            motion.transfer(
                source, driving, initial, "relative", self.config.animate.relative_jacobian, adapt_scale=adapt
            )
            for adapt in (False, True)
        )
        value = tf.where(inputs["adapt_scale"], scaled.value, plain.value)
        moved = keypoint_ops.Keypoints(value, plain.jacobian)
        return {
            name: tf.where(inputs["relative"], tensor, named(driving)[name]) for name, tensor in named(moved).items()
        }

    def _render(self, inputs: Tensors) -> Tensors:
        return self._render_outputs(inputs, "prediction")

    def _render_details(self, inputs: Tensors) -> Tensors:
        occlusion = ["occlusion"] if self.config.model.occlusion else []
        return self._render_outputs(inputs, "prediction", "deformed", "deformation", "mask", *occlusion)

    def _render_outputs(self, inputs: Tensors, *names: str) -> Tensors:
        """Those alone, so that the loop over the examples computes nothing else."""
        _check_finite(inputs)

        def render(each: Tensors) -> Tensors:
            found = self._render_one(each)
            return {name: found[name] for name in names}

        return _one_by_one(render, inputs, dict.fromkeys(names, tf.float32))

    def _render_one(self, inputs: Tensors) -> Tensors:
        _, dense_motion, generator = self.networks
        source = {name: tensor[tf.newaxis] for name, tensor in inputs.items() if name not in ("value", "jacobian")}
        moving = dense_motion(source["reduced"], _keypoints(source, "source_"), _keypoints(inputs))
        features = tf.cast(source["features"], generator.compute_dtype)
        found = {
            "prediction": generator.decode(generator.warp_features(features, moving)),
            "deformed": generator.warp_image(source["image"], moving.deformation),
            "deformation": moving.deformation,
            "mask": moving.mask,
        }
        return found if moving.occlusion is None else found | {"occlusion": moving.occlusion}

    def _animate(self, inputs: Tensors) -> Tensors:
        dtype = inputs["driving"].dtype
        inputs = inputs | {"source": _as_float(inputs, "source"), "driving": _as_float(inputs, "driving")}
        initial = {name: tensor for name, tensor in inputs.items() if name.startswith("initial_")}
        _check_finite(initial)
        given = {"frames": dtype} | dict.fromkeys(initial, tf.float32)
        return _one_by_one(lambda each: self._animate_one(each, dtype), inputs, given)

    def _animate_one(self, inputs: Tensors, dtype: tf.DType) -> Tensors:
        """One source under T driving frames; gives the initial keypoints back, for the clip's next part."""
        encoded = {name: tensor[0] for name, tensor in self._encode(inputs["source"][tf.newaxis]).items()}
        found = self.networks.detector(inputs["driving"])
        initial = {
            name: tf.where(inputs["use_initial"], inputs[name], first[0])
            for name, first in named(found, "initial_").items()
        }
        moved = self._transfer_one(inputs | encoded | named(found, "driving_") | initial)
        frames = self._render_one(encoded | moved)["prediction"]
        if dtype == tf.uint8:
            frames = tf.cast(tf.round(frames * 255.0), tf.uint8)
        return {"frames": frames} | initial

    def _tell(self) -> Tensors:
        return {"metadata": tf.constant([self._metadata])}


def load(folder: str | pathlib.Path, precision: str = "float32") -> Module:
    """A run folder's model, its normalisations folded.

    Args:
      folder: the run folder.
      precision: what the networks compute in, one of `config.PRECISIONS`; what goes in and out stays float32.

    Raises:
      errors.UserError: if it is no run folder or its checkpoint does not fit its config.
    """
    with computing_in(precision):
        run = checkpoint.load(folder)
        fold.fold(*run.networks)
        model = run.config.model
        metadata = {
            "name": pathlib.Path(folder).resolve().name,
            "step": run.step,
            "frame_size": list(model.frame_size),
            "num_keypoints": model.num_keypoints,
            "precision": precision,
            "config": configs.dump(run.config),
        }
        return Module(run.config, run.networks, metadata)


def _concrete(
    function: Callable[[Tensors], Tensors], specs: dict[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """A function of keyword tensors, as signatures are."""

    def call(**inputs: tf.Tensor) -> Tensors:
        return function(_check_batch(inputs))

    return tf.function(call, autograph=False).get_concrete_function(**specs)


def _check_batch(inputs: Tensors) -> Tensors:
    """Refuses an empty batch, naming the input, and inputs of different batches."""
    first = next(iter(inputs))
    size = tf.shape(inputs[first])[0]
    for name, tensor in inputs.items():
        _require(tf.size(tensor) > 0, f"{name} is empty; give at least one.")
        _require(tf.shape(tensor)[0] == size, f"{name} and {first} must have the same batch (axis 0).")
    return inputs


def _check_finite(inputs: Tensors) -> None:
    for name, tensor in inputs.items():
        if tensor.dtype.is_floating:
            _require(tf.reduce_all(tf.math.is_finite(tensor)), f"{name} holds NaN or infinity.")


def _as_float(inputs: Tensors, name: str) -> tf.Tensor:
    """Frames as float32; refuses what does not lie in [0, 1]."""
    frames = inputs[name]
    if frames.dtype == tf.uint8:
        return tf.cast(frames, tf.float32) / 255.0
    inside = tf.logical_and(frames >= 0.0, frames <= 1.0)  # NaN is not
    _require(tf.reduce_all(inside), f"{name} must lie in [0, 1] without NaN.")
    return frames


def _require(condition: tf.Tensor, message: str) -> None:
    tf.debugging.Assert(condition, [message])


def _one_by_one(function: Callable[[Tensors], Tensors], inputs: Tensors, given: dict[str, tf.DType]) -> Tensors:
    """Each example by itself: with a batch of 1, one source serves all its driving frames without a copy."""
    return tf.map_fn(function, inputs, fn_output_signature=given, parallel_iterations=1)


def named(keypoints: keypoint_ops.Keypoints, prefix: str = "") -> Tensors:
    """Keypoints as a signature names them: without Jacobians where there are none."""
    return {prefix + name: part for name, part in keypoints._asdict().items() if part is not None}


def _keypoints(inputs: Tensors, prefix: str = "") -> keypoint_ops.Keypoints:
    return keypoint_ops.Keypoints(inputs[f"{prefix}value"], inputs.get(f"{prefix}jacobian"))


def _alone(keypoints: keypoint_ops.Keypoints) -> keypoint_ops.Keypoints:
    """Keypoints of one frame with a batch axis of 1."""
    return keypoint_ops.Keypoints(*(None if part is None else part[tf.newaxis] for part in keypoints))
