"""Rows and columns of each kind of figure, and the frames that it shows."""

import types

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, errors, structures, video
from fomm_tf.experiments import figures
from fomm_tf.inference import stream

TWO = figures.Inputs(["s", "t"], ["S", "T"], [0.4, 0.8], ["D1", "D2"], "D0")
ONE = TWO._replace(names=["s"], sources=["S"])


def outputs(name, count, occlusion=True):
    """Text instead of images: `R-result-s1` is the result of run R for source s in frame 1."""
    panels = ["result", "deformed", "masks", *(["occlusion"] if occlusion else [])]
    shown = [{panel: [f"{name}-{panel}-{s}{d}" for d in (1, 2)] for panel in panels} for s in "st"[:count]]
    marked = [f"{name}*{s}" for s in "st"[:count]], [f"{name}*D1", f"{name}*D2"]
    return figures.Outputs(name, ["S", "T"][:count], ["D1", "D2"], *marked, shown)


def rows_of(kind, found, *runs):
    rows, columns = figures.KINDS[kind].rows(found, runs)
    assert all(len(row.cells) == len(columns) for row in rows)
    return [(row.label, row.cells, row.starts_group) for row in rows], columns


def test_reconstruction_has_one_row_per_run_below_the_clip():
    rows, columns = rows_of("reconstruction", ONE, outputs("A", 1), outputs("B", 1))
    assert columns == ["first frame", "0.40 s", "0.80 s"]
    assert rows == [
        ("driving", [None, "D1", "D2"], False),
        ("A", ["S", "A-result-s1", "A-result-s2"], False),
        ("B", [None, "B-result-s1", "B-result-s2"], False),
    ]


def test_animation_groups_rows_by_source():
    rows, _ = rows_of("animation", TWO, outputs("A", 2), outputs("B", 2))
    assert [(label, cells[0], starts_group) for label, cells, starts_group in rows[1:]] == [
        ("A", "S", True),
        ("B", None, False),
        ("A", "T", True),
        ("B", None, False),
    ]
    assert rows[4][1][1:] == ["B-result-t1", "B-result-t2"]
    assert [row[0] for row in rows_of("animation", TWO, outputs("A", 2))[0]] == ["driving", "s", "t"]


def test_keypoints_has_sources_and_frames_in_one_row_per_run():
    rows, columns = rows_of("keypoints", TWO, outputs("A", 2), outputs("B", 2))
    assert columns == ["s", "t", "0.40 s", "0.80 s"]
    assert rows[1] == ("B", ["B*s", "B*t", "B*D1", "B*D2"], False)


def test_motion_has_one_group_per_source_and_run_and_skips_missing_occlusion():
    rows, _ = rows_of("motion", ONE, outputs("A", 1), outputs("B", 1, occlusion=False))
    assert [row[0] for row in rows] == [
        *("A", "deformed", "occlusion", "masks", "result"),
        *("B", "deformed", "masks", "result"),
    ]
    assert [row[2] for row in rows].count(True) == 1
    assert rows[0][1] == ["A*s", "A*D1", "A*D2"] and rows[6][1] == [None, "B-deformed-s1", "B-deformed-s2"]


def clip(folder, count):
    with video.write_video(folder, 25) as writer:
        for number in range(count):
            writer.write(np.full((16, 16, 3), 10 * number, np.uint8))
    return str(folder)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [10]), (2, [5, 10]), (5, [2, 4, 6, 8, 10]), (10, list(range(1, 11))), (11, list(range(11))), (50, range(11))],
)
def test_read_inputs_spreads_frames_over_the_clip(tmp_path, count, expected):
    found = figures.read_inputs([], clip(tmp_path / "clip", 11), count)
    assert [int(frame[0, 0, 0]) // 10 for frame in found.frames] == list(expected)
    assert found.times == [number / 25 for number in expected] and (found.first == 0).all()


def test_read_inputs_of_a_part_of_the_clip(tmp_path):
    found = figures.read_inputs([], clip(tmp_path / "clip", 11), 2, start=0.16, duration=0.2)
    assert [int(frame[0, 0, 0]) // 10 for frame in (found.first, *found.frames)] == [4, 6, 8]


def test_read_inputs_rejects_zero_frames(tmp_path):
    with pytest.raises(errors.UserError, match="`frames` must be at least 1; got 0"):
        figures.read_inputs([], clip(tmp_path / "clip", 3), 0)


def test_render_of_a_model_without_keypoints_and_masks_has_neither(monkeypatch):
    x2face = config.ModelConfig(kind="x2face", frame_size=(128, 128), occlusion=False, jacobian=False)
    settings = config.Config(model=x2face)
    model = types.SimpleNamespace(config=settings, detect=lambda frames: None, encode_source=lambda source: source)
    image, frame = (np.full((128, 128, 3), gray, np.uint8) for gray in (51, 102))

    def render_stream(model, source, driving, transfer, **_):
        images = tf.constant(np.stack([source] * len(driving)), tf.float32) / 255
        yield None, structures.Rendering(images, images)

    monkeypatch.setattr(stream, "render_stream", render_stream)
    inputs = figures.Inputs(["s"], [image], [0.4], [frame], frame)
    outputs = figures.render("A", model, inputs, settings.animate, height=64)
    assert [set(panels) for panels in outputs.panels] == [{"result", "deformed"}]
    rows, _ = figures.KINDS["motion"].rows(inputs, [outputs])
    assert [row.label for row in rows] == ["driving", "deformed", "result"]
    assert (outputs.panels[0]["result"][0] == 51).all()
    # The larger images are unmarked.
    (marked_source,), (marked_frame,) = outputs.marked_sources, outputs.marked_frames
    assert marked_source.shape == (64, 64, 3) and (marked_source == 51).all() and (marked_frame == 102).all()
