"""Downloads for tests marked `network`: `faces.faces()`, `faces.fetched("bodies")`."""

import functools
import pathlib

import pytest

from fomm_tf import fetch


def faces() -> dict[str, pathlib.Path]:
    """The five videos of talking faces by name."""
    return fetched("faces")


def fetched(name: str) -> dict[str, pathlib.Path]:
    """The files of a set by name, from the cache or the registries; skips the test if they are unavailable.

    Other errors fail the test, such as a package with unexpected contents.
    """
    paths, reason = _fetched(name)
    if reason:
        pytest.skip(reason)
    return paths


@functools.cache
def _fetched(name: str) -> tuple[dict[str, pathlib.Path], str]:
    """Tries once per session, since each try without a connection is slow."""
    try:
        return fetch.fetch(name), ""
    except fetch.UnavailableError as error:
        return {}, str(error)
