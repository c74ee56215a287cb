"""The recipes: the reference's eight models, the paper's ablation, and the header of each."""

import pytest

from fomm_tf import config

# The reference's configs: (epochs, repeats), milestones, batch, ...
NAMES = ("vox", "vox-adv", "taichi", "taichi-adv", "fashion", "mgif", "nemo", "bair")
TABLE = {
    "epochs": (100, 150, 100, 150, 100, 100, 100, 20),
    "repeats": (75, 75, 150, 150, 50, 25, 8, 1),
    "milestones": ((60, 90), (), (60, 90), (), (60, 90), (60, 90), (60, 90), (12, 18)),
    "batch": (40, 36, 30, 27, 27, 36, 36, 36),
    "generator_gan": (0, 1, 0, 1, 1, 1, 1, 1),
    "spectral_norm": (True, False, False, False, False, True, True, True),
    "use_keypoints": (False, True, False, True, False, False, False, False),
    "detector_rate": (2e-4, 2e-4, 2e-4, 0, 2e-4, 2e-4, 2e-4, 2e-4),
    "single_jacobian_map": (False, False, False, False, False, True, False, False),
    "brightness, contrast, saturation": (0.1, 0.1, 0.1, 0.1, 0, 0, 0, 0.1),
    "hue": (0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0, 0.1),
    "by_identity": (True, True, True, True, False, False, False, False),
}


def test_recipes_include_released_models():
    assert {f"{name}-256" for name in NAMES} <= set(config.recipes())


@pytest.mark.parametrize("name", config.recipes())
def test_recipe_loads_and_documents_its_command(name):
    path = config.recipes()[name]
    assert isinstance(config.load(path), config.Config)
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("fomm " in line or "train.py" in line for line in head) and any("Expect" in line for line in head)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_matches_the_reference(name):
    row = {key: values[NAMES.index(name)] for key, values in TABLE.items()}
    found = config.load(config.recipes()[f"{name}-256"])
    augment, train, model = found.data.augment, found.train, found.model
    assert row == {
        "epochs": train.epochs,
        "repeats": found.data.repeats,
        "milestones": train.milestones,
        "batch": train.batch_size,
        "generator_gan": train.loss_weights.generator_gan,
        "spectral_norm": model.discriminator.spectral_norm,
        "use_keypoints": model.discriminator.use_keypoints,
        "detector_rate": train.learning_rate_detector,
        "single_jacobian_map": model.keypoint_detector.single_jacobian_map,
        "brightness, contrast, saturation": augment.brightness,
        "hue": augment.hue,
        "by_identity": found.data.sample_by_identity,
    }
    assert augment.brightness == augment.contrast == augment.saturation
    assert (augment.resize, augment.crop) == (((0.9, 1.1), True) if name == "mgif" else (None, False))
    assert augment.horizontal_flip and augment.time_flip


@pytest.mark.parametrize("name", NAMES)
def test_recipe_has_the_sizes_of_all_released_models(name):
    found = config.load(config.recipes()[f"{name}-256"])
    model, train = found.model, found.train
    detector, discriminator = model.keypoint_detector, model.discriminator
    assert (model.num_keypoints, model.frame_size, model.jacobian, model.occlusion) == (10, (256, 256), True, True)
    assert (detector.block_expansion, detector.max_features, detector.num_blocks) == (32, 1024, 5)
    assert (detector.temperature, detector.scale, detector.pad) == (0.1, 0.25, 0)
    assert model.generator == config.GeneratorConfig(64, 512, 2, 6)
    assert model.dense_motion == config.DenseMotionConfig(64, 1024, 5, 0.01) and model.motion_scale == 0.25
    assert (discriminator.block_expansion, discriminator.max_features, discriminator.num_blocks) == (32, 512, 4)
    assert discriminator.scales == (1.0,) and model.align_corners
    assert train.transform == config.TransformConfig(0.05, 0.005, 5)
    assert train.learning_rate_generator == train.learning_rate_discriminator == 2e-4
    assert train.pyramid_scales == (1.0, 0.5, 0.25, 0.125)
    assert train.loss_weights.perceptual == (10.0,) * 5 and train.loss_weights.feature_matching == (10.0,) * 4
    crop = {"vox": "face", "nemo": "face", "taichi": "body"}.get(name.split("-")[0], "none")
    assert found.animate == config.AnimateConfig("relative", True, False, crop)


def test_ablation_recipes_are_the_paper_s_five_variants():
    recipes = {name: config.load(config.recipes()[f"ablation/{name}"]) for name in ABLATION}
    switches = {
        name: (
            recipe.model.occlusion,
            recipe.model.jacobian,
            len(recipe.train.pyramid_scales),
            recipe.train.loss_weights.equivariance_jacobian > 0,
        )
        for name, recipe in recipes.items()
    }
    assert switches == ABLATION
    for recipe in recipes.values():
        assert (recipe.train.batch_size, recipe.train.steps, recipe.train.lr_decay_fractions) == (
            20,
            100_000,
            (0.5, 0.75),
        )


# Table 1 of the paper: occlusion, Jacobians, resolutions of the loss, equivariance of Jacobians.
ABLATION = {
    "baseline": (False, False, 1, True),
    "pyramid": (False, False, 4, True),
    "pyramid-occlusion": (True, False, 4, True),
    "no-jacobian-equivariance": (True, True, 4, False),
    "full": (True, True, 4, True),
}
