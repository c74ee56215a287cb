"""Converts the reference's configuration, from its YAML files or inferred from the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from fomm_tf import config, errors

Shapes = Mapping[str, tuple[int, ...]]

# Section of the reference -> section of `Config`, and the keys that both have.
_SECTIONS = {
    "dataset_params.augmentation_params.flip_param": ("data.augment", "horizontal_flip time_flip"),
    "dataset_params.augmentation_params.jitter_param": ("data.augment", "brightness contrast saturation hue"),
    "model_params.kp_detector_params": (
        "model.keypoint_detector",
        "temperature block_expansion max_features num_blocks single_jacobian_map pad",
    ),
    "model_params.generator_params": ("model.generator", "block_expansion max_features num_down_blocks"),
    "model_params.generator_params.dense_motion_params": (
        "model.dense_motion",
        "block_expansion max_features num_blocks",
    ),
    "model_params.discriminator_params": ("model.discriminator", "scales block_expansion max_features num_blocks"),
    "train_params.transform_params": ("train.transform", "sigma_affine sigma_tps"),
    "train_params.loss_weights": (
        "train.loss_weights",
        "generator_gan discriminator_gan feature_matching perceptual equivariance_value equivariance_jacobian",
    ),
}
# The reference's keys -> keys of `Config`. Keys outside of model_params that are not listed are ignored.
_KEYS = {
    **{f"{theirs}.{key}": f"{ours}.{key}" for theirs, (ours, keys) in _SECTIONS.items() for key in keys.split()},
    "model_params.common_params.num_channels": None,
    "dataset_params.root_dir": "data.root",
    "dataset_params.frame_shape": "model.frame_size",
    "dataset_params.id_sampling": "data.sample_by_identity",
    "dataset_params.augmentation_params.resize_param.ratio": "data.augment.resize",
    "dataset_params.augmentation_params.crop_param.size": "data.augment.crop",
    "model_params.common_params.num_kp": "model.num_keypoints",
    "model_params.common_params.estimate_jacobian": "model.jacobian",
    "model_params.kp_detector_params.scale_factor": "model.keypoint_detector.scale",
    "model_params.generator_params.num_bottleneck_blocks": "model.generator.num_residual_blocks",
    "model_params.generator_params.estimate_occlusion_map": "model.occlusion",
    "model_params.generator_params.dense_motion_params.scale_factor": "model.motion_scale",
    "model_params.generator_params.dense_motion_params.kp_variance": "model.dense_motion.heatmap_variance",
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
    "train_params.transform_params.points_tps": "train.transform.points",
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
    """Whether a YAML mapping is a config of the reference, not of fomm-tf."""
    return "model_params" in tree


def from_yaml(tree: Mapping, source: str) -> config.Config:
    """Converts a config of the reference.

    Args:
      tree: the contents of its YAML file.
      source: its name, for error messages.

    Raises:
      errors.UserError: for an unknown key in model_params, which might change the model, or a bad value.
    """
    converted: dict = {"data": {"augment": {"horizontal_flip": False, "time_flip": False}}}
    for path, value in config.flatten(tree):
        if path.split(".")[0] == "model_params" and path not in _KEYS:
            raise errors.UserError(f"{source} has the unknown key {path}; remove it.")
        if path.endswith(".num_channels") and value != 3:
            raise errors.UserError(f"{source}: {path} is {value}; only images of 3 channels are supported.")
        target = _KEYS.get(path)
        if target is None or value is None:
            continue
        node = converted
        *sections, key = target.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[key] = _CONVERSIONS.get(target, lambda unchanged: unchanged)(value)
    return config.parse(converted, source)


def from_tensors(detector: Shapes, generator: Shapes, discriminator: Shapes | None, source: str) -> config.Config:
    """Infers the config from the shapes of a checkpoint's tensors.

    Shapes determine every size but the frame size, the padding, the temperature and the heatmaps' variance. These are
    the same in all released models (256 x 256, 0, 0.1, 0.01), and are assumed if the networks are the released ones,
    with any number of keypoints.

    Args:
      detector: name -> shape of `kp_detector`.
      generator: name -> shape of `generator`.
      discriminator: name -> shape of `discriminator`, or None.
      source: the checkpoint's name, for error messages.

    Raises:
      errors.UserError: if the networks are not the released ones.
    """
    try:
        model = _sizes(detector, generator, discriminator)
    except (KeyError, ValueError, IndexError) as error:
        raise errors.UserError(
            f"{source}: the sizes of the networks cannot be inferred from its tensors ({error}); give "
            "`reference_config`."
        ) from error
    settings = config.parse({"model": model}, source)
    released = config.ModelConfig()
    for name, describe in (
        ("keypoint detector", lambda model: [_widths(model.keypoint_detector), model.keypoint_detector.scale]),
        ("dense motion network", lambda model: [_widths(model.dense_motion), model.motion_scale]),
        ("generator", lambda model: [_widths(model.generator), model.generator.num_residual_blocks]),
    ):
        if describe(settings.model) != describe(released):
            raise errors.UserError(
                f"{source}: its {name} is not that of the released models, and its tensors do not determine the frame "
                "size, the temperature, the padding and the heatmaps' variance; give as `reference_config` the YAML "
                "file that it was trained with."
            )
    return settings


def _sizes(detector: Shapes, generator: Shapes, discriminator: Shapes | None) -> dict:
    keypoints = detector["kp.weight"][0]
    widths = [generator["first.conv.weight"][0], *_filters(generator, "down_blocks.{}.conv.weight")]
    motion, motion_scale = _hourglass(generator, "dense_motion_network.hourglass", "dense_motion_network.down.weight")
    detector_sizes, detector_scale = _hourglass(detector, "predictor", "down.weight")
    maps = detector.get("jacobian.weight", (0,))[0]
    model = {
        "num_keypoints": keypoints,
        "jacobian": maps > 0,
        "occlusion": "dense_motion_network.occlusion.weight" in generator,
        "motion_scale": motion_scale,
        "keypoint_detector": detector_sizes
        | {"scale": detector_scale, "single_jacobian_map": maps == 4 and keypoints > 1},
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
    """Output channels of the convolutions named `pattern` with 0, 1, 2, ..."""
    channels = []
    while pattern.format(len(channels)) in shapes:
        channels.append(shapes[pattern.format(len(channels))][0])
    return channels


def _widths(sizes: config.KeypointDetectorConfig | config.DenseMotionConfig | config.GeneratorConfig) -> list[int]:
    """Channels before and after each halving."""
    halvings = sizes.num_down_blocks if isinstance(sizes, config.GeneratorConfig) else sizes.num_blocks
    return [min(sizes.max_features, sizes.block_expansion * 2**i) for i in range(halvings + 1)]
