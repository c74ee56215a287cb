"""Binding a port."""

import contextlib

import pytest

from fomm_tf import errors, sockets


def test_bind_names_a_taken_port():
    with contextlib.closing(sockets.bind("127.0.0.1", 0)) as taken:
        taken.listen()
        with pytest.raises(errors.UserError, match="choose another `port` or `host`"):
            sockets.bind("127.0.0.1", taken.getsockname()[1])
