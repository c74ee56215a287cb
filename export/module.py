"""What is exported: the animation as functions of tensors alone, each input with a batch axis first.

Convention:
  * TF-Serving's batching joins requests on axis 0 and splits the answers there, so every input has that axis, of the
    same length B, scalars and switches too, and no example touches another;
  * frames are float32 in [0, 1]; a function whose name ends in `_uint8` takes and gives uint8, one whose name ends in
    `_jpeg` takes JPEG or PNG bytes, of any size, and gives JPEG bytes;
  * T driving frames of one source lie on axis 1, so that a source is encoded once for all of them;
  * a model of zeroth order has no input or output whose name ends in `jacobian`.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable

import tensorflow as tf
import yaml

from export import checks, pictures
from fomm_tf import checkpoint, models
from fomm_tf import config as configs
from fomm_tf.models import fold
from fomm_tf.models.fingerprint import hash_weights
from fomm_tf.models.precision import mixed_precision_scope
from fomm_tf.ops import keypoints as keypoint_ops
from fomm_tf.ops import motion

Tensors = checks.Tensors
# What frames come and go as, by the end of a signature's name.
_FORMS = {"": tf.float32, "_uint8": tf.uint8, "_jpeg": tf.string}


class Module:
    """A run's networks behind named functions, `signatures`.

    Args:
      settings: the run's config.
      networks: built and restored.
      metadata: what the `metadata` signature tells, as JSON.

    Attributes:
      signatures: name -> concrete function of keyword tensors.
      metadata: as JSON.
    """

    def __init__(self, settings: configs.Config, networks: models.Networks, metadata: dict[str, object]) -> None:
        self.config, self.networks, self.metadata = settings, networks, json.dumps(metadata, indent=2)
        model = settings.model
        frame, points = [*model.frame_size, 3], [model.num_keypoints, 2]
        source, initial, driving = (self._keypoint_specs(name) for name in ("source", "initial", "driving"))
        driving = {name: tf.TensorSpec([None, *spec.shape], tf.float32, name) for name, spec in driving.items()}
        switches = {name: tf.TensorSpec([None], tf.bool, name) for name in ("relative", "adapt_scale")}
        self.signatures = {}
        for suffix, dtype in _FORMS.items():
            one = [] if dtype == tf.string else frame
            shapes = {"frames": [None, *one], "source": [None, *one], "driving": [None, None, *one]}
            frames, picture, clip = ({name: tf.TensorSpec(shape, dtype, name)} for name, shape in shapes.items())
            use_initial = {"use_initial": tf.TensorSpec([None], tf.bool, "use_initial")}
            self.signatures |= {
                "detect" + suffix: _checked(self._detect, frames),
                "encode_source" + suffix: _checked(self._encode_source, picture),
                "animate" + suffix: _checked(self._animate, picture | clip | use_initial | initial | switches),
            }
        encoding = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
            for name, tensor in self.signatures["encode_source"].structured_outputs.items()
        }
        posed = {"value": tf.TensorSpec([None, None, *points], tf.float32, "value")}
        if model.jacobian:
            posed["jacobian"] = tf.TensorSpec([None, None, *points, 2], tf.float32, "jacobian")
        self.signatures |= {
            "transfer": _checked(self._transfer, source | driving | initial | switches),
            "render": _checked(self._render, encoding | posed),
            "render_details": _checked(self._render_details, encoding | posed),
            "metadata": _checked(self._tell, {"request": tf.TensorSpec([None], tf.string, "request")}),
        }

    def _keypoint_specs(self, owner: str) -> dict[str, tf.TensorSpec]:
        points = [None, self.config.model.num_keypoints, 2]
        specs = {f"{owner}_value": tf.TensorSpec(points, tf.float32, f"{owner}_value")}
        if self.config.model.jacobian:
            specs[f"{owner}_jacobian"] = tf.TensorSpec([*points, 2], tf.float32, f"{owner}_jacobian")
        return specs

    def _detect(self, inputs: Tensors) -> Tensors:
        return named(self.networks.detector(self._frames(inputs, "frames")))

    def _encode_source(self, inputs: Tensors) -> Tensors:
        return self._encode(self._frames(inputs, "source"))

    def _frames(self, inputs: Tensors, name: str) -> tf.Tensor:
        return pictures.as_float(inputs[name], self.config.model.frame_size, name)

    def _encode(self, source: tf.Tensor) -> Tensors:
        return {
            "image": source,
            "features": tf.cast(self.networks.generator.encode(source), tf.float32),
            "reduced": self.networks.dense_motion.downsample(source),
            **named(self.networks.detector(source), "source_"),
        }

    def _transfer(self, inputs: Tensors) -> Tensors:
        checks.check_finite(inputs)
        given = {name.removeprefix("driving_"): tf.float32 for name in inputs if name.startswith("driving_")}
        return _one_by_one(self._transfer_one, inputs, given)

    def _transfer_one(self, inputs: Tensors) -> Tensors:
        """Of one source, whose keypoints have no batch axis."""
        source, initial = (_alone(keypoints_of(inputs, owner)) for owner in ("source_", "initial_"))
        moved = switched_transfer(
            source,
            keypoints_of(inputs, "driving_"),
            initial,
            inputs["relative"],
            inputs["adapt_scale"],
            self.config.animate.relative_jacobian,
        )
        return named(moved)

    def _render(self, inputs: Tensors) -> Tensors:
        return self._render_outputs(inputs, "prediction")

    def _render_details(self, inputs: Tensors) -> Tensors:
        occlusion = ["occlusion"] if self.config.model.occlusion else []
        return self._render_outputs(inputs, "prediction", "deformed", "deformation", "mask", *occlusion)

    def _render_outputs(self, inputs: Tensors, *names: str) -> Tensors:
        """Those alone, so that the loop over the examples computes nothing else."""
        checks.check_finite(inputs)

        def render(each: Tensors) -> Tensors:
            found = self._render_one(each)
            return {name: found[name] for name in names}

        return _one_by_one(render, inputs, dict.fromkeys(names, tf.float32))

    def _render_one(self, inputs: Tensors) -> Tensors:
        _, dense_motion, generator = self.networks
        source = {name: tensor[tf.newaxis] for name, tensor in inputs.items() if name not in ("value", "jacobian")}
        moving = dense_motion(source["reduced"], keypoints_of(source, "source_"), keypoints_of(inputs))
        features = tf.cast(source["features"], generator.compute_dtype)
        found = {
            "prediction": generator.render(source["image"], features, moving),
            "deformed": generator.warp_image(source["image"], moving.deformation),
            "deformation": moving.deformation,
            "mask": moving.mask,
        }
        return found if moving.occlusion is None else found | {"occlusion": moving.occlusion}

    def _animate(self, inputs: Tensors) -> Tensors:
        dtype = inputs["driving"].dtype
        inputs = inputs | {name: self._frames(inputs, name) for name in ("source", "driving")}
        initial = {name: tensor for name, tensor in inputs.items() if name.startswith("initial_")}
        checks.check_finite(initial)
        given = {_frames_name(dtype): dtype} | dict.fromkeys(initial, tf.float32)
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
        return {_frames_name(dtype): pictures.from_float(frames, dtype)} | initial

    def _tell(self, inputs: Tensors) -> Tensors:
        return {"metadata": tf.fill(tf.shape(inputs["request"]), self.metadata)}


def load(folder: str | pathlib.Path, precision: str = "float32") -> Module:
    """A run folder's model, its normalisations folded.

    Args:
      folder: the run folder.
      precision: what the networks compute in, one of `config.PRECISIONS`; what goes in and out stays float32.

    Raises:
      errors.UserError: if it is no run folder or its checkpoint does not fit its config.
    """
    with mixed_precision_scope(precision):
        run = checkpoint.load(folder)
        weights = hash_weights(run.networks)
        fold.fold(*run.networks)
        model = run.config.model
        metadata = {
            "name": pathlib.Path(folder).resolve().name,
            "step": run.step,
            "weights_sha256": weights,
            "commit": _commit(),
            "frame_size": list(model.frame_size),
            "num_keypoints": model.num_keypoints,
            "precision": precision,
            "config": {name: yaml.safe_load(configs.dump(run.config))[name] for name in ("model", "animate")},
        }
        return Module(run.config, run.networks, metadata)


def switched_transfer(
    source: keypoint_ops.Keypoints,
    driving: keypoint_ops.Keypoints,
    initial: keypoint_ops.Keypoints,
    relative: tf.Tensor,
    adapt_scale: tf.Tensor,
    relative_jacobian: bool,
) -> keypoint_ops.Keypoints:
    """`fomm_tf.ops.motion.transfer` whose ways two bool tensors, `[]` or `[1]`, choose among when it runs."""
    plain, scaled = (
        motion.transfer(source, driving, initial, "relative", relative_jacobian, adapt_scale=adapt)
        for adapt in (False, True)
    )
    moved = keypoint_ops.Keypoints(tf.where(adapt_scale, scaled.value, plain.value), plain.jacobian)
    chosen = {name: tf.where(relative, tensor, named(driving)[name]) for name, tensor in named(moved).items()}
    return keypoints_of(chosen)


def save(
    networks: models.Networks, functions: dict[str, tf.types.experimental.ConcreteFunction], folder: pathlib.Path
) -> None:
    """Writes functions of the networks as the signatures of a SavedModel."""
    # The variables alone: Keras would write each layer's own call functions too.
    holder = tf.Module()
    holder.held = [variable for network in networks for variable in network.variables]
    tf.saved_model.save(holder, str(folder), signatures=functions)


def _frames_name(dtype: tf.DType) -> str:
    """Of an output: REST gives a string in base64 only where its name ends so."""
    return "frames_bytes" if dtype == tf.string else "frames"


def _commit() -> str | None:
    """The checkout's commit, `-dirty` where files differ from it; None where there is no git."""
    line = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(line, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def concrete(
    function: Callable[[Tensors], Tensors], specs: dict[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """A function of keyword tensors, as signatures are."""
    return tf.function(lambda **inputs: function(inputs), autograph=False).get_concrete_function(**specs)


def _checked(
    function: Callable[[Tensors], Tensors], specs: dict[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """The same with its inputs checked."""
    return concrete(lambda inputs: function(checks.check_batch(inputs, specs)), specs)


def _one_by_one(function: Callable[[Tensors], Tensors], inputs: Tensors, given: dict[str, tf.DType]) -> Tensors:
    """Each example by itself: with a batch of 1, one source serves all its driving frames without a copy."""
    return tf.map_fn(function, inputs, fn_output_signature=given, parallel_iterations=1)


def named(keypoints: keypoint_ops.Keypoints, prefix: str = "") -> Tensors:
    """Keypoints as a signature names them: without Jacobians where there are none."""
    return {prefix + name: part for name, part in keypoints._asdict().items() if part is not None}


def keypoints_of(inputs: Tensors, prefix: str = "") -> keypoint_ops.Keypoints:
    """The way back from `named`."""
    return keypoint_ops.Keypoints(inputs[f"{prefix}value"], inputs.get(f"{prefix}jacobian"))


def _alone(keypoints: keypoint_ops.Keypoints) -> keypoint_ops.Keypoints:
    """Keypoints of one frame with a batch axis of 1."""
    return keypoint_ops.Keypoints(*(None if part is None else part[tf.newaxis] for part in keypoints))
