"""A run and its directory."""

import pathlib
import shutil

import pytest
from saved_runs import PROVENANCE, make_run

from fomm_tf import checkpoint


@pytest.fixture(scope="session")
def run():
    """Five steps of training, with discriminator and moments. Tests must not modify it."""
    return make_run()


@pytest.fixture(scope="session")
def saved(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    checkpoint.save(folder, run, PROVENANCE)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the run directory, to damage."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "run"))
