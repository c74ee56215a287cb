"""Detectors by name: built-in ones, custom ones, and error messages."""

import subprocess
import sys

import faces
import numpy as np
import pytest

from fomm_tf import detectors, errors, fetch
from fomm_tf.detectors import networks

FRAMES = np.zeros([3, 8, 8, 3], np.uint8)
PLUGIN = """
import numpy as np
def boxes(frames): return [([0.5], [[1, 2, 3, 4]])] * len(frames)
def face_boxes(frames): return [([0.9, 0.5], [[1, 2, 3, 4]] * 2, np.zeros([2, 6, 2])) for _ in frames]
def points(frames): return np.ones([len(frames), 5, 2]), np.linspace(0, 1, 5) * np.ones([len(frames), 1])
def embed(frames): return np.ones([len(frames), 7]), np.ones(len(frames), bool)
def column(frames): return np.ones([len(frames), 7]), np.ones([len(frames), 1], bool)
def nothing(frames): return None
def text(frames): return ["a"] * len(frames)
def short(frames): return points(frames[1:])
def flat(frames): return np.ones([len(frames), 5]), np.ones([len(frames), 5])
def one_box(frames): return boxes(frames[1:])
def three_corners(frames): return [([0.5], [[1, 2, 3]])] * len(frames)
def bug(frames): raise ZeroDivisionError
value = 3
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch):
    (tmp_path / "custom_plugin.py").write_text(PLUGIN)
    (tmp_path / "broken_detectors.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_load_boxes_accepts_custom_function_with_or_without_points():
    found = detectors.load_boxes("custom_plugin:boxes")(FRAMES)
    assert len(found) == 3
    assert [part.shape for part in found[0]] == [(1,), (1, 4), (1, 0, 2)]
    assert detectors.load_boxes("custom_plugin:face_boxes")(FRAMES)[2].points.shape == (2, 6, 2)


def test_load_points_accepts_custom_function():
    points = detectors.load_points("custom_plugin:points")(FRAMES)
    assert isinstance(points, detectors.Points)
    assert points.value.dtype == points.visibility.dtype == np.float32
    np.testing.assert_array_equal(points.found, [[False, False, True, True, True]] * 3)


def test_load_embedding_accepts_custom_function():
    embeddings = detectors.load_embedding("custom_plugin:embed")(FRAMES)
    assert isinstance(embeddings, detectors.Embeddings)
    assert embeddings.value.shape == (3, 7)


@pytest.mark.parametrize(
    ("load", "name", "got"),
    [
        (detectors.load_boxes, "nothing", r"for each of 3|NoneType"),
        (detectors.load_boxes, "one_box", "list"),
        (detectors.load_boxes, "three_corners", "list"),
        (detectors.load_boxes, "points", r"tuple \[3, 5, 2\] \[3, 5\]"),
        (detectors.load_points, "nothing", "NoneType"),
        (detectors.load_points, "text", "list"),
        (detectors.load_points, "short", r"tuple \[2, 5, 2\] \[2, 5\]"),
        (detectors.load_points, "flat", r"tuple \[3, 5\] \[3, 5\]"),
        (detectors.load_points, "embed", r"tuple \[3, 7\] \[3\]"),
        (detectors.load_embedding, "points", r"tuple \[3, 5, 2\] \[3, 5\]"),
        (detectors.load_embedding, "column", r"tuple \[3, 7\] \[3, 1\]"),
        (detectors.load_embedding, "text", "list"),
    ],
)
def test_custom_detector_with_wrong_result_is_an_error(load, name, got):
    detect = load(f"custom_plugin:{name}")
    with pytest.raises(
        errors.UserError, match=rf"custom_plugin:{name} must return .*; got, for 3, ({got})\."
    ) as caught:
        detect(FRAMES)
    assert "\n" not in str(caught.value)


def test_custom_detector_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        detectors.load_points("custom_plugin:bug")(FRAMES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.to_be:found", r"cannot be imported \(No module named 'nowhere'\); .* PYTHONPATH"),
        ("broken_detectors:points", "cannot be imported .No module named 'nowhere_to_be_found'"),
        (":points", "cannot be imported"),
        (".relative:points", "cannot be imported"),
        ("custom_plugin:missing", "custom_plugin has no callable 'missing'; give module:function"),
        ("custom_plugin:value", "no callable 'value'"),
        ("custom_plugin:", "no callable ''"),
    ],
)
def test_load_points_reports_import_errors_in_one_line(name, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        detectors.load_points(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "known"),
    [
        (detectors.load_boxes, "face, body"),
        (detectors.load_points, "face-points, body-points"),
        (detectors.load_embedding, "face-identity"),
    ],
)
def test_load_lists_known_names_for_unknown_name(load, known):
    with pytest.raises(
        errors.UserError, match=rf"no detector 'fase' of this kind; give {known}, or .* module:function"
    ):
        load("fase")


@pytest.fixture
def offline_cache(tmp_path, monkeypatch):
    """An empty cache, and no registry."""
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path / "cache"))
    for name in ("PIP_NO_INDEX", "npm_config_offline"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return tmp_path / "cache" / "detectors"


@pytest.mark.parametrize("name", [*detectors.BOXES, *detectors.POINTS, *detectors.EMBEDDINGS])
def test_load_reports_failed_download_in_one_line(name, offline_cache):
    load = next(
        load
        for load, names in (
            (detectors.load_boxes, detectors.BOXES),
            (detectors.load_points, detectors.POINTS),
            (detectors.load_embedding, detectors.EMBEDDINGS),
        )
        if name in names
    )
    with pytest.raises(fetch.UnavailableError, match=r"mediapipe 0\.10\.21 cannot be downloaded") as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x1c\x00\x00\x00TFL3" + bytes(5000)], ids=["empty", "changed"])
def test_damaged_network_is_removed_from_the_cache(content, offline_cache):
    name = "face_detection_short_range.tflite"
    offline_cache.mkdir(parents=True)
    (offline_cache / name).write_bytes(content)
    with pytest.raises(fetch.UnavailableError, match="cannot be downloaded"):
        networks.TFLiteModel(name, threads=1)
    assert not (offline_cache / name).exists()


@pytest.mark.network
def test_load_finds_built_in_detectors():
    faces.fetched("detectors")
    assert isinstance(detectors.load_boxes("face"), detectors.FaceBoxes)
    assert isinstance(detectors.load_points("body-points", threads=2), detectors.BodyPoints)


def test_import_does_not_load_tensorflow():
    program = "import sys; from fomm_tf import detectors; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
