"""The animation in five stages, as phones run it: the convolutions apart from the gathers, that GPU delegates refuse.

    once a source:       source_encoder(source) -> features, reduced;  detector(source) -> source_*
    once a clip:         detector(first driving frame) -> initial_*
    each driving frame:  detector(frame) -> driving_*
                         motion(reduced, source_*, driving_*, initial_*, switches) -> deformation, occlusion
                         warp(features, deformation, occlusion[, source]) -> warped[, warped_source]
                         renderer(warped[, warped_source]) -> prediction

or in one call, which encodes the source anew:

    animate(source, initial, driving, switches) -> prediction

Convention: every tensor is float32, whatever the networks compute in, but the two switches, relative and adapt_scale,
with a batch axis of 1, or of any number of driving frames to one source. A model of zeroth order has no Jacobians, one
without occlusion map no `occlusion`; the tensors in brackets exist only with `generator.blend_source`.
"""

from __future__ import annotations

import tensorflow as tf

from export.module import Tensors, concrete, keypoints_of, switched_transfer
from fomm_tf import config, models
from fomm_tf.models import blocks
from fomm_tf.models.dense_motion import DenseMotion
from fomm_tf.ops import grid, shapes

NAMES = ("source_encoder", "detector", "motion", "warp", "renderer")
CONVOLUTIONS = ("source_encoder", "detector", "renderer")


class Stages:
    """A run's networks as five functions.

    Args:
      settings: the run's config.
      networks: built and restored, normalisations folded.
      batch: driving frames a call; None leaves it open.
      use_subpixel_conv: how the up blocks compute from then on, see `fomm_tf.models.blocks.UpConvolution`.
      whole: make `animate` too.

    Attributes:
      functions: stage -> concrete function of keyword tensors, in the order of `NAMES`; and `animate`, if `whole`.
    """

    def __init__(
        self,
        settings: config.Config,
        networks: models.Networks,
        batch: int | None = 1,
        use_subpixel_conv: bool = True,
        whole: bool = False,
    ) -> None:
        self.config, self.networks = settings, networks
        for network in networks:
            for layer in network.submodules:
                if isinstance(layer, blocks.UpConvolution):
                    layer.use_subpixel_conv = use_subpixel_conv
        model = settings.model
        frame, points = [*model.frame_size, 3], [model.num_keypoints, 2]
        parts = {"value": points} | ({"jacobian": [*points, 2]} if model.jacobian else {})
        owners = {"source": 1, "driving": batch, "initial": 1}
        keypoints = {f"{owner}_{part}": [size, *parts[part]] for owner, size in owners.items() for part in parts}
        switches = {name: tf.TensorSpec([1], tf.bool, name) for name in ("relative", "adapt_scale")}
        encoder = concrete(self._encode, _specs({"source": [1, *frame]}))
        features, reduced = (encoder.structured_outputs[name].shape for name in ("features", "reduced"))
        motion = concrete(self._motion, _specs({"reduced": reduced} | keypoints) | switches)
        moving = {name: tensor.shape for name, tensor in motion.structured_outputs.items()}
        source_image = {"source": [1, *frame]} if model.generator.blend_source else {}
        warp = concrete(self._warp, _specs({"features": features} | moving | source_image))
        warped = {name: [batch, *tensor.shape[1:]] for name, tensor in warp.structured_outputs.items()}
        self.functions = {
            "source_encoder": encoder,
            "detector": concrete(self._detect, _specs({"frame": [batch, *frame]})),
            "motion": motion,
            "warp": warp,
            "renderer": concrete(self._render, _specs(warped)),
        }
        if whole:
            pictures = {"source": [1, *frame], "initial": [1, *frame], "driving": [batch, *frame]}
            self.functions["animate"] = concrete(self._animate, _specs(pictures) | switches)

    def _encode(self, inputs: Tensors) -> Tensors:
        source = inputs["source"]
        return {
            "features": tf.cast(self.networks.generator.encode(source), tf.float32),
            "reduced": tf.cast(self.networks.dense_motion.downsample(source), tf.float32),
        }

    def _detect(self, inputs: Tensors) -> Tensors:
        """The detector, its means taken in four axes: a phone's GPU takes no fifth."""
        heatmap, jacobian_maps = self.networks.detector.maps(inputs["frame"])
        _, height, width, count = shapes.sizes(heatmap)
        places = grid.identity_grid(height, width)
        found = {"value": _means(heatmap, [places[tf.newaxis, :, :, axis, tf.newaxis] for axis in (0, 1)])}
        if jacobian_maps is None:
            return found
        jacobian = _means(heatmap, [tf.cast(jacobian_maps[..., entry::4], tf.float32) for entry in range(4)])
        return found | {"jacobian": tf.reshape(jacobian, [-1, count, 2, 2])}

    def _motion(self, inputs: Tensors) -> Tensors:
        source, driving, initial = (keypoints_of(inputs, f"{owner}_") for owner in ("source", "driving", "initial"))
        moved = switched_transfer(
            source, driving, initial, inputs["relative"], inputs["adapt_scale"], self.config.animate.relative_jacobian
        )
        moving = self.networks.dense_motion(inputs["reduced"], source, moved)
        found = {"deformation": moving.deformation}
        return found if moving.occlusion is None else found | {"occlusion": moving.occlusion}

    def _warp(self, inputs: Tensors) -> Tensors:
        moving = DenseMotion(inputs["deformation"], inputs.get("occlusion"), None, None)
        generator = self.networks.generator
        outputs = {"warped": generator.warp_features(inputs["features"], moving)}
        if generator.blend_source:
            outputs["warped_source"] = generator.warp_image(inputs["source"], moving.deformation)
        return outputs

    def _render(self, inputs: Tensors) -> Tensors:
        generator = self.networks.generator
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
    """What each heatmap `[B, h, w, K]` weights of each of E values `[B or 1, h, w, K or 1]`: `[B, K, E]`."""
    return tf.stack([tf.reduce_sum(heatmap * value, axis=[1, 2]) for value in values], axis=-1)


def _specs(sizes: dict[str, list[int | None] | tf.TensorShape]) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec(shape, tf.float32, name) for name, shape in sizes.items()}
