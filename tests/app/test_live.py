"""Live animation: the same frames as from a video, recentering, and the sessions of the page."""

import base64
import dataclasses

import disc_engine
import drawn_discs
import numpy as np
import pytest

from fomm_tf import detectors, errors
from fomm_tf.app import live

PLAIN = live.Settings(smooth=0)


@pytest.fixture
def animated():
    return live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), PLAIN)


def center(frame):
    rows, columns = np.nonzero(frame[..., 0] > 128)
    return round(columns.mean()), round(rows.mean())


def test_live_frames_equal_those_of_a_video(animated):
    frames = [disc_engine.draw((20 + index, 32)) for index in range(4)]
    expected = list(disc_engine.load().animate(disc_engine.draw((24, 40)), frames, mode="relative"))
    np.testing.assert_array_equal([animated(frame) for frame in frames], expected)


def test_recenter_starts_relative_motion_again(animated):
    animated(disc_engine.draw((20, 32)))
    assert center(animated(disc_engine.draw((30, 32)))) == (34, 40)
    animated.recenter()
    assert center(animated(disc_engine.draw((30, 32)))) == (24, 40)
    assert center(animated(disc_engine.draw((33, 32)))) == (27, 40)


def test_absolute_mode_takes_the_pose_itself():
    animated = live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), live.Settings("absolute", 0))
    assert center(animated(disc_engine.draw((30, 32)))) == (30, 32)


def test_smoothing_reduces_jitter_and_forgets_it_when_recentered():
    animated = live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), live.Settings(smooth=10))
    animated(disc_engine.draw((20, 32)))
    assert center(animated(disc_engine.draw((26, 32))))[0] < 30
    animated.recenter()
    assert center(animated(disc_engine.draw((26, 32)))) == (24, 40)


def test_frames_of_any_size_are_fitted(animated):
    assert animated(np.zeros([90, 160, 3], np.uint8)).shape == (64, 64, 3)


def test_settings_are_checked():
    with pytest.raises(errors.UserError, match="motion_strength"):
        live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), live.Settings(strength=-1))


def test_sessions_drop_frames_that_come_too_late(animated):
    sessions = live.LiveSessions(1)
    token = sessions.open("a", animated)
    image = live.encode(disc_engine.draw((20, 32)))
    assert live.decode(sessions.animate(token, 1, image)).shape == (64, 64, 3)
    assert sessions.animate(token, 0, image) is None
    assert sessions.animate(token, 2, image)


def test_sessions_are_bounded_and_end(animated):
    sessions = live.LiveSessions(1)
    token = sessions.open("a", animated)
    with pytest.raises(errors.UserError, match="The limit of 1 cameras is reached"):
        sessions.open("b", animated)
    again = sessions.open("a", animated)  # ends the first one
    with pytest.raises(errors.UserError, match="The camera was stopped"):
        sessions.animate(token, 0, "")
    sessions.close("a")
    assert again != token and sessions.open("b", animated)


def test_sessions_without_frames_expire(animated, monkeypatch):
    sessions = live.LiveSessions(1)
    sessions.open("a", animated)
    monkeypatch.setattr(live, "_IDLE_SECONDS", 0.0)
    assert sessions.open("b", animated)


@pytest.mark.parametrize("size", [(64, 64), (2000, 2000)])
def test_decode_rejects_what_is_no_small_jpeg(size):
    if size == (64, 64):
        text = base64.b64encode(b"GIF89a" + bytes(50)).decode()
    else:
        text = live.encode(np.zeros([*size, 3], np.uint8))
    with pytest.raises(errors.UserError, match="must be a JPEG file of at most"):
        live.decode(text)


@pytest.mark.parametrize(("text", "match"), [("no base64!", "must be a JPEG"), ("A" * 500_000, "expected at most")])
def test_decode_rejects_damaged_text(text, match):
    with pytest.raises(errors.UserError, match=match):
        live.decode(text)


def test_recenter_is_for_the_sessions_of_its_visitor(animated):
    sessions, other = live.LiveSessions(2), live.LiveAnimator(disc_engine.load(), disc_engine.draw((24, 40)), PLAIN)
    sessions.open("a", animated)
    sessions.open("b", other)
    for each in (animated, other):
        each(disc_engine.draw((20, 32)))
    sessions.recenter("a")
    assert center(animated(disc_engine.draw((30, 32)))) == (24, 40)
    assert center(other(disc_engine.draw((30, 32)))) == (34, 40)


def test_decode_rejects_a_damaged_jpeg():
    data = base64.b64decode(live.encode(np.zeros([64, 64, 3], np.uint8)))
    table = data.index(b"\xff\xdb")  # of quantization; libjpeg needs it
    length = int.from_bytes(data[table + 2 : table + 4], "big")
    with pytest.raises(errors.UserError, match="A frame of the camera is damaged"):
        live.decode(base64.b64encode(data[:table] + data[table + 2 + length :]).decode())


def test_live_crops_the_camera_to_the_face(monkeypatch):
    """Motion in the crop is larger than in the whole frame; a first frame without a face uses its center."""
    monkeypatch.setattr(detectors, "are_installed", lambda: True)
    monkeypatch.setitem(detectors.BOXES, "face", lambda threads: drawn_discs.DiscDetector())
    model = disc_engine.load()
    model.config = dataclasses.replace(model.config, animate=dataclasses.replace(model.config.animate, crop="face"))
    animated = live.LiveAnimator(model, disc_engine.draw((32, 32)), PLAIN)
    assert animated.is_cropped

    def move(first):
        animated.recenter()
        places = [center(animated(first))]
        places += [center(animated(drawn_discs.draw((320, 320), (x, 160, 40))[0])) for x in (160, 180)]
        return places[2][0] - places[1][0]

    whole = move(np.zeros([320, 320, 3], np.uint8))
    assert whole == pytest.approx(20 * 64 / 320, abs=1)
    assert move(drawn_discs.draw((320, 320), (160, 160, 40))[0]) >= whole + 2
