"""`python train.py`, `python -m export` and their like."""

import pathlib
import runpy
import sys

import pytest

from fomm_tf import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMANDS = {
    "train.py": ["train", "a.yaml"],
    "export/__main__.py": ["export", "a.yaml"],
    "serving/__main__.py": ["serve", "a.yaml"],
    "fomm_tf/__main__.py": ["a.yaml"],
}


@pytest.mark.parametrize("file", COMMANDS)
def test_entry_point_runs_its_command_but_not_in_worker_processes(file, monkeypatch):
    """A process that multiprocessing spawns runs a script again, under another name, but no `__main__.py`."""
    calls = []
    monkeypatch.setattr(cli, "main", lambda argv=None: calls.append(sys.argv[1:] if argv is None else argv) or 7)
    monkeypatch.setattr(sys, "argv", [file, "a.yaml"])
    if not file.endswith("__main__.py"):
        runpy.run_path(str(ROOT / file), run_name="__mp_main__")
        assert not calls
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / file), run_name="__main__")
    assert caught.value.code == 7 and calls == [COMMANDS[file]]
