"""Runners for tests, and the dead-letter table."""

import csv

import pytest

DIRECT = ["--runner", "DirectRunner"]


@pytest.fixture(scope="session")
def direct():
    """Options for a worker in this process."""
    return DIRECT


@pytest.fixture(scope="session")
def two_workers():
    """Options for two worker processes."""
    return [*DIRECT, "--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture(scope="session")
def two_threads():
    """Options for two workers that are threads of this process."""
    return [*DIRECT, "--direct_num_workers=2", "--direct_running_mode=multi_threading"]


@pytest.fixture(scope="session")
def dead_letters():
    """Reads the dead-letter table of a directory."""

    def read(out):
        with (out / "dead-letters.csv").open(newline="") as file:
            return {row["input"]: row["reason"] for row in csv.DictReader(file)}

    return read
