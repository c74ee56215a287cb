"""A server for requests that do not change it, and the log of a server."""

import logging

import in_process
import pytest


@pytest.fixture(scope="module")
def server():
    with in_process.serve(max_request_bytes=2**23, max_total_bytes=2**26) as started:
        yield started


@pytest.fixture
def log(caplog):
    """The server's log: errors have a traceback."""
    caplog.set_level(logging.WARNING)
    yield caplog
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
