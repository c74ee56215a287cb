"""The reference's configuration, from its YAML files or from the tensors of a checkpoint, as ours."""

from __future__ import annotations

from collections.abc import Mapping

from fomm_tf import config, errors

Shapes = Mapping[str, tuple[int, ...]]

# Where each of the reference's keys goes here. Outside of model_params, what is not named changes nothing here.
_KEYS = {
    "dataset_params.root_dir": "data.root",
    "dataset_params.frame_shape": "model.frame_size",
    "dataset_params.id_sampling": "data.sample_by_identity",
    "dataset_params.augmentation_params.flip_param.horizontal_flip": "data.augment.horizontal_flip",
    "dataset_params.augmentation_params.flip_param.time_flip": "data.augment.time_flip",
    "dataset_params.augmentation_params.jitter_param.brightness": "data.augment.brightness",
    "dataset_params.augmentation_params.jitter_param.contrast": "data.augment.contrast",
    "dataset_params.augmentation_params.jitter_param.saturation": "data.augment.saturation",
    "dataset_params.augmentation_params.jitter_param.hue": "data.augment.hue",
    "dataset_params.augmentation_params.resize_param.ratio": "data.augment.resize",
    "dataset_params.augmentation_params.crop_param.size": "data.augment.crop",
    "model_params.common_params.num_kp": "model.num_keypoints",
    "model_params.common_params.num_channels": None,
    "model_params.common_params.estimate_jacobian": "model.jacobian",
    "model_params.kp_detector_params.temperature": "model.keypoint_detector.temperature",
    "model_params.kp_detector_params.block_expansion": "model.keypoint_detector.block_expansion",
    "model_params.kp_detector_params.max_features": "model.keypoint_detector.max_features",
    "model_params.kp_detector_params.scale_factor": "model.keypoint_detector.scale",
    "model_params.kp_detector_params.num_blocks": "model.keypoint_detector.num_blocks",
    "model_params.kp_detector_params.single_jacobian_map": "model.keypoint_detector.single_jacobian_map",
    "model_params.kp_detector_params.pad": "model.keypoint_detector.pad",
    "model_params.generator_params.block_expansion": "model.generator.block_expansion",
    "model_params.generator_params.max_features": "model.generator.max_features",
    "model_params.generator_params.num_down_blocks": "model.generator.num_down_blocks",
    "model_params.generator_params.num_bottleneck_blocks": "model.generator.num_residual_blocks",
    "model_params.generator_params.estimate_occlusion_map": "model.occlusion",
    "model_params.generator_params.dense_motion_params.block_expansion": "model.dense_motion.block_expansion",
    "model_params.generator_params.dense_motion_params.max_features": "model.dense_motion.max_features",
    "model_params.generator_params.dense_motion_params.num_blocks": "model.dense_motion.num_blocks",
    "model_params.generator_params.dense_motion_params.scale_factor": "model.motion_scale",
    "model_params.generator_params.dense_motion_params.kp_variance": "model.dense_motion.heatmap_variance",
    "model_params.discriminator_params.scales": "model.discriminator.scales",
    "model_params.discriminator_params.block_expansion": "model.discriminator.block_expansion",
    "model_params.discriminator_params.max_features": "model.discriminator.max_features",
    "model_params.discriminator_params.num_blocks": "model.discriminator.num_blocks",
    "model_params.discriminator_params.use_kp": "model.discriminator.use_keypoints",
    "model_params.discriminator_params.sn": "model.discriminator.spectral_norm",
    "model_params.discriminator_params.kp_variance": "model.discriminator.heatmap_variance",
    "train_params.num_epochs": "train.epochs",
    "train_params.num_repeats": "data.repeats",
    "train_params.epoch_milestones": "train.milestones",
    "train_params.lr_generator": "train.learning_rate_generator",
    "train_params.lr_discriminator": "train.learning_rate_discriminator",
    "train_params.lr_kp_detector": "train.learning_rate_detector",
    "train_params.batch_size": "train.batch_size",
    "train_params.scales": "train.pyramid_scales",
    "train_params.transform_params.sigma_affine": "train.transform.sigma_affine",
    "train_params.transform_params.sigma_tps": "train.transform.sigma_tps",
    "train_params.transform_params.points_tps": "train.transform.points",
    "train_params.loss_weights.generator_gan": "train.loss_weights.generator_gan",
    "train_params.loss_weights.discriminator_gan": "train.loss_weights.discriminator_gan",
    "train_params.loss_weights.feature_matching": "train.loss_weights.feature_matching",
    "train_params.loss_weights.perceptual": "train.loss_weights.perceptual",
    "train_params.loss_weights.equivariance_value": "train.loss_weights.equivariance_value",
    "train_params.loss_weights.equivariance_jacobian": "train.loss_weights.equivariance_jacobian",
    "animate_params.normalization_params.use_relative_movement": "animate.mode",
    "animate_params.normalization_params.use_relative_jacobian": "animate.relative_jacobian",
    "animate_params.normalization_params.adapt_movement_scale": "animate.adapt_scale",
}
_CONVERSIONS = {
    "model.frame_size": lambda shape: shape[:2] if isinstance(shape, list) else shape,
    "data.augment.crop": bool,
    "animate.mode": lambda relative: "relative" if relative else "absolute",
}


def is_reference(tree: Mapping) -> bool:
    """Whether a YAML mapping is a config of the reference rather than one of ours."""
    return "model_params" in tree


