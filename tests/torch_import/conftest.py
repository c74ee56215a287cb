"""A fixture for imports that do not depend on initial weights."""

import functools

import pytest

from fomm_tf import checkpoint

build_once = functools.cache(checkpoint.build)


@pytest.fixture
def built_once(monkeypatch):
    """Builds every network once, for tests that do not depend on its initial values."""
    monkeypatch.setattr(checkpoint, "build", build_once)
