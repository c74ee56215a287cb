"""Configs: reading and writing strict YAML, overrides, frame sizes, and the recipes of the eight released models."""

import dataclasses
import typing

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import config, errors

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


def parse_error(tree):
    with pytest.raises(errors.UserError) as caught:
        config.parse(tree, "a.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("a.yaml: ")


def sections(section=config.Config, prefix=""):
    """Yields the dotted name and the class of every section."""
    yield prefix, section
    for name, hint in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            yield from sections(hint, f"{prefix}.{name}".strip("."))


def nest(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


# Round trips ----------------------------------------------------------------------------------------------------------


def test_dump_of_default_parses_to_default():
    text = config.dump(config.Config())
    assert config.parse(yaml.safe_load(text)) == config.Config()
    assert list(yaml.safe_load(text)) == ["data", "model", "train", "animate"]
    assert "!!" not in text


def test_parse_of_empty_mapping_is_default():
    assert config.parse({}) == config.parse({"model": {}, "train": {"loss_weights": {}}}) == config.Config()


positive = st.floats(1e-30, 1e30)
OVERRIDES = {
    "data.root": st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
    "data.repeats": st.integers(1, 10**12),
    "data.sample_by_identity": st.booleans(),
    "data.augment.hue": st.floats(0, 0.5),
    "data.augment.resize": st.none() | st.tuples(positive, positive).map(lambda pair: tuple(sorted(pair))),
    "model.frame_size": st.tuples(*[st.integers(1, 20).map(lambda n: 128 * n)] * 2),
    "model.num_keypoints": st.integers(1, 100),
    "model.keypoint_detector.temperature": positive,
    "model.discriminator.scales": st.lists(st.sampled_from([1.0, 0.5, 0.25]), min_size=1).map(tuple),
    "train.milestones": st.lists(st.integers(0, 500)).map(tuple),
    "train.learning_rate_generator": positive,
    "train.loss_weights.perceptual": st.lists(st.floats(0, 1e9)).map(tuple),
    "animate.mode": st.sampled_from(["relative", "absolute"]),
}


@given(st.fixed_dictionaries({}, optional=OVERRIDES))
@settings(deadline=None)
def test_override_sets_values_that_survive_dump(values):
    as_yaml = {path: list(value) if isinstance(value, tuple) else value for path, value in values.items()}
    assignments = [f"{path}={yaml.safe_dump(value)}" for path, value in as_yaml.items()]
    found = config.override(config.Config(), assignments)
    for path, value in values.items():
        node = found
        for part in path.split("."):
            node = getattr(node, part)
        assert node == value and type(node) is type(value)
    assert config.parse(yaml.safe_load(config.dump(found))) == found


def test_load_returns_dumped_config(tmp_path):
    settings_ = config.override(config.Config(), ["data.root=vidéos/日本", "train.epochs=3"])
    (tmp_path / "a.yaml").write_text(config.dump(settings_), encoding="utf-8")
    assert config.load(tmp_path / "a.yaml") == settings_


# Wrong keys and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "section"), sections(), ids=lambda value: value if isinstance(value, str) else "")
def test_parse_lists_known_keys_for_unknown_key(path, section):
    tree = nest(path, {"color": 1}) if path else {"color": 1}
    known = ", ".join(field.name for field in dataclasses.fields(section))
    assert parse_error(tree) == f"{path or 'the config'} has no key color; the known ones are {known}."


def test_parse_names_all_unknown_keys():
    assert "the config has no key modle, 5; the known ones are" in parse_error({"modle": {}, 5: {}})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.num_keypoints", "ten", "model.num_keypoints must be int; got 'ten'."),
        ("model.num_keypoints", 10.0, "model.num_keypoints must be int; got 10.0."),
        ("model.num_keypoints", True, "model.num_keypoints must be int; got True."),
        ("model.num_keypoints", None, "model.num_keypoints must be int; got None."),
        ("model.jacobian", 1, "model.jacobian must be bool; got 1."),
        ("model.jacobian", "yes", "model.jacobian must be bool; got 'yes'."),
        ("model.motion_scale", "quarter", "model.motion_scale must be float; got 'quarter'."),
        ("model.motion_scale", False, "model.motion_scale must be float; got False."),
        ("model.motion_scale", None, "model.motion_scale must be float; got None."),
        ("model.motion_scale", [0.25], "model.motion_scale must be float; got [0.25]."),
        ("train.learning_rate_generator", 10**400, "train.learning_rate_generator must be float; got 1000"),
        ("data.root", 5, "data.root must be str; got 5."),
        ("data.root", None, "data.root must be str; got None."),
        ("model.frame_size", 256, "model.frame_size must be tuple; got 256."),
        ("model.frame_size", [256], "model.frame_size must be tuple; got [256]."),
        ("model.frame_size", [256, 256, 3], "model.frame_size must be tuple; got [256, 256, 3]."),
        ("model.frame_size", [256, "256"], "model.frame_size[1] must be int; got '256'."),
        ("model.frame_size", "256x256", "model.frame_size must be tuple; got '256x256'."),
        ("train.milestones", 60, "train.milestones must be tuple; got 60."),
        ("train.milestones", [60, 90.5], "train.milestones[1] must be int; got 90.5."),
        ("train.loss_weights.perceptual", [10, "x"], "train.loss_weights.perceptual[1] must be float; got 'x'."),
        ("data.augment.resize", [0.9], "data.augment.resize must be tuple; got [0.9]."),
        ("data.augment.resize", 0.9, "data.augment.resize must be tuple; got 0.9."),
        ("animate.mode", "copy", "animate.mode must be relative | absolute; got 'copy'."),
        ("animate.mode", ["relative"], "animate.mode must be relative | absolute; got ['relative']."),
        ("model.generator", 5, "model.generator must be a mapping; got 5."),
        ("model.generator", None, "model.generator must be a mapping; got None."),
        ("model", [1], "model must be a mapping; got [1]."),
    ],
)
def test_parse_names_value_of_wrong_type(path, value, message):
    assert parse_error(nest(path, value)).startswith(message)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("train.learning_rate_generator", "2e-4", 2e-4),
        ("train.learning_rate_generator", 1, 1.0),
        ("data.augment.resize", None, None),
        ("data.augment.resize", [1, 2], (1.0, 2.0)),
        ("train.milestones", [], ()),
    ],
)
def test_parse_converts_compatible_types(path, value, found):
    node = config.parse(nest(path, value))
    for part in path.split("."):
        node = getattr(node, part)
    assert node == found and type(node) is type(found)


