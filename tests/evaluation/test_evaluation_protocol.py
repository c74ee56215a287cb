"""Settings of an evaluation, and the choice of detectors."""

import faces
import numpy as np
import pytest

from fomm_tf import config, detectors, errors
from fomm_tf.evaluation import METRICS, Settings, protocol

ALL = ("akd", "mkr", "aed")


def see(monkeypatch, face, body):
    """Replaces the box detectors by ones that detect the given numbers of faces and bodies."""

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
def test_choose_detectors_by_the_first_frames(monkeypatch, drawn, face, body, points, embedding):
    see(monkeypatch, int(face), int(body))
    chosen = protocol.choose_detectors(Settings(metrics=ALL), [drawn / "test" / "one#a", drawn / "test" / "missing"])
    assert (chosen.points, chosen.embedding) == (points, embedding)
    assert f"{int(face)} of 1 first frames show a face, {int(body)} a body" in chosen.note
    lacking = {None: "there is no detector for them: akd, mkr, aed", "body-points": "for them: aed"}.get(points)
    assert lacking is None or lacking in chosen.note


def test_choose_detectors_takes_named_ones_and_loads_none_that_is_not_needed(monkeypatch):
    monkeypatch.setattr(detectors, "load_boxes", None)
    assert protocol.choose_detectors(Settings(metrics=("l1", "psnr")), []) == (None, None, "")
    assert protocol.choose_detectors(Settings(metrics=ALL, detector="faces"), [])[:2] == (
        "face-points",
        "face-identity",
    )
    own = Settings(metrics=ALL, detector="custom_detectors:find_brightest", embedding="custom_detectors:embed_color")
    assert protocol.choose_detectors(own, []) == ("custom_detectors:find_brightest", "custom_detectors:embed_color", "")
    bodies = protocol.choose_detectors(
        Settings(metrics=ALL, detector="bodies", embedding="custom_detectors:embed_color"), []
    )
    assert bodies == ("body-points", "custom_detectors:embed_color", "")
    assert protocol.choose_detectors(Settings(metrics=("aed",), detector="faces"), [])[:2] == (None, "face-identity")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": ("l1", "fid")}, "some of l1, akd, mkr, .*; got 'fid'"),
        ({"metrics": ()}, "got none"),
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
    ],
)
def test_settings_reject_bad_values(given, message):
    with pytest.raises(errors.UserError, match=message):
        Settings(**given)


@pytest.mark.parametrize("name", ["hands", "no_such_module:find", "custom_detectors:nothing"])
def test_choose_detectors_rejects_an_unknown_detector(name):
    with pytest.raises(errors.UserError, match="detector"):
        protocol.choose_detectors(Settings(metrics=("akd",), detector=name), [])
    with pytest.raises(errors.UserError, match="detector"):
        protocol.choose_detectors(Settings(metrics=("aed",), detector="faces", embedding=name), [])


def test_columns_belong_to_metrics():
    assert set(METRICS) == {column.metric for column in protocol.COLUMNS.values()}
    assert set(protocol.REFERENCE_FREE) < set(METRICS)


@pytest.mark.network
@pytest.mark.slow
def test_choose_detectors_recognizes_a_talking_face():
    faces.fetched("detectors")
    clip = faces.faces()["single_face.mp4"]
    chosen = protocol.choose_detectors(Settings(metrics=ALL), [clip])
    assert chosen.points == "face-points" and chosen.embedding == "face-identity"


def test_list_clips_reads_directories_of_identities(tmp_path):
    for name in ("train/ann/1.mp4", "test/ann/2.mp4", "test/bob/2.mp4", "test/bob/2.mov", "test/out/ann.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    samples = protocol.list_clips(tmp_path, config.DataConfig(), tmp_path / "test" / "out").samples
    assert [(sample.name, sample.group) for sample in samples] == [
        ("ann#2.mp4", "seen"),
        ("bob#2.mov", "unseen"),
        ("bob#2.mp4", "unseen"),
    ]
    (tmp_path / "test" / "bob" / "2.mov").unlink()
    samples = protocol.list_clips(tmp_path / "test", config.DataConfig()).samples
    assert [sample.name for sample in samples] == ["ann#2", "bob#2", "out#ann"]


def test_list_clips_of_empty_directory_shows_layouts(tmp_path):
    with pytest.raises(errors.UserError, match=r"holds no clips; accepted layouts: .*ROOT/test/IDENTITY/CLIP"):
        protocol.list_clips(tmp_path, config.DataConfig())


def test_list_pairs_reads_paths_relative_to_a_directory(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving,truth\na.png,b.mp4,c.mp4\nd.png,b.mp4,\n")
    one, other = protocol.list_pairs(tmp_path, pairs).samples
    assert (one.source, one.driving, one.truth) == tuple(tmp_path / name for name in ("a.png", "b.mp4", "c.mp4"))
    assert (other.source, other.truth) == (tmp_path / "d.png", None)
    with pytest.raises(errors.UserError, match=r"^`data` .*absent is not a directory; give the one that the paths"):
        protocol.list_pairs(tmp_path / "absent", pairs)
