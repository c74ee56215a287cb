"""A set of puppets and a model so small that a step takes no time."""

import pathlib

import pytest
import tensorflow as tf
import yaml

from fomm_tf import config
from fomm_tf.data.puppets import dataset

SMALL = pathlib.Path(__file__).parent / "small.yaml"


@pytest.fixture(scope="session")
def puppets(tmp_path_factory):
    """Six characters to train on and two others to test on, a clip of six frames each."""
    root = tmp_path_factory.mktemp("puppets") / "data"
    dataset.write(root, identities=6, test_identities=2, clips=1, frames=6, size=(32, 32), seed=0)
    return root


@pytest.fixture(scope="session")
def make_config(puppets):
    """The small config on the puppets, with overrides."""

    def make(*overrides):
        return config.override(config.load(SMALL), [f"data.root={puppets}", *overrides])

    return make


@pytest.fixture
def write_config(puppets, tmp_path):
    """The small config on the puppets as a file, for commands."""

    def write(*overrides):
        path = tmp_path / "small.yaml"
        settings = config.override(config.load(SMALL), [f"data.root={puppets}", *overrides])
        path.write_text(config.dump(settings), encoding="utf-8")
        assert yaml.safe_load(path.read_text())
        return path

    return write


@pytest.fixture
def one_replica():
    return tf.distribute.MirroredStrategy(["CPU:0"])
