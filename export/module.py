"""What is exported: the animation as functions of tensors alone, each input with a batch axis first.

Convention:
  * TF-Serving batches requests on axis 0 and splits the responses there, so every input has that axis with the same
    length B, scalars and switches too, and examples do not affect each other;
  * frames are float32 in [0, 1]; a function whose name ends in `_uint8` takes and returns uint8, one whose name ends in
    `_jpeg` takes JPEG or PNG bytes of any size and returns JPEG bytes;
  * T driving frames of one source are on axis 1, so that a source is encoded once for all of them;
  * the networks compute a few frames at a time, in loops, so that memory hardly grows with B and T and a server can end
    a run between two iterations;
  * a zeroth-order model has no input or output whose name ends in `jacobian`;
  * `serving_default`, which TF-Serving takes for a request that names no signature, is `animate_jpeg` with the run's
    options, and without the inputs that TF-Serving cannot fill in.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping

import tensorflow as tf

from fomm_tf import checkpoint, models
from fomm_tf.export import checks, images
from fomm_tf.ops import motion
from fomm_tf.structures import EncodedSource, Keypoints

Tensors = checks.Tensors
Specs = dict[str, tf.TensorSpec]
# Dtype of input and output frames by suffix of the signature.
_FORMS = {"": tf.float32, "_uint8": tf.uint8, "_jpeg": tf.string}
# Frames that a network computes at once.
_PART_FRAMES = 8


class Module:
    """A run's networks behind named functions, `signatures`.

    Args:
      run: restored, its normalizations folded.
      metadata: what the `metadata` signature returns as JSON.

    Attributes:
      signatures: name -> concrete function of keyword tensors.
      metadata: as JSON.
    """

    def __init__(self, run: checkpoint.Run, metadata: dict[str, object]) -> None:
        self.config, self.model, self.metadata = run.config, run.model, json.dumps(metadata, indent=2)
        sizes = run.config.model
        frame, points = [*sizes.frame_size, 3], [sizes.num_keypoints, 2]
        parts = {"value": points} | ({"jacobian": [*points, 2]} if sizes.jacobian else {})

        def keypoints(prefix: str, *batch: None) -> Specs:
            return specs({prefix + part: [*batch, *shape] for part, shape in parts.items()})

        source, initial = keypoints("source_", None), keypoints("initial_", None)
        driving, posed = keypoints("driving_", None, None), keypoints("", None, None)
        switches = specs({"relative": [None], "adapt_scale": [None]}, tf.bool)
        # Functions of their own, so that a network is traced and stored once for all signatures.
        images_spec = [tf.TensorSpec([None, *frame], tf.float32)]
        self._detect_frames = tf.function(
            lambda frames: self.model.detect(frames).named(), images_spec, autograph=False
        )
        self._encode = tf.function(self._encode_images, images_spec, autograph=False)
        self._render_one = tf.function(self._render_example, autograph=False)
        self.signatures = {}
        for suffix, dtype in _FORMS.items():
            one = [] if dtype == tf.string else frame
            shapes = {"frames": [None, *one], "source": [None, *one], "driving": [None, None, *one]}
            frames, source_image, clip = (specs({name: shape}, dtype) for name, shape in shapes.items())
            use_initial = specs({"use_initial": [None]}, tf.bool)
            self.signatures |= {
                "detect" + suffix: _checked(self._detect, frames),
                "encode_source" + suffix: _checked(self._encode_source, source_image),
                "animate" + suffix: _checked(self._animate, source_image | clip | use_initial | initial | switches),
            }
        encoded = self.signatures["encode_source"].structured_outputs
        encoding = specs({name: tensor.shape for name, tensor in encoded.items()})
        self.signatures |= {
            "transfer": _checked(self._transfer, source | driving | initial | switches),
            "render": _checked(self._render, encoding | posed),
            "render_details": _checked(self._render_details, encoding | posed),
            "metadata": _checked(self._metadata, specs({"request": [None]}, tf.string)),
            "serving_default": _checked(
                self._animate_default, specs({"source": [None], "driving": [None, None]}, tf.string)
            ),
        }

    def _detect(self, inputs: Tensors) -> Tensors:
        return _map_parts(self._detect_frames, self._frames(inputs, "frames"))

    def _encode_source(self, inputs: Tensors) -> Tensors:
        return _map_parts(self._encode, self._frames(inputs, "source"))

    def _frames(self, inputs: Tensors, name: str) -> tf.Tensor:
        return images.as_float(inputs[name], self.config.model.frame_size, name)

    def _encode_images(self, source: tf.Tensor) -> Tensors:
        encoded = self.model.encode_source(source)
        return {
            "image": encoded.image,
            "features": tf.cast(encoded.features, tf.float32),
            "source_lowres": tf.cast(encoded.lowres, tf.float32),
            **encoded.keypoints.named("source_"),
        }

    def _transfer(self, inputs: Tensors) -> Tensors:
        checks.check_finite(inputs)
        dtypes = {name.removeprefix("driving_"): tf.float32 for name in inputs if name.startswith("driving_")}
        return _map_examples(self._transfer_one, inputs, dtypes)

    def _transfer_one(self, inputs: Tensors) -> Tensors:
        """One example: the source keypoints have no batch axis."""
        source, initial = (_with_batch_axis(Keypoints.from_named(inputs, owner)) for owner in ("source_", "initial_"))
        driving, switches = (
            Keypoints.from_named(inputs, "driving_"),
            (inputs["relative"], inputs["adapt_scale"]),
        )
        return switched_transfer(source, driving, initial, *switches, self.config.animate.relative_jacobian).named()

    def _render(self, inputs: Tensors) -> Tensors:
        return self._render_outputs(inputs, "prediction")

    def _render_details(self, inputs: Tensors) -> Tensors:
        sizes = self.config.model
        masks = ["mask"] * sizes.traits.has_keypoints + ["occlusion"] * sizes.occlusion
        return self._render_outputs(inputs, "prediction", "deformed", "deformation", *masks)

    def _render_outputs(self, inputs: Tensors, *names: str) -> Tensors:
        """Only these outputs, so that the loop over the examples computes nothing else."""
        checks.check_finite(inputs)

        return _map_examples(lambda each: self._render_one(each, names), inputs, dict.fromkeys(names, tf.float32))

    def _render_example(self, inputs: Tensors, names: tuple[str, ...]) -> Tensors:
        """One example: the source has no batch axis, the keypoints have T frames."""
        each = {name: tensor[tf.newaxis] for name, tensor in inputs.items() if name not in ("value", "jacobian")}
        source = EncodedSource(
            each["image"], each["features"], Keypoints.from_named(each, "source_"), each["source_lowres"]
        )
        keypoints = Keypoints.from_named(inputs)

        def render(frames: slice) -> Tensors:
            rendering = self.model.render(source, keypoints.map(lambda part: part[frames]), details=True)
            return {name: getattr(rendering, name) for name in names}

        return _concat_parts(render, tf.shape(keypoints.value)[0], names)

    def _animate(self, inputs: Tensors) -> Tensors:
        dtype = inputs["driving"].dtype
        inputs = inputs | {name: self._frames(inputs, name) for name in ("source", "driving")}
        initial = {name: tensor for name, tensor in inputs.items() if name.startswith("initial_")}
        checks.check_finite(initial)
        dtypes = {_frames_name(dtype): dtype} | dict.fromkeys(initial, tf.float32)
        return _map_examples(lambda each: self._animate_one(each, dtype), inputs, dtypes)

    def _animate_default(self, inputs: Tensors) -> Tensors:
        count, sizes, options = tf.shape(inputs["source"])[0], self.config.model, self.config.animate
        unused = {"initial_value": tf.zeros([count, sizes.num_keypoints, 2])}
        if sizes.jacobian:
            unused["initial_jacobian"] = tf.zeros([count, sizes.num_keypoints, 2, 2])
        switches = {"relative": options.mode == "relative", "adapt_scale": options.adapt_scale, "use_initial": False}
        chosen = {name: tf.fill([count], value) for name, value in switches.items()}
        outputs = self._animate(inputs | unused | chosen)
        return {name: outputs[name] for name in outputs if not name.startswith("initial_")}

    def _animate_one(self, inputs: Tensors, dtype: tf.DType) -> Tensors:
        """One source with T driving frames; returns the initial keypoints too, for the next part of the clip."""
        encoded = {name: tensor[0] for name, tensor in self._encode(inputs["source"][tf.newaxis]).items()}
        driving = _map_parts(self._detect_frames, inputs["driving"])
        initial = {
            f"initial_{name}": tf.where(inputs["use_initial"], inputs[f"initial_{name}"], value[0])
            for name, value in driving.items()
        }
        driving = {f"driving_{name}": value for name, value in driving.items()}
        moved = self._transfer_one(inputs | encoded | driving | initial)
        frames = self._render_one(encoded | moved, ("prediction",))["prediction"]
        return {_frames_name(dtype): images.from_float(frames, dtype)} | initial

    def _metadata(self, inputs: Tensors) -> Tensors:
        return {"metadata": tf.fill(tf.shape(inputs["request"]), self.metadata)}


def switched_transfer(
    source: Keypoints,
    driving: Keypoints,
    initial: Keypoints,
    relative: tf.Tensor,
    adapt_scale: tf.Tensor,
    relative_jacobian: bool,
) -> Keypoints:
    """`fomm_tf.ops.motion.transfer` with `relative` and `adapt_scale` as bool tensors, `[]` or `[1]`."""
    plain, scaled = (
        motion.transfer(source, driving, initial, "relative", relative_jacobian, adapt_scale=adapt)
        for adapt in (False, True)
    )
    moved = Keypoints(tf.where(adapt_scale, scaled.value, plain.value), plain.jacobian)
    chosen = {name: tf.where(relative, tensor, driving.named()[name]) for name, tensor in moved.named().items()}
    return Keypoints.from_named(chosen)


def save(
    model: models.AnimationModel,
    functions: dict[str, tf.types.experimental.ConcreteFunction],
    folder: pathlib.Path,
) -> None:
    """Writes functions of the model as the signatures of a SavedModel."""
    # Only the variables: Keras would write the call functions of each layer too.
    holder = tf.Module()
    holder.held = list(model.variables)
    tf.saved_model.save(holder, str(folder), signatures=functions)


def _frames_name(dtype: tf.DType) -> str:
    """Name of the output: TF-Serving's REST API encodes strings in base64 only if the name ends in `_bytes`."""
    return "frames_bytes" if dtype == tf.string else "frames"


