"""Rendered people: determinism, agreement of ground truth and pixels, resuming, errors."""

import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from fomm_tf import errors
from fomm_tf.data import people
from fomm_tf.data.people import __main__ as command
from fomm_tf.data.people import body, dataset, person, scene, shading

SMALL = {"identities": 2, "test_identities": 1, "clips_per_identity": 1, "frames": 2, "frame_step": 5, "size": 32}


def write(out, **changes):
    return dataset.write(out, **{**SMALL, "seed": 0, "framing": ("talking",), **changes})


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def clips():
    """Frames of four people in lively motion."""
    seeds = [people.Clip(seed, seed + 10, seed + 20, frames=6, step=12, size=64, still=True) for seed in range(4)]
    return [list(people.render(clip)) for clip in seeds]


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "set"
    write(folder, masks=True)
    return folder


def test_render_is_a_function_of_the_seeds(clips):
    repeated = list(people.render(people.Clip(1, 11, 21, frames=6, step=12, size=64, still=True)))
    for frame, other in zip(repeated, clips[1], strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
        np.testing.assert_array_equal(frame.truth.landmarks, other.truth.landmarks)
    assert np.abs(np.int16(clips[0][0].image) - clips[1][0].image).mean() > 5


def test_render_frames_have_declared_shapes_and_types(clips):
    for frame in clips[0]:
        assert frame.image.shape == (64, 64, 3) and frame.image.dtype == np.uint8
        assert frame.face.shape == frame.person.shape == (64, 64)
        assert frame.truth.landmarks.shape == (len(people.landmark_names()), 2)
        assert frame.face.sum() > 200 and not (frame.face & ~frame.person).any()


def test_truth_landmarks_of_the_face_lie_in_its_mask(clips):
    names = people.landmark_names()
    inside = []
    for frame in (frame for clip in clips for frame in clip):
        for name in ("nose_tip", "upper_lip", "lower_lip"):
            column, row = np.rint((frame.truth.landmarks[names.index(name)] + 1) * 31.5).astype(int)
            inside.append(frame.face[row, column])
    assert np.mean(inside) > 0.8


def test_truth_yaw_is_positive_where_the_nose_moves_to_the_right(clips):
    names = people.landmark_names()
    nose, left, right = (names.index(name) for name in ("nose_tip", "left_ear", "right_ear"))
    frames = [frame.truth for clip in clips for frame in clip]
    offsets = [truth.landmarks[nose, 0] - truth.landmarks[[left, right], 0].mean() for truth in frames]
    yaws = [truth.angles[0] for truth in frames]
    assert np.std(yaws) > 3 and np.corrcoef(offsets, yaws)[0, 1] > 0.9
    # The person's left is on the right of the image.
    assert np.mean([truth.landmarks[left, 0] > truth.landmarks[right, 0] for truth in frames]) > 0.9


def test_write_output_is_readable_for_training_and_has_ground_truth(small_set):
    assert sorted(path.name for path in small_set.iterdir()) == [
        "masks",
        "people.json",
        "plan.json",
        "test",
        "train",
        "truth",
    ]
    assert sum(1 for _ in small_set.glob("train/*/*.png")) == 4 and sum(1 for _ in small_set.glob("test/*/*.png")) == 2
    assert sum(1 for _ in small_set.glob("masks/*/*/*.png")) == 6
    truth = json.loads((small_set / "people.json").read_text())
    assert "landmarks" in json.dumps(truth)


def test_write_continues_a_set_and_keeps_finished_clips(small_set, tmp_path):
    shutil.copytree(small_set, tmp_path / "set")
    (tmp_path / "set" / "people.json").unlink()
    missing = next((tmp_path / "set" / "train").iterdir())
    shutil.rmtree(missing)
    (tmp_path / "set" / "truth" / "train" / f"{missing.name}.json").unlink()
    assert "1 of 3 clips drawn in this run" in write(tmp_path / "set", masks=True)
    assert contents(tmp_path / "set") == contents(small_set)


def test_command_killed_while_it_draws_continues_to_the_same_bytes(tmp_path):
    options = ["--identities", "6", "--frames", "3", "--frame-step", "5", "--size", "32", "--processes", "1"]
    out = tmp_path / "killed"
    line = [sys.executable, "-m", "fomm_tf.data.people", "--out", out, *options]
    running = subprocess.Popen(line, cwd=pathlib.Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not list(out.glob("train/0*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert not (out / "people.json").exists()
    # A clip that is there is whole.
    assert {len(list(clip.iterdir())) for clip in out.glob("train/0*")} == {3}
    assert command.main(["--out", str(out), *options]) == 0
    assert command.main(["--out", str(tmp_path / "whole"), *options]) == 0
    written = {path: data for path, data in contents(out).items() if not any(".fomm-" in part for part in path.parts)}
    assert written == contents(tmp_path / "whole")


def test_write_does_not_depend_on_the_number_of_processes(small_set, tmp_path):
    write(tmp_path / "two", masks=True, processes=2)
    assert contents(tmp_path / "two") == contents(small_set)


def test_write_rejects_continuing_with_other_options(small_set):
    with pytest.raises(errors.UserError, match="holds a set with other options \\(seed\\)"):
        write(small_set, masks=True, seed=1)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_pose_blink_closes_the_eyes_and_jaw_opens_the_mouth(seed):
    human, subject = body.load(), person.sample_person(seed, texture_width=128)
    units = np.array([name.startswith("eyeBlink") or name == "jawOpen" for name in human.units], float)
    still = np.zeros((len(human.bones), 3))
    rest, moved = (person.pose(subject, weights, still, np.zeros(3))[0] for weights in (0 * units, units))

    def height(vertices, upper, lower):
        return vertices[human.landmarks[upper], 1] - vertices[human.landmarks[lower], 1]

    for side in ("left", "right"):
        before, after = (height(vertices, f"{side}_upper_lid", f"{side}_lower_lid") for vertices in (rest, moved))
        assert abs(after) < 0.12 * before
    assert height(moved, "upper_lip", "lower_lip") > height(rest, "upper_lip", "lower_lip") + 0.15


def test_shade_is_finite_where_interpolated_shadow_is_negative():
    subject, place = person.sample_person(0, texture_width=128), scene.sample_scene(0, "talking", 1, 32)
    normals = subject.normals(subject.vertices)
    shadow = np.full(len(normals), -1e-7, np.float32)
    attributes = shading.vertex_attributes(subject, normals, shadow)
    triangle = np.arange(len(subject.triangles))
    directions = np.tile(np.float32([0, 0, -1]), (len(triangle), 1))
    mixed = attributes[subject.triangles[:, 0]]
    colors, _ = shading.shade(subject, place, triangle, mixed, directions, 1.0)
    assert np.isfinite(colors).all() and colors.min() >= 0 and colors.max() <= 1


def test_write_draws_clips_independently(small_set, tmp_path):
    write(tmp_path / "one", identities=1, test_identities=0)
    (clip,) = (tmp_path / "one" / "train").iterdir()
    assert contents(clip) == contents(small_set / "train" / clip.name)


def test_write_transfers_gives_pairs_with_true_animations(tmp_path):
    write(tmp_path / "pairs", transfers=1)
    header, row = (tmp_path / "pairs" / "pairs.csv").read_text().splitlines()
    assert header.split(",") == ["source", "driving", "truth"]
    assert all((tmp_path / "pairs" / path).exists() for path in row.split(","))


def test_write_rejects_non_empty_directory(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(errors.UserError):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--size", "16"], "--size must be at least 32; got 16"),
        (["--identities", "0"], "--identities must be at least 1; got 0"),
        (["--amount", "2"], "--amount must be above 0 and at most 1; got 2"),
        (["--framing", "profile"], "invalid choice: 'profile'"),
    ],
)
def test_command_reports_invalid_arguments_in_one_line(change, expected, tmp_path, capsys):
    assert command.main(["--out", str(tmp_path / "out"), *change]) == 2
    message = capsys.readouterr().err
    assert expected in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_render_rejects_an_unknown_framing():
    with pytest.raises(errors.UserError, match=r"framing. must be one of talking, portrait, figure; got 'profile'"):
        next(people.render(people.Clip(0, 0, 0, framing="profile")))
