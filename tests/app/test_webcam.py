"""`fomm webcam`: a video stands in for the camera."""

import sys
import threading
import types
from unittest import mock

import disc_engine
import numpy as np
import pytest

from fomm_tf import cli, errors, video
from fomm_tf.app import live, webcam
from fomm_tf.cli import app

PLAIN = live.Settings(smooth=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return disc_engine.write_files(tmp_path_factory.mktemp("files"))


class Screen:
    """An output that keeps frames and presses keys."""

    def __init__(self, keys=()):
        self.frames, self.keys = [], list(keys)

    def show(self, frame):
        self.frames.append(frame)
        return self.keys.pop(0) if self.keys else -1


def column(frame):
    return np.nonzero(frame[..., 0] > 128)[1].mean()


def run(path, screen, **options):
    animated = live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), PLAIN)
    return webcam.run(animated, webcam.Camera(str(path)), [screen], **options)


def test_run_moves_the_source_with_the_camera(files):
    screen = Screen()
    summary = run(files[1], screen, mirror=False)
    columns = [column(frame) for frame in screen.frames]
    assert columns[0] == pytest.approx(24, abs=0.5) and columns == sorted(columns) and columns[-1] > columns[0]
    assert summary.frames == len(columns) and summary.frames + summary.dropped == 12
    assert summary.fps > 0 and summary.latency > 0


def test_run_mirrors_the_camera(files):
    screen = Screen()
    run(files[1], screen)
    columns = [column(frame) for frame in screen.frames]
    assert columns == sorted(columns, reverse=True) and columns[-1] < columns[0]


def test_run_ends_and_recenters_by_keys(files):
    screen = Screen([-1, ord("r"), ord("q")])
    assert run(files[1], screen, mirror=False).frames == 3
    assert column(screen.frames[2]) == pytest.approx(24, abs=0.5)


def test_camera_drops_frames_that_are_not_used(files, monkeypatch):
    """While the first frame is used, the others come, and only the newest one is kept."""
    monkeypatch.setattr(webcam.time, "sleep", lambda seconds: None)
    camera = webcam.Camera(str(files[1]))
    camera._thread.join()
    assert len(list(camera.frames())) == 1 and camera.dropped == 11


def test_camera_that_cannot_be_opened_is_named():
    with pytest.raises(errors.UserError, match="`camera` 99 cannot be opened"):
        webcam.Camera(99)


@pytest.fixture
def capture(monkeypatch):
    """A camera of three frames, in OpenCV's order of colors."""
    frames = [np.full([4, 6, 3], [blue, 20, 30], np.uint8) for blue in (0, 1, 2)]
    capture = mock.Mock()
    capture.read.side_effect = [*((True, frame) for frame in frames), (False, None)]
    monkeypatch.setattr(webcam.cv2, "VideoCapture", lambda number: capture)
    return capture


def test_camera_reads_rgb_frames_until_it_is_unplugged(capture):
    camera = webcam.Camera(0)
    frames = [frame for frame, _ in camera.frames()]
    assert frames[-1][0, 0].tolist() == [30, 20, 2] and len(frames) + camera.dropped == 3
    capture.release.assert_called_once_with()


def test_run_rejects_a_camera_without_frames():
    camera = mock.Mock(frames=lambda: iter(()))
    with pytest.raises(errors.UserError, match="`camera` shows no frames; choose another one"):
        webcam.run(mock.Mock(), camera, [])
    camera.close.assert_called_once_with()


def test_camera_reports_a_file_that_breaks_off(files, tmp_path):
    (tmp_path / "bad.mp4").write_text("text")
    with pytest.raises(errors.UserError, match=r"bad\.mp4"):
        webcam.Camera(str(tmp_path / "bad.mp4"))


def test_virtual_camera_sends_frames(monkeypatch):
    sent, closed = [], threading.Event()
    camera = types.SimpleNamespace(device="/dev/video9", send=sent.append, close=closed.set)
    module = types.SimpleNamespace(Camera=lambda width, height, fps: camera)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    lines = []
    with webcam.open_outputs((64, 64), False, True, None, lines.append) as outputs:
        outputs[0].show("frame")
    assert sent == ["frame"] and closed.is_set() and lines == ["virtual camera: /dev/video9"]


def test_virtual_camera_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(errors.UserError, match="pip install pyvirtualcam"):
        webcam.VirtualCamera((64, 64))

    def fail(**sizes):
        raise RuntimeError("no device")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", types.SimpleNamespace(Camera=fail))
    with pytest.raises(errors.UserError, match="has no driver"):
        webcam.VirtualCamera((64, 64))


def test_webcam_command_shows_a_window_until_its_key(files, capsys, monkeypatch):
    shown, closed = [], []
    monkeypatch.setattr(webcam.cv2, "namedWindow", lambda title: None)
    monkeypatch.setattr(webcam.cv2, "imshow", lambda title, frame: shown.append(frame))
    monkeypatch.setattr(webcam.cv2, "waitKey", lambda milliseconds: ord("q"))
    monkeypatch.setattr(webcam.cv2, "destroyAllWindows", lambda: closed.append(True))
    monkeypatch.setattr(app, "_load", lambda *_: disc_engine.load())
    assert cli.main(["webcam", "--source", str(files[0]), "--camera", str(files[1])]) == 0
    assert len(shown) == 1 and shown[0][0, 0].tolist() == [60, 40, 20] and closed == [True]
    assert capsys.readouterr().out.splitlines()[:2] == ["device: CPU", "q ends, r recenters"]


@pytest.mark.slow
def test_webcam_command_writes_a_video_of_the_bundled_model(files, tmp_path, capsys):
    out = tmp_path / "live.mp4"
    line = ["--source", str(files[0]), "--camera", str(files[1]), "--no-window", "--out", str(out)]
    assert cli.main(["webcam", *line]) == 0
    frames = list(video.open_video(out))
    shown = capsys.readouterr().out
    assert shown.startswith("device: ") and f"\n{len(frames)} frames, " in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--no-window"], "--no-window leaves nothing to show; give --virtual-camera or --out too."),
        (["--out", "clip.txt"], "clip.txt: the suffix of a video must be one of"),
        (["--out", "SOURCE"], "is the same file or directory as the input"),
    ],
)
def test_webcam_command_reports_mistakes_before_it_loads_a_model(files, arguments, line, capsys):
    arguments = [str(files[0]) if word == "SOURCE" else word for word in arguments]
    assert cli.main(["webcam", "--source", str(files[0]), *arguments]) == 2
    assert line in capsys.readouterr().err