def test_parse_rejects_list():
    assert parse_error([1]) == "the config must be a mapping; got [1]."


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("num_keypoints", 0, "at least 1"),
        ("num_keypoints", -3, "at least 1"),
        ("keypoint_detector.num_blocks", 0, "at least 1"),
        ("keypoint_detector.block_expansion", 0, "at least 1"),
        ("keypoint_detector.max_features", 0, "at least 1"),
        ("keypoint_detector.pad", -1, "at least 0"),
        ("keypoint_detector.temperature", 0.0, "greater than 0"),
        ("keypoint_detector.temperature", float("nan"), "greater than 0"),
        ("dense_motion.num_blocks", -1, "at least 1"),
        ("dense_motion.block_expansion", -8, "at least 1"),
        ("dense_motion.max_features", 0, "at least 1"),
        ("dense_motion.heatmap_variance", 0.0, "greater than 0"),
        ("generator.num_down_blocks", -1, "at least 0"),
        ("generator.num_residual_blocks", -1, "at least 0"),
        ("generator.block_expansion", 0, "at least 1"),
        ("generator.max_features", 0, "at least 1"),
        ("discriminator.num_blocks", 0, "at least 1"),
        ("discriminator.block_expansion", 0, "at least 1"),
        ("discriminator.max_features", 0, "at least 1"),
        ("discriminator.heatmap_variance", -0.1, "greater than 0"),
    ],
)
def test_model_config_rejects_invalid_sizes(path, value, bound):
    assert parse_error(nest(f"model.{path}", value)) == f"model.{path} must be {bound}; got {value}."


@pytest.mark.parametrize("scales", [[], [0.0], [2.0], [1.0, -0.5]])
def test_model_config_rejects_invalid_discriminator_scales(scales):
    message = parse_error({"model": {"discriminator": {"scales": scales}}})
    assert message == f"model.discriminator.scales must be one or more in (0, 1]; got {scales}."


