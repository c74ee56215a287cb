"""The detector that finds drawn discs in place of faces."""

import pytest
from drawn_discs import DiscDetector

from fomm_tf import detectors


@pytest.fixture
def discs(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: True)
    monkeypatch.setitem(detectors.BOXES, "face", lambda threads: DiscDetector())
    monkeypatch.delitem(detectors.POINTS, "face-points")