def specs(shapes: Mapping[str, tf.TensorShape | list[int | None]], dtype: tf.DType = tf.float32) -> Specs:
    """Named tensors of one dtype."""
    return {name: tf.TensorSpec(shape, dtype, name) for name, shape in shapes.items()}


def concrete(function: Callable[[Tensors], Tensors], inputs: Specs) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of keyword tensors, as signatures are."""
    return tf.function(lambda **tensors: function(tensors), autograph=False).get_concrete_function(**inputs)


def _checked(function: Callable[[Tensors], Tensors], inputs: Specs) -> tf.types.experimental.ConcreteFunction:
    """Traces the function with checks of its inputs."""
    return concrete(lambda tensors: function(checks.check_batch(tensors, inputs)), inputs)


def _map_examples(function: Callable[[Tensors], Tensors], inputs: Tensors, dtypes: dict[str, tf.DType]) -> Tensors:
    """Maps over examples: with a batch of 1, one source is broadcast to all its driving frames without a copy."""
    return tf.map_fn(function, inputs, fn_output_signature=dtypes, parallel_iterations=1)


def _map_parts(function: tf.types.experimental.PolymorphicFunction, frames: tf.Tensor) -> Tensors:
    """Applies a function of frames, whose outputs are float32 with a batch axis, to the next few of them at a time."""
    names = tuple(function.get_concrete_function().structured_outputs)
    return _concat_parts(lambda part: function(frames[part]), tf.shape(frames)[0], names)


def _concat_parts(function: Callable[[slice], Tensors], count: tf.Tensor, names: tuple[str, ...]) -> Tensors:
    """Concatenates float32 outputs of a function of the next few of `count` frames."""
    shapes = {}

    def step(start: tf.Tensor, arrays: tuple[tf.TensorArray, ...]) -> tuple[tf.Tensor, tuple[tf.TensorArray, ...]]:
        outputs = function(slice(start, start + _PART_FRAMES))
        shapes.update({name: [None, *outputs[name].shape[1:]] for name in names})
        index = start // _PART_FRAMES
        written = (array.write(index, outputs[name]) for name, array in zip(names, arrays, strict=True))
        return start + _PART_FRAMES, tuple(written)

    length = -(-count // _PART_FRAMES)
    arrays = tuple(tf.TensorArray(tf.float32, length, infer_shape=False) for _ in names)
    _, arrays = tf.while_loop(lambda start, _: start < count, step, (0, arrays), parallel_iterations=1)
    return {name: tf.ensure_shape(array.concat(), shapes[name]) for name, array in zip(names, arrays, strict=True)}


def _with_batch_axis(keypoints: Keypoints) -> Keypoints:
    """Keypoints of one frame with a batch axis of 1."""
    return keypoints.map(lambda part: part[tf.newaxis])