def test_model_config_accepts_generator_without_blocks():
    found = config.parse({"model": {"generator": {"num_down_blocks": 0, "num_residual_blocks": 0}}})
    assert (found.model.generator.num_down_blocks, found.model.generator.num_residual_blocks) == (0, 0)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: [", "is not valid YAML: "),
        (b"a: b: c", "is not valid YAML: "),
        (b"a: !!python/object/apply:os.system [touch marker]", "is not valid YAML: could not determine a constructor"),
        (b"data: {root: 2020-13-45}", "is not valid YAML: month must be in 1..12"),
        (b"{[1]: 2}", "is not valid YAML: "),
        (b"", "must be a YAML mapping; got NoneType."),
        (b"- 1", "must be a YAML mapping; got list."),
        (b"vox-256", "must be a YAML mapping; got str."),
        (b"\xff\xfe\x00", "Cannot read the config "),
        (b"model: {num_kp: 5}", ": model has no key num_kp; the known ones are frame_size, "),
    ],
)
def test_load_rejects_file_without_config_in_one_line(content, message, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(errors.UserError) as caught:
        config.load(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]


def test_load_rejects_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(errors.UserError, match=f"^Cannot read the config {path}: "):
            config.load(path)


# Overrides ------------------------------------------------------------------------------------------------------------


def test_override_applies_assignments_in_order():
    before = config.override(config.Config(), ["data.root=a"])
    found = config.override(
        before, ["train.epochs=3", "model.frame_size=[128, 384]", "train.epochs=4", "data.root=b=c"]
    )
    assert found == dataclasses.replace(
        before,
        data=config.DataConfig(root="b=c"),
        model=config.ModelConfig(frame_size=(128, 384)),
        train=config.TrainConfig(epochs=4),
    )
    assert before.data.root == "a" and config.override(before, []) == before


def test_override_accepts_partial_sections_and_null():
    found = config.override(config.Config(), ["data.augment={hue: 0.5, resize: [0.9, 1.1]}"])
    assert found.data.augment == config.AugmentConfig(hue=0.5, resize=(0.9, 1.1))
    assert config.override(found, ["data.augment.resize=null"]).data.augment.resize is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs", "An override must be section.key=value; got 'train.epochs'."),
        ("train.epochs 5", "An override must be section.key=value; got 'train.epochs 5'."),
        ("", "An override must be section.key=value; got ''."),
        ("train.epoch=5", "override: train has no key epoch; the known ones are epochs, milestones, steps, "),
        ("trian.epochs=5", "override: the config has no key trian; the known ones are data, model, train, animate."),
        ("epochs=5", "override: the config has no key epochs; the known ones are data, model, train, animate."),
        ("=5", "override: the config has no key "),
        ("train.epochs.more=5", "train.epochs.more=5: epochs is a value, not a section."),
        ("model.frame_size.height=5", "model.frame_size.height=5: frame_size is a value, not a section."),
        ("train.epochs=", "override: train.epochs must be int; got None."),
        ("train.epochs=five", "override: train.epochs must be int; got 'five'."),
        ("train.epochs=[", "train.epochs=[: the value is not valid YAML."),
        ("data.root=2020-13-45", "data.root=2020-13-45: the value is not valid YAML."),
        ("model=5", "override: model must be a mapping; got 5."),
        ("model.num_keypoints=0", "override: model.num_keypoints must be at least 1; got 0."),
    ],
)
def test_override_rejects_wrong_assignments(assignment, message):
    with pytest.raises(errors.UserError) as caught:
        config.override(config.Config(), ["data.repeats=2", assignment])
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


# Frame sizes ----------------------------------------------------------------------------------------------------------


def test_frame_size_error_explains_the_multiple():
    assert parse_error({"model": {"frame_size": [100, 100]}}) == (
        "model.frame_size [100, 100] times model.motion_scale 0.25 is [25, 25]; each side must be a multiple of 32 "
        "(5 halvings in the hourglass)."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": [256, 250]}, "[256, 250] times model.motion_scale 0.25 is [64, 63]; each side must be a mul"),
        ({"frame_size": [0, 0]}, "[0, 0] times model.motion_scale 0.25 is [0, 0]; each side must be a multiple of 32"),
        ({"frame_size": [-128, 128]}, "[-128, 128] times model.motion_scale 0.25 is [-32, 32]; each side must be a"),
        ({"frame_size": [64, 64]}, "[64, 64] times model.motion_scale 0.25 is [16, 16]; each side must be a multi"),
        (
            {"frame_size": [64, 64], "motion_scale": 1.0},
            "[64, 64] times model.keypoint_detector.scale 0.25 is [16, 16]; each side must be a multiple of 32 (5 hal",
        ),
        (
            {"frame_size": [66, 64], "motion_scale": 0.5, "dense_motion": {"num_blocks": 1},
             "keypoint_detector": {"num_blocks": 1, "scale": 0.5}},
            "[66, 64] times model.motion_scale 0.5 is [33, 32]; each side must be a multiple of 2 (1 halvings",
        ),
        (
            {"frame_size": [128, 128], "generator": {"num_down_blocks": 8}},
            "is [128, 128]; each side must be a multiple of 256 (8 halvings in the generator).",
        ),
        (
            {"frame_size": [16, 16], "dense_motion": {"num_blocks": 1}, "keypoint_detector": {"num_blocks": 2}},
            "[16, 16] times model.keypoint_detector.scale 0.25 is [4, 4]; each side must be at least 8 (heads of 7x7",
        ),
    ],
)  # fmt: skip
def test_model_config_rejects_wrong_frame_sizes(changes, message):
    assert parse_error({"model": changes}).startswith(f"model.frame_size {message}")


