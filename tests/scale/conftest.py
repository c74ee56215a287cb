"""Runners for tests, and the dead-letter table."""

import csv
import os
import pathlib

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
DIRECT = ["--runner", "DirectRunner"]


@pytest.fixture(scope="session")
def direct():
    """Options for a worker in this process."""
    return DIRECT


@pytest.fixture(params=["multi_threading", pytest.param("multi_processing", marks=pytest.mark.conformance)])
def two_workers(request, monkeypatch):
    """Options for two workers, as threads of this process or as processes, each of which imports TensorFlow."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))  # they import finders.py too
    return [*DIRECT, "--direct_num_workers=2", f"--direct_running_mode={request.param}"]


@pytest.fixture(scope="session")
def dead_letters():
    """Reads the dead-letter table of a directory."""

    def read(out):
        with (out / "dead-letters.csv").open(newline="") as file:
            return {row["input"]: row["reason"] for row in csv.DictReader(file)}

    return read
