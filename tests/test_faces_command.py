"""`fomm faces`."""

import numpy as np
import pytest
from drawn_discs import DiscDetector, draw

from fomm_tf import detectors, video
from fomm_tf.cli import main


@pytest.fixture(autouse=True)
def discs(monkeypatch):
    monkeypatch.setitem(detectors.BOXES, "face", lambda threads: DiscDetector())


def test_faces_command_lists_faces_from_left_to_right(tmp_path, capsys):
    path = tmp_path / "two.png"
    video.write_image(path, draw((200, 300), (200, 100, 50), (60, 80, 30))[0])
    assert main(["faces", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "FACE  X,Y,W,H         SCORE",
        "1     30,50,61,61     0.90",
        "2     150,50,101,101  0.90   largest",
    ]


def test_faces_command_reports_image_without_face(tmp_path, capsys):
    path = tmp_path / "none.png"
    video.write_image(path, np.zeros([200, 300, 3], np.uint8))
    assert main(["faces", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fomm: {path} shows no face that is found; give a sharp image")
