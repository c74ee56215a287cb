"""Separate environments for `make compat` and its tests, built by the Makefile."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def python(name: str) -> pathlib.Path:
    """The interpreter of an environment, created if missing; skips the test if the registries cannot be reached."""
    created = subprocess.run(["make", f"{name}/done"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "No matching distribution" in created.stderr or "Connection" in created.stderr:
        pytest.skip(f"{name} cannot be created: {created.stderr.strip().splitlines()[-1]}")
    assert created.returncode == 0, created.stderr
    return ROOT / name / "bin" / "python"


def run(name: str, script: str, *arguments: str | pathlib.Path) -> str:
    """Runs a script of this directory there, outside of the checkout; prints and returns its stdout."""
    line = [python(name), "-P", pathlib.Path(__file__).with_name(script), *arguments]
    done = subprocess.run(line, cwd=arguments[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    return done.stdout
