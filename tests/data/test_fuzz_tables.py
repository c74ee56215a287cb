"""Fuzzing of tables of pairs, config files and overrides: a value, or an error of one line."""

import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from fomm_tf import config, console, errors, files
from fomm_tf.data import layout

FUZZ = hypothesis.settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
NAMES = st.one_of(st.text(max_size=12), st.sampled_from(["a" * 300, "x\0y", "-v", "%d", '"', "a\nb", "../..", "", "."]))
TABLES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=30).map(lambda tail: b"source,driving\n" + tail),
    st.lists(st.tuples(NAMES, NAMES), max_size=3).map(
        lambda rows: "\n".join(["source,driving", *map(",".join, rows)]).encode("utf-8", "surrogatepass")
    ),
)
KEYS = st.sampled_from(["train", "model", "data", "animate", "extends", "frame_size", "epochs", "puppets", "root", "x"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just(10**400))
VALUES = st.recursive(
    LEAVES, lambda leaf: st.one_of(st.lists(leaf, max_size=3), st.dictionaries(KEYS, leaf, max_size=3))
)
YAML = st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")), VALUES)


def call(function, *arguments):
    """Calls a function; a `UserError` must be printable as one line."""
    try:
        return function(*arguments)
    except errors.UserError as error:
        line = console.one_line(str(error))
        assert line and len(line.splitlines()) == 1
        line.encode("utf-8", "backslashreplace")
        return None


@FUZZ
@hypothesis.given(TABLES)
def test_read_pairs_of_any_bytes(tmp_path, table):
    path = tmp_path / "pairs.csv"
    path.write_bytes(table)
    for pair in call(layout.read_pairs, path) or ():
        files.check_name(f"{pair.name}.mp4")


@FUZZ
@hypothesis.given(YAML)
def test_load_config_of_any_bytes(tmp_path, content):
    import yaml

    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    settings = call(config.load, path)
    assert settings is None or isinstance(settings, config.Config)


@FUZZ
@hypothesis.given(st.lists(st.one_of(st.text(max_size=20), st.tuples(KEYS, KEYS, VALUES)), max_size=3))
def test_override_config_by_any_text(overrides):
    texts = [text if isinstance(text, str) else f"{text[0]}.{text[1]}={text[2]}" for text in overrides]
    settings = call(config.override, config.Config(), texts)
    assert settings is None or isinstance(settings, config.Config)


@pytest.mark.parametrize("text", ["extends: config.yaml\n", "a: &a [*a]\n", "model: {frame_size: [1e999, 1]}\n"])
def test_load_config_rejects_loops_and_infinities(tmp_path, text):
    path = pathlib.Path(tmp_path, "config.yaml")
    path.write_text(text)
    with pytest.raises(errors.UserError):
        config.load(path)
