"""Options of Beam for tests."""

import pytest

DIRECT = ["--runner", "DirectRunner"]


@pytest.fixture(scope="session")
def two_workers():
    """Two worker processes, each of which has imported nothing yet."""
    return [*DIRECT, "--direct_num_workers=2", "--direct_running_mode=multi_processing"]
