"""Command lines of `fomm convert`, and the checkpoints that they read."""

import pathlib

from fomm_tf import cli

DATA = pathlib.Path(__file__).parent / "parity" / "data"
TINY = DATA / "tiny-checkpoint.pth.tar"
STEP5 = DATA / "tiny-step5-checkpoint.pth.tar"
YAML = DATA / "tiny.yaml"


def fail(capfd, *arguments):
    """Runs a command that must fail with a user error; returns its one line."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("fomm: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    return err.removeprefix("fomm: ").rstrip("\n")
