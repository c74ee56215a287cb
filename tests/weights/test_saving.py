"""Saving checkpoints: failures keep the old file; values that cannot be stored are named."""

import os

import numpy as np
import pytest
from weight_files import (
    make_tree,
)

from fomm_tf import errors, weights
from fomm_tf.weights import containers


@pytest.mark.parametrize("exception", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_save_keeps_old_file_when_it_fails(exception, tmp_path, monkeypatch):
    weights.save(tmp_path / "a.pth.tar", {"epoch": 1})
    before = (tmp_path / "a.pth.tar").read_bytes()
    write_record, written = containers._write_record, []

    def fail_at_third(archive, name, data):
        written.append(name)
        if len(written) == 3:
            raise exception
        write_record(archive, name, data)

    monkeypatch.setattr(containers, "_write_record", fail_at_third)
    for name in ("a.pth.tar", "new.pth.tar"):
        written.clear()
        with pytest.raises((errors.UserError, KeyboardInterrupt)) as caught:
            weights.save(tmp_path / name, make_tree())
        if isinstance(exception, OSError):
            assert f"{name} (No space left on device)" in str(caught.value)
    assert os.listdir(tmp_path) == ["a.pth.tar"] and (tmp_path / "a.pth.tar").read_bytes() == before


def test_save_rejects_path_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match=r"file is not a directory; choose another place"):
        weights.save(tmp_path / "file" / "a.pth", {})


@pytest.mark.parametrize(
    ("tree", "what"),
    [
        ([1], "a checkpoint must be a dictionary; got list"),
        ({"g": {"w": np.zeros(2, complex)}}, r"tree\.g\.w is a array of complex128"),
        ({"g": [1, {1}]}, r"tree\.g\.1 is a set"),
        ({"g": {(1, 2): 1}}, r"tree\.g is a dict with other keys"),
        ({"g": {True: 1}}, r"tree\.g is a dict with other keys"),
        ({"g": 1 << 70}, r"tree\.g is a int"),
        ({"g": np.array(["x"])}, r"tree\.g is a array of <U1"),
    ],
)
def test_save_names_value_that_cannot_be_stored(tree, what, tmp_path):
    with pytest.raises(errors.UserError, match=what):
        weights.save(tmp_path / "a.pth", tree)
    assert os.listdir(tmp_path) == []


def test_save_rejects_recursive_tree(tmp_path):
    tree = {}
    tree["self"] = tree
    with pytest.raises(errors.UserError, match="recursion"):
        weights.save(tmp_path / "a.pth", tree)
    assert os.listdir(tmp_path) == []
