"""Strict YAML: configs are read and written, and unknown keys and values of the wrong type are named."""

import dataclasses
import typing

import pytest
import yaml
from config_trees import nest, parse_error

from fomm_tf import config, errors


def sections(section=config.Config, prefix=""):
    """Yields the dotted name and the class of every section."""
    yield prefix, section
    for name, hint in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            yield from sections(hint, f"{prefix}.{name}".strip("."))


def test_dump_of_default_parses_to_default():
    text = config.dump(config.Config())
    assert config.parse(yaml.safe_load(text)) == config.Config()
    assert list(yaml.safe_load(text)) == ["data", "model", "train", "animate"]
    assert "!!" not in text


def test_parse_of_empty_mapping_is_default():
    assert config.parse({}) == config.parse({"model": {}, "train": {"loss_weights": {}}}) == config.Config()


def test_load_returns_dumped_config(tmp_path):
    settings_ = config.override(config.Config(), ["data.root=vidéos/日本", "train.epochs=3"])
    (tmp_path / "a.yaml").write_text(config.dump(settings_), encoding="utf-8")
    assert config.load(tmp_path / "a.yaml") == settings_


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
