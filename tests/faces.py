"""What tests need of the registries, in a test marked `network`: `faces.faces()`, `faces.fetched("bodies")`."""

import functools
import pathlib

import pytest

from fomm_tf import fetch


def faces() -> dict[str, pathlib.Path]:
    """The five videos of talking faces by name."""
    return fetched("faces")


def fetched(name: str) -> dict[str, pathlib.Path]:
    """The files of a set by name, from the cache or the registries; skips the test with the reason if neither has them.

    Only what lies outside the project skips: a package with other contents than expected, for one, fails.
    """
    paths, reason = _fetched(name)
    if reason:
        pytest.skip(reason)
    return paths


@functools.cache
def _fetched(name: str) -> tuple[dict[str, pathlib.Path], str]:
    """Asks once a session: without a connection each try takes its time."""
    try:
        return fetch.fetch(name), ""
    except fetch.UnavailableError as error:
        return {}, str(error)