def from_yaml(tree: Mapping, source: str) -> config.Config:
    """The reference's config as ours.

    Args:
      tree: what its YAML file holds.
      source: its name, for the error.

    Raises:
      errors.UserError: for a key that we do not know, which might change what the model computes.
    """
    ours: dict = {"data": {"augment": {"horizontal_flip": False, "time_flip": False}}}
    for path, value in _leaves(tree):
        if path.split(".")[0] == "model_params" and path not in _KEYS:
            raise errors.UserError(f"{source} has the key {path}, which no config of the reference has; take it out.")
        if path.endswith(".num_channels") and value != 3:
            raise errors.UserError(f"{source}: {path} is {value}; only images of 3 channels are supported.")
        place = _KEYS.get(path)
        if place is None or value is None:
            continue
        node = ours
        *sections, key = place.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[key] = _CONVERSIONS.get(place, lambda same: same)(value)
    return config.parse(ours, source)


def _leaves(tree: Mapping, prefix: str = "") -> list[tuple[str, object]]:
    leaves = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        leaves += _leaves(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return leaves


def from_tensors(detector: Shapes, generator: Shapes, discriminator: Shapes | None, source: str) -> config.Config:
    """The config that a checkpoint's shapes determine, where they do.

    Shapes tell every size but those of the frames, the padding, the temperature and the heatmaps' variance. The
    released models share these (256 x 256, 0, 0.1, 0.01); they are taken where the networks are the released ones,
    whatever K.

    Args:
      detector: name -> shape of `kp_detector`.
      generator: name -> shape of `generator`.
      discriminator: name -> shape of `discriminator`, or None.
      source: the checkpoint's name, for the error.

    Raises:
      errors.UserError: if the networks are not the released ones; it says what to give.
    """
    try:
        found = _sizes(detector, generator, discriminator)
    except (KeyError, ValueError, IndexError) as error:
        raise errors.UserError(
            f"{source}: the sizes of the networks cannot be told from its tensors ({error}); give --config."
        ) from error
    settings = config.parse({"model": found}, source)
    released = config.ModelConfig()
    for name, describe in (
        ("keypoint detector", lambda model: [_widths(model.keypoint_detector), model.keypoint_detector.scale]),
        ("dense motion network", lambda model: [_widths(model.dense_motion), model.motion_scale]),
        ("generator", lambda model: [_widths(model.generator), model.generator.num_residual_blocks]),
    ):
        if describe(settings.model) != describe(released):
            raise errors.UserError(
                f"{source}: its {name} is not that of the released models, and its tensors do not tell the frames' "
                f"size, the temperature, the padding and the heatmaps' variance; give --config with the YAML file that "
                f"it was trained with."
            )
    return settings


def _sizes(detector: Shapes, generator: Shapes, discriminator: Shapes | None) -> dict:
    keypoints = detector["kp.weight"][0]
    widths = [generator["first.conv.weight"][0], *_filters(generator, "down_blocks.{}.conv.weight")]
    motion, motion_scale = _hourglass(generator, "dense_motion_network.hourglass", "dense_motion_network.down.weight")
    found, detector_scale = _hourglass(detector, "predictor", "down.weight")
    maps = detector.get("jacobian.weight", (0,))[0]
    model = {
        "num_keypoints": keypoints,
        "jacobian": maps > 0,
        "occlusion": "dense_motion_network.occlusion.weight" in generator,
        "motion_scale": motion_scale,
        "keypoint_detector": found | {"scale": detector_scale, "single_jacobian_map": maps == 4 and keypoints > 1},
        "dense_motion": motion,
        "generator": {
            "block_expansion": widths[0],
            "max_features": max(widths),
            "num_down_blocks": len(widths) - 1,
            "num_residual_blocks": len(_filters(generator, "bottleneck.r{}.conv1.weight")),
        },
    }
    if discriminator:
        model["discriminator"] = _discriminator(discriminator, keypoints)
    return model


def _hourglass(shapes: Shapes, prefix: str, kernel: str) -> tuple[dict, float]:
    down = _filters(shapes, prefix + ".encoder.down_blocks.{}.conv.weight")
    up = _filters(shapes, prefix + ".decoder.up_blocks.{}.conv.weight")
    sizes = {"block_expansion": up[-1], "num_blocks": len(down), "max_features": max(down)}
    # At a scale of 1 / n the anti-alias kernel has 4 (n - 1) + 1 pixels.
    steps, rest = divmod(shapes[kernel][-1] - 1, 4) if kernel in shapes else (0, 0)
    if rest:
        raise ValueError(f"{kernel} of {shapes[kernel][-1]} pixels")
    return sizes, 1.0 / (steps + 1)


def _discriminator(shapes: Shapes, keypoints: int) -> dict:
    names = sorted({name.split(".")[1] for name in shapes}, reverse=True)
    suffix = "weight_orig" if f"discs.{names[0]}.conv.weight_orig" in shapes else "weight"
    blocks = f"discs.{names[0]}.down_blocks.{{}}.conv.{suffix}"
    filters = _filters(shapes, blocks)
    return {
        "scales": [float(name.replace("-", ".")) for name in names],
        "block_expansion": filters[0] // 2,
        "max_features": max(filters),
        "num_blocks": len(filters),
        "use_keypoints": shapes[blocks.format(0)][1] == 3 + keypoints,
        "spectral_norm": suffix == "weight_orig",
    }


def _filters(shapes: Shapes, pattern: str) -> list[int]:
    """Output channels of the convolutions `pattern` with 0, 1, 2, ... in it."""
    found = []
    while pattern.format(len(found)) in shapes:
        found.append(shapes[pattern.format(len(found))][0])
    return found


def _widths(sizes: config.KeypointDetectorConfig | config.DenseMotionConfig | config.GeneratorConfig) -> list[int]:
    """Channels before and after each halving: what the sizes come to."""
    halvings = sizes.num_down_blocks if isinstance(sizes, config.GeneratorConfig) else sizes.num_blocks
    return [min(sizes.max_features, sizes.block_expansion * 2**i) for i in range(halvings + 1)]
