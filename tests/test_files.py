"""Atomic writes, locks and fingerprints."""

import json
import multiprocessing
import os

import pytest

from fomm_tf import errors, files


def test_replace_atomically_leaves_the_old_file_when_the_block_raises(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replace_atomically(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_replace_atomically_replaces_a_directory_as_a_whole(tmp_path):
    path = tmp_path / "new" / "clip"
    for name in ("one", "two"):
        with files.replace_atomically(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert os.listdir(path) == ["two"] and os.listdir(path.parent) == ["clip"]


def test_replace_atomically_names_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(errors.UserError, match="file is not a directory; choose another place"),
        files.replace_atomically(tmp_path / "file" / "a"),
    ):
        pass


def test_remove_temporary_files_leaves_everything_else(tmp_path):
    (tmp_path / ".fomm-killed").mkdir()
    (tmp_path / ".fomm-killed" / "half").touch()
    (tmp_path / "kept").touch()
    files.remove_temporary_files([tmp_path, tmp_path / "missing"])
    assert os.listdir(tmp_path) == ["kept"]


def test_write_csv_and_write_json_can_be_read_back(tmp_path):
    files.write_csv(tmp_path / "a.csv", ["name", "count"], [["x,y", 1], ["z", 2]])
    assert (tmp_path / "a.csv").read_text() == 'name,count\n"x,y",1\nz,2\n'
    files.write_json(tmp_path / "a.json", {"a": [1, 2]})
    assert files.read_json(tmp_path / "a.json") == {"a": [1, 2]}


def test_read_json_names_a_missing_and_a_broken_file(tmp_path):
    with pytest.raises(errors.UserError, match=r"gone\.json cannot be read"):
        files.read_json(tmp_path / "gone.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(errors.UserError, match=r"a\.json is not valid JSON"):
        files.read_json(tmp_path / "a.json")


def _hold(path, ready, done):
    with files.lock(path):
        ready.set()
        done.wait(60)


def test_lock_is_exclusive_between_processes(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", ready, done))
    process.start()
    assert ready.wait(60)
    with pytest.raises(BlockingIOError), files.lock(tmp_path / "lock"):
        pass
    done.set()
    process.join()
    with files.lock(tmp_path / "lock"):
        pass


def test_fingerprint_changes_with_size_time_and_values(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    first = files.fingerprint(path)
    assert files.fingerprint(path) == first != files.fingerprint(path, 2)
    os.utime(path, (1, 1))
    assert files.fingerprint(path) != first and files.fingerprint(tmp_path) != first
    assert files.fingerprint(tmp_path / "missing") == b""
    assert json.dumps(files.digest("a", 1).hex()) != json.dumps(files.digest("a", 2).hex())


@pytest.mark.parametrize("path", ["a\0b", "folder/\0/a.png"])
def test_check_name_rejects_a_nul_byte(path):
    with pytest.raises(errors.UserError, match=r"the name .* has a NUL byte; remove it"):
        files.check_name(path)
