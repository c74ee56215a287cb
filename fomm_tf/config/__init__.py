"""The configuration: frozen dataclasses, read from strict YAML.

Unknown keys and invalid values or combinations are rejected when the file is read, not when a network is built. A
recipe is a config file in `configs/`, named without its suffix.
"""

from __future__ import annotations

import dataclasses
import pathlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence

import yaml

from fomm_tf import errors
from fomm_tf.config.model import (
    KINDS,
    DenseMotionConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    KeypointDetectorConfig,
    ModelConfig,
)
from fomm_tf.config.sections import (
    PRECISIONS,
    AnimateConfig,
    AugmentConfig,
    Config,
    DataConfig,
    LossWeightsConfig,
    PuppetsConfig,
    TrainConfig,
    TransformConfig,
)

__all__ = [
    "KINDS",
    "PRECISIONS",
    "AnimateConfig",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DenseMotionConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "KeypointDetectorConfig",
    "LossWeightsConfig",
    "ModelConfig",
    "PuppetsConfig",
    "TrainConfig",
    "TransformConfig",
    "differences",
    "dump",
    "flatten",
    "load",
    "load_recipe",
    "override",
    "parse",
    "read_yaml",
    "recipes",
]


def load(path: str | pathlib.Path, base: Config | None = None) -> Config:
    """Reads a config file; one with the key `extends: OTHER.yaml` has only the differences to that file.

    Args:
      path: the file.
      base: has the values of the keys that are in neither file; by default their defaults.

    Raises:
      errors.UserError: if it cannot be read, is not YAML, or has an unknown key or a bad value.
    """
    tree = read_yaml(path)
    extended = tree.pop("extends", None)
    if extended is not None:
        extended_tree = read_yaml(pathlib.Path(path).parent / str(extended))
        if "extends" in extended_tree:
            raise errors.UserError(f"{path} extends {extended}, which extends another file; extend that file directly.")
        tree = _merge(extended_tree, tree)
    if base is not None:
        tree = _merge(dataclasses.asdict(base), tree)
    return parse(tree, source=str(path))


def load_recipe(name: str | pathlib.Path) -> Config:
    """Reads a recipe by its name in `recipes`, or a config file by its path; raises as `load`."""
    return load(recipes().get(str(name), name))


def read_yaml(path: str | pathlib.Path) -> dict:
    """Reads a YAML mapping.

    Raises:
      errors.UserError: if it cannot be read or is not a YAML mapping.
    """
    try:
        tree = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UserError(f"Cannot read the config {path}: {error}.") from error
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML raises ValueError for a date that does not exist.
        raise errors.UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(tree, dict):
        raise errors.UserError(f"{path} must be a YAML mapping; got {type(tree).__name__}.")
    return tree


def parse(tree: dict, source: str = "config") -> Config:
    """Creates a `Config` from a mapping of sections; missing keys have their defaults.

    Raises:
      errors.UserError: for an unknown key or a value of the wrong type; the message starts with `source`.
    """
    try:
        return _convert(tree, Config, "")
    except errors.UserError as error:
        raise errors.UserError(f"{source}: {error}") from error


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Applies `section.key=value` assignments to a config; values are YAML.

    Raises:
      errors.UserError: for an assignment without `=`, an unknown key or a bad value.
    """
    tree = dataclasses.asdict(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise errors.UserError(f"An override must be section.key=value; got {assignment!r}.")
        *sections, key = path.split(".")
        node = tree
        for section in sections:
            # An optional section is null until it is set.
            node[section] = {} if node.get(section) is None else node[section]
            node = node[section]
            if not isinstance(node, dict):
                raise errors.UserError(f"{assignment}: {section} is a value, not a section.")
        try:
            node[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            raise errors.UserError(f"{assignment}: the value is not valid YAML.") from error
    return parse(tree, source="override")


def dump(config: Config) -> str:
    """Formats the whole resolved config as YAML."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False)


def differences(one: Config, other: Config) -> dict[str, tuple[object, object]]:
    """The keys `section.key` in which two configs differ, with both values."""
    ones, others = (dict(flatten(dataclasses.asdict(config))) for config in (one, other))
    keys = [*ones, *(key for key in others if key not in ones)]
    pairs = {key: (ones.get(key), others.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def flatten(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields `section.key` and value of each leaf of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(base: dict, changes: dict) -> dict:
    """Applies `changes` to `base`, section by section."""
    sections = {
        key: _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in changes.items()
    }
    return base | sections


def recipes() -> dict[str, pathlib.Path]:
    """Name -> file of each recipe."""
    folder = pathlib.Path(__file__).resolve().parents[1] / "configs"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _convert(value: object, hint: object, path: str) -> object:
    """Converts a value to the type `hint`, or raises an error that names `path`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _convert_section(value, hint, path)
    if origin is types.UnionType:
        return None if value is None else _convert(value, arguments[0], path)
    if origin is typing.Literal:
        if value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)) and (arguments[-1] is ... or len(value) == len(arguments)):
            hints = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
            return tuple(
                _convert(item, hint, f"{path}[{i}]") for i, (item, hint) in enumerate(zip(value, hints, strict=True))
            )
    elif hint is float:
        # YAML 1.1 parses 2e-4, without a decimal point, as a string.
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = " | ".join(map(str, arguments)) if origin is typing.Literal else getattr(hint, "__name__", hint)
    raise errors.UserError(f"{path} must be {expected}; got {value!r}.")


def _convert_section(value: object, section: type, path: str) -> object:
    if not isinstance(value, dict):
        raise errors.UserError(f"{path or 'the config'} must be a mapping; got {value!r}.")
    hints = typing.get_type_hints(section)
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        where = f"{path} has" if path else "the config has"
        raise errors.UserError(f"{where} no key {', '.join(unknown)}; the known ones are {', '.join(hints)}.")
    prefix = f"{path}." if path else ""
    return section(**{key: _convert(item, hints[key], prefix + key) for key, item in value.items()})
