"""Which detectors are used, and what is refused before anything is computed."""

import faces
import numpy as np
import pytest

from fomm_tf import detectors, errors
from fomm_tf.inference.evaluation import METRICS, Settings, settings

ALL = ("akd", "mkr", "aed")


def see(monkeypatch, face, body):
    """Has every frame show a face, or a body, or not."""

    def load(name):
        shows = {"face": face, "body": body}[name]
        box = detectors.Boxes(np.ones([shows]), np.zeros([shows, 4]), np.zeros([shows, 0, 2]))
        return lambda frames: [box] * len(frames)

    monkeypatch.setattr(detectors, "load_boxes", load)


@pytest.mark.parametrize(
    ("face", "body", "points", "embedding"),
    [
        (True, True, "face-points", "face-identity"),
        (False, True, "body-points", None),
        (False, False, None, None),
    ],
)
def test_first_frames_decide_what_is_looked_for(monkeypatch, drawn, face, body, points, embedding):
    see(monkeypatch, int(face), int(body))
    chosen = settings.choose(Settings(metrics=ALL), [drawn / "test" / "one#a", drawn / "test" / "missing"])
    assert (chosen.points, chosen.embedding) == (points, embedding)
    assert f"{int(face)} of 1 first frames show a face, {int(body)} a body" in chosen.note
    lacking = {None: "not measured: akd, mkr, aed", "body-points": "not measured: aed"}.get(points)
    assert lacking is None or lacking in chosen.note


def test_what_is_named_is_taken_and_what_nobody_asks_for_is_not_loaded(monkeypatch):
    monkeypatch.setattr(detectors, "load_boxes", None)
    assert settings.choose(Settings(metrics=("l1", "psnr")), []) == (None, None, "")
    assert settings.choose(Settings(metrics=ALL, detector="faces"), [])[:2] == ("face-points", "face-identity")
    own = Settings(metrics=ALL, detector="judges:find_brightest", embedding="judges:embed_color")
    assert settings.choose(own, []) == ("judges:find_brightest", "judges:embed_color", "")
    bodies = settings.choose(Settings(metrics=ALL, detector="bodies", embedding="judges:embed_color"), [])
    assert bodies == ("body-points", "judges:embed_color", "")
    assert settings.choose(Settings(metrics=("aed",), detector="faces"), [])[:2] == (None, "face-identity")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": ("l1", "fid")}, "some of l1, akd, mkr, .*; got 'fid'"),
        ({"metrics": ()}, "got none"),
        ({"batch_size": 0}, "--batch-size is 0"),
    ],
)
def test_settings_that_will_not_do_are_refused(given, message):
    with pytest.raises(errors.UserError, match=message):
        Settings(**given)


@pytest.mark.parametrize("name", ["hands", "no_such_module:find", "judges:nothing"])
def test_a_detector_that_there_is_not_is_refused(name):
    with pytest.raises(errors.UserError, match="detector"):
        settings.choose(Settings(metrics=("akd",), detector=name), [])
    with pytest.raises(errors.UserError, match="detector"):
        settings.choose(Settings(metrics=("aed",), detector="faces", embedding=name), [])


def test_each_column_is_of_a_metric_that_can_be_asked_for():
    assert set(METRICS) == {metric.asked for metric in settings.COLUMNS.values()}
    assert set(settings.WITHOUT_TRUTH) < set(METRICS)


@pytest.mark.network
@pytest.mark.slow
def test_a_talking_face_is_seen_as_one():
    faces.fetched("detectors")
    clip = faces.faces()["single_face.mp4"]
    chosen = settings.choose(Settings(metrics=ALL), [clip])
    assert chosen.points == "face-points" and chosen.embedding == "face-identity"
