"""Assignments to a config, its differences to another one, and invalid values of training settings."""

import dataclasses

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import config, errors

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
