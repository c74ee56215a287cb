"""Where the files for `fomm animate` are, and what its errors have in common."""

import pathlib

from fomm_tf import cli

DATA = pathlib.Path(__file__).parent / "parity" / "data"


def assert_user_error(capsys, argv, *words):
    capsys.readouterr()
    assert cli.main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def folder_of(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())
