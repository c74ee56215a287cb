"""The animation in five stages: convolutions are separated from gathers, which GPU delegates refuse.

    once per source:     source_encoder(source) -> features, source_lowres;  detector(source) -> source_*
    once per clip:       detector(first driving frame) -> initial_*
    each driving frame:  detector(frame) -> driving_*
                         motion(source_lowres, source_*, driving_*, initial_*, switches) -> deformation, occlusion
                         warp(features, deformation, occlusion[, source]) -> warped[, warped_source]
                         renderer(warped[, warped_source]) -> prediction

or in one call, which encodes the source every time:

    animate(source, initial, driving, switches) -> prediction

Convention: every tensor is float32, whatever the networks compute in, except the two switches, relative and
adapt_scale: bool, or 0 and 1 of another dtype for runtimes without bool tensors. The batch axis is 1, or the number of
driving frames of one source. A zeroth-order model has no Jacobians, a model without occlusion map has no `occlusion`;
the tensors in brackets exist only with `generator.blend_source`.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import config, errors, models, ops
from fomm_tf.export.module import Tensors, concrete, specs, switched_transfer
from fomm_tf.models import blocks
from fomm_tf.models.motion_estimation import DenseMotion
from fomm_tf.structures import Keypoints

NAMES = ("source_encoder", "detector", "motion", "warp", "renderer")
CONVOLUTIONS = ("source_encoder", "detector", "renderer")


class Stages:
    """A run's networks as five functions.

    Args:
      settings: the run's config.
      model: built and restored, normalizations folded.
      batch: driving frames per call; None leaves it open.
      use_subpixel_conv: how the up blocks compute from now on, see `fomm_tf.models.blocks.UpConvolution`.
      whole: build `animate` too.
      switch_dtype: of the inputs `relative` and `adapt_scale`.

    Raises:
      errors.UserError: if the model is of a kind without these stages.

    Attributes:
      functions: stage -> concrete function of keyword tensors, in the order of `NAMES`; and `animate`, if `whole`.
    """

    def __init__(
        self,
        settings: config.Config,
        model: models.FirstOrderMotionModel,
        batch: int | None = 1,
        use_subpixel_conv: bool = True,
        whole: bool = False,
        switch_dtype: tf.DType = tf.bool,
    ) -> None:
        if not settings.model.traits.has_stages:
            raise errors.UserError(
                f"A model of kind {settings.model.kind} cannot be exported in stages; use the format saved_model."
            )
        self.config, self.model = settings, model
        for layer in model.submodules:
            if isinstance(layer, blocks.UpConvolution):
                layer.use_subpixel_conv = use_subpixel_conv
        sizes = settings.model
        frame, points = [*sizes.frame_size, 3], [sizes.num_keypoints, 2]
        parts = {"value": points} | ({"jacobian": [*points, 2]} if sizes.jacobian else {})
        owners = {"source": 1, "driving": batch, "initial": 1}
        keypoints = {f"{owner}_{part}": [size, *parts[part]] for owner, size in owners.items() for part in parts}
        switches = specs({"relative": [1], "adapt_scale": [1]}, switch_dtype)
        encoder = concrete(self._encode, specs({"source": [1, *frame]}))
        features, source_lowres = (encoder.structured_outputs[name].shape for name in ("features", "source_lowres"))
        motion = concrete(self._motion, specs({"source_lowres": source_lowres} | keypoints) | switches)
        moving = {name: tensor.shape for name, tensor in motion.structured_outputs.items()}
        source_image = {"source": [1, *frame]} if sizes.generator.blend_source else {}
        warp = concrete(self._warp, specs({"features": features} | moving | source_image))
        warped = {name: [batch, *tensor.shape[1:]] for name, tensor in warp.structured_outputs.items()}
        self.functions = {
            "source_encoder": encoder,
            "detector": concrete(self._detect, specs({"frame": [batch, *frame]})),
            "motion": motion,
            "warp": warp,
            "renderer": concrete(self._render, specs(warped)),
        }
        if whole:
            frames = {"source": [1, *frame], "initial": [1, *frame], "driving": [batch, *frame]}
            self.functions["animate"] = concrete(self._animate, specs(frames) | switches)

    def _encode(self, inputs: Tensors) -> Tensors:
        source = inputs["source"]
        return {
            "features": tf.cast(self.model.generator.encode(source), tf.float32),
            "source_lowres": tf.cast(self.model.dense_motion.downsample(source), tf.float32),
        }

    def _detect(self, inputs: Tensors) -> Tensors:
        """The detector, its means computed with at most four axes: GPU delegates support no more."""
        heatmap, jacobian_maps = self.model.detector.maps(inputs["frame"])
        _, height, width, count = ops.sizes(heatmap)
        places = ops.identity_grid(height, width)
        keypoints = {"value": _means(heatmap, [places[tf.newaxis, :, :, axis, tf.newaxis] for axis in (0, 1)])}
        if jacobian_maps is None:
            return keypoints
        jacobian = _means(heatmap, [tf.cast(jacobian_maps[..., entry::4], tf.float32) for entry in range(4)])
        return keypoints | {"jacobian": tf.reshape(jacobian, [-1, count, 2, 2])}

    def _motion(self, inputs: Tensors) -> Tensors:
        source, driving, initial = (
            Keypoints.from_named(inputs, f"{owner}_") for owner in ("source", "driving", "initial")
        )
        switches = (tf.cast(inputs[name], tf.bool) for name in ("relative", "adapt_scale"))
        moved = switched_transfer(source, driving, initial, *switches, self.config.animate.relative_jacobian)
        moving = self.model.dense_motion(inputs["source_lowres"], source, moved)
        outputs = {"deformation": moving.deformation}
        return outputs if moving.occlusion is None else outputs | {"occlusion": moving.occlusion}

    def _warp(self, inputs: Tensors) -> Tensors:
        moving = DenseMotion(inputs["deformation"], inputs.get("occlusion"), None, None)
        generator = self.model.generator
        outputs = {"warped": generator.warp_features(inputs["features"], moving)}
        if generator.blend_source:
            outputs["warped_source"] = generator.warp_image(inputs["source"], moving.deformation)
        return outputs

    def _render(self, inputs: Tensors) -> Tensors:
        generator = self.model.generator
        warped = tf.cast(inputs["warped"], generator.compute_dtype)
        return {"prediction": generator.decode(warped, inputs.get("warped_source"))}

    def _animate(self, inputs: Tensors) -> Tensors:
        state = inputs | self._encode(inputs)
        for owner in ("source", "initial", "driving"):
            state |= {f"{owner}_{name}": value for name, value in self._detect({"frame": inputs[owner]}).items()}
        for stage in (self._motion, self._warp, self._render):
            state |= stage(state)
        return {"prediction": state["prediction"]}


def _means(heatmap: tf.Tensor, values: list[tf.Tensor]) -> tf.Tensor:
    """Means of E values `[B or 1, h, w, K or 1]`, each weighted by the heatmap `[B, h, w, K]`: `[B, K, E]`."""
    return tf.stack([tf.reduce_sum(heatmap * value, axis=[1, 2]) for value in values], axis=-1)