@pytest.mark.parametrize("scale", [0.0, -0.25, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("path", ["motion_scale", "keypoint_detector.scale"])
def test_model_config_rejects_invalid_scales(path, scale):
    assert parse_error(nest(f"model.{path}", scale)) == f"model.{path} must be in (0, 1]; got {scale}."


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (128, 384), (512, 256)])
def test_model_config_accepts_divisible_frame_sizes(size):
    assert config.ModelConfig(frame_size=size).frame_size == size


def test_model_config_rejects_frame_size_that_rounds_up():
    with pytest.raises(
        errors.UserError, match=r"^model.frame_size is \[253, 256\]; each side must be a multiple of 4 "
    ):
        config.ModelConfig(frame_size=(253, 256))


def test_model_config_accepts_small_padded_frames():
    sizes = {"num_blocks": 2, "pad": 2}
    found = config.parse({
        "model": {"frame_size": [16, 16], "dense_motion": {"num_blocks": 1}, "keypoint_detector": sizes}
    })  # fmt: skip
    assert found.model.keypoint_detector.pad == 2


def test_check_frame_size_checks_other_sizes():
    model = config.ModelConfig()
    model.check_frame_size(384, 512)
    with pytest.raises(errors.UserError, match=r"^model.frame_size \[300, 512\] times"):
        model.check_frame_size(300, 512)


# Recipes --------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.augment.hue=0.6", "data.augment.hue must be between 0 and 0.5; got 0.6"),
        ("data.augment.contrast=-0.1", "data.augment.contrast must be at least 0; got -0.1"),
        ("data.augment.resize=[1.1,0.9]", r"data.augment.resize must be \[low, high\] above 0; got \[1.1, 0.9\]"),
        ("data.repeats=0", "data.repeats must be at least 1; got 0"),
    ],
)
def test_augment_config_rejects_invalid_values(assignment, message):
    with pytest.raises(errors.UserError, match=message):
        config.override(config.Config(), [assignment])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.steps=0", "train.steps must be at least 1, or null for epochs; got 0"),
        ("train.keep=0", "train.keep must be at least 1; got 0"),
        ("train.seed=-1", "train.seed must be at least 0; got -1"),
        ("train.learning_rate_detector=-1", "train.learning_rate_detector must be at least 0 and finite; got -1"),
        (
            "train.lr_decay_fractions=[1.5]",
            r"train.lr_decay_fractions must be fractions of train.steps in \(0, 1\]; got \[1.5\]",
        ),
        ("train.pyramid_scales=[]", r"train.pyramid_scales must be one or more in \(0, 1\]; got \[\]"),
        ("train.precision=float64", "train.precision must be float32 | float16 | bfloat16; got 'float64'"),
        ("data.test_share=1", "data.test_share must be between 0 and 1; got 1"),
        ("data.puppets.identitys=3", "data.puppets has no key identitys; the known ones are identities, "),
    ],
)
def test_config_rejects_invalid_training_settings(assignment, message):
    with pytest.raises(errors.UserError, match=message.replace(" | ", r" \| ")):
        config.override(config.Config(), [assignment])


def test_override_creates_optional_section():
    assert config.Config().data.puppets is None
    changed = config.override(config.Config(), ["data.puppets.identities=3"])
    assert changed.data.puppets == config.PuppetsConfig(identities=3)


def test_differences_returns_keys_with_both_values():
    one = config.Config()
    other = config.override(one, ["train.batch_size=8", "data.puppets.clips=2"])
    found = config.differences(one, other)
    assert found["train.batch_size"] == (20, 8) and found["data.puppets.clips"] == (None, 2)
    assert config.differences(other, other) == {}


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


def test_load_extends_another_file_section_by_section(tmp_path):
    (tmp_path / "base.yaml").write_text("train:\n  steps: 5\n  batch_size: 3\nmodel:\n  jacobian: false\n")
    (tmp_path / "child.yaml").write_text("extends: base.yaml\ntrain:\n  steps: 7\n")
    loaded = config.load(tmp_path / "child.yaml")
    assert (loaded.train.steps, loaded.train.batch_size, loaded.model.jacobian) == (7, 3, False)


@pytest.mark.parametrize(
    ("base", "message"), [("missing.yaml", "missing.yaml"), ("child.yaml", "extends child.yaml, which extends another")]
)
def test_load_rejects_a_bad_base(tmp_path, base, message):
    (tmp_path / "child.yaml").write_text(f"extends: {base}\n")
    with pytest.raises(errors.UserError, match=message):
        config.load(tmp_path / "child.yaml")
