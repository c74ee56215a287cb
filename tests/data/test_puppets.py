"""Puppets: drawn the same from the same seeds, labeled correctly, with enough motion and variety."""

import itertools
import time

import numpy as np
import pytest
from scipy import interpolate

from fomm_tf import errors, video
from fomm_tf.data import puppets
from fomm_tf.data.puppets import figure, sampling, sprites, textures
from fomm_tf.opencv import cv2

pytestmark = pytest.mark.slow

# Colors that no puppet wears, to find a part by.
MARK = (1.0, 0.0, 1.0)
OTHER_MARK = (0.0, 1.0, 0.0)
FRAMINGS = (sampling._FIGURE, sampling._BUST)
TWIN = {f"{a}_{part}": f"{b}_{part}" for part in ("hand", "foot") for a, b in (("left", "right"), ("right", "left"))}


def _changed(identity, pose, size, **parts):
    """Where a frame changes with the color of a part: the pixels that show it."""
    images = []
    for mark in (MARK, OTHER_MARK):
        marked = identity._replace(colors=identity.colors._replace(**dict.fromkeys(parts, mark)))
        images.append(puppets.draw(marked, pose, size).astype(int))
    return np.abs(images[0] - images[1]).max(axis=-1) > 60


def _pixel(value, size):
    height, width = (size, size) if isinstance(size, int) else size
    return (value[1] + 1) / 2 * (height - 1), (value[0] + 1) / 2 * (width - 1)


def _clips(count, frames, size=64):
    """Joints of several clips, `[count, frames, J, 2]` in [-1, 1], and their visibility."""
    labels = [
        [puppets.label(puppets.sample_identity(100 + i), pose, size) for pose in puppets.sample_motion(i, frames)]
        for i in range(count)
    ]
    value = np.array([[frame.value for frame in clip] for clip in labels])
    return value, np.array([[frame.visible for frame in clip] for clip in labels])


def test_draw_is_a_function_of_the_seeds():
    def draw(who, how):
        sprites.draw_sprites.cache_clear()
        textures.draw_background.cache_clear()
        return [
            puppets.draw(puppets.sample_identity(who), pose, 64).tobytes() for pose in puppets.sample_motion(how, 4)
        ]

    first = draw(3, 5)
    assert draw(3, 5) == first
    assert draw(4, 5) != first
    assert draw(3, 6) != first


def test_draw_does_not_depend_on_previous_frames():
    identity, poses = puppets.sample_identity(1), puppets.sample_motion(1, 6)
    forwards = [puppets.draw(identity, pose, 48) for pose in poses]
    backwards = [puppets.draw(identity, pose, 48) for pose in poses[::-1]][::-1]
    np.testing.assert_array_equal(forwards, backwards)


@pytest.mark.parametrize("size", [32, (32, 32), (33, 47), (48, 128), (130, 40), 256])
def test_draw_returns_the_requested_size(size):
    frame = puppets.draw(puppets.sample_identity(0), puppets.Pose(), size)
    assert frame.shape == (*((size, size) if isinstance(size, int) else size), 3)
    assert frame.dtype == np.uint8
    assert frame.std() > 10


@pytest.mark.parametrize("size", [31, (64, 8), (0, 64)])
def test_draw_and_label_reject_sizes_below_32(size):
    with pytest.raises(errors.UserError, match="at least 32"):
        puppets.draw(puppets.sample_identity(0), puppets.Pose(), size)
    with pytest.raises(errors.UserError, match="at least 32"):
        puppets.label(puppets.sample_identity(0), puppets.Pose(), size)


def test_draw_small_frame_equals_downsampled_large_frame():
    identity = puppets.sample_identity(2)
    for pose in puppets.sample_motion(2, 4):
        small = puppets.draw(identity, pose, 64).astype(int)
        reduced = video.resize(puppets.draw(identity, pose, 256), (64, 64)).astype(int)
        assert np.abs(small - reduced).mean() < 5


def test_draw_antialiases_subpixel_motion():
    identity = puppets.sample_identity(5)
    frames = [puppets.draw(identity, puppets.Pose(x=i / 1000), 64).astype(int) for i in range(12)]
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert min(steps) > 0
    assert max(steps) < 1.5


def test_draw_takes_the_time_of_a_few_warps():
    """About seven warps, or 1.7 ms, on one thread of an Intel Xeon."""
    identity, poses = puppets.sample_identity(0), puppets.sample_motion(0, 50)
    side = 64 * puppets.OVERSAMPLING
    canvas, turn = np.random.default_rng(0).random((side, side, 4), np.float32), np.float32([[1, 0.1, 0], [-0.1, 1, 0]])
    puppets.draw(identity, poses[0], 64)
    draw_times, warp_times = [], []
    for _ in range(5):
        start = time.process_time()
        for pose in poses:
            puppets.draw(identity, pose, 64)
        middle = time.process_time()
        for _ in poses:
            cv2.warpAffine(canvas, turn, (side, side), flags=cv2.INTER_LINEAR)
        draw_times.append(middle - start)
        warp_times.append(time.process_time() - middle)
    assert min(draw_times) < 30 * min(warp_times)


@pytest.mark.parametrize("size", [128, (96, 160), (144, 96)])
@pytest.mark.parametrize(("joint", "color"), [("nose", "nose"), ("mouth", "lips"), ("chest", "emblem")])
def test_label_is_in_the_middle_of_its_part(joint, color, size):
    number, distances = puppets.JOINTS.index(joint), []
    for seed in range(4):
        identity = puppets.sample_identity(seed)
        for pose in puppets.sample_motion(seed, 12, amount=0.5):
            labels = puppets.label(identity, pose, size)
            rows, columns = np.nonzero(_changed(identity, pose, size, **{color: True}))
            # A part that is cut off at the head's edge or by an arm has its middle elsewhere.
            if labels.visible[number] and max(abs(pose.head_yaw), abs(pose.body_yaw)) < 0.5 and len(rows) > 3:
                row, column = _pixel(labels.value[number], size)
                distances.append(np.hypot(rows.mean() - row, columns.mean() - column))
    assert len(distances) >= 8
    assert np.median(distances) < 0.015 * 128


@pytest.mark.parametrize("joint", ["nose", "left_hand", "right_hand", "left_foot", "right_foot"])
def test_label_visibility_agrees_with_the_pixels(joint):
    shown, hidden, size = [], [], (96, 160)
    color = {"hand": "hands", "foot": "shoes", "nose": "nose"}[joint.split("_")[-1]]
    number = puppets.JOINTS.index(joint)
    other = puppets.JOINTS.index(TWIN.get(joint, joint))
    for seed in range(8):
        identity = puppets.sample_identity(seed)
        for pose in puppets.sample_motion(seed, 12):
            labels = puppets.label(identity, pose, size)
            mask = _changed(identity, pose, size, **{color: True})
            row, column = (round(float(place)) for place in _pixel(labels.value[number], size))
            if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]):
                assert not labels.visible[number]
            elif labels.visible[number]:
                shown.append(mask[row, column])
            elif other == number or np.linalg.norm(labels.value[number] - labels.value[other]) > 0.3:
                hidden.append(mask[row, column])  # and not by its twin, which wears the same color
    assert len(shown) > 40
    assert np.mean(shown) > 0.97
    assert not hidden or np.mean(hidden) < 0.1


def test_label_outside_of_the_frame_is_not_visible():
    labels = puppets.label(puppets.sample_identity(0), puppets.Pose(x=3.0), 64)
    assert not labels.visible.any()
    assert (labels.value[:, 0] > 1).all()


@pytest.mark.parametrize(("yaw", "far", "near"), [(1.25, "right", "left"), (-1.25, "left", "right")])
def test_turned_head_hides_its_far_eye(yaw, far, near):
    identity = puppets.sample_identity(0)
    pose = puppets.Pose(head_yaw=yaw, scale=1.6, y=0.4)
    labels = dict(zip(puppets.JOINTS, puppets.label(identity, pose, 128).visible, strict=True))
    assert labels[f"{near}_eye"]
    assert not labels[f"{far}_eye"]
    both = _changed(identity, pose._replace(head_yaw=0.0), 128, iris=True).sum()
    assert 0 < _changed(identity, pose, 128, iris=True).sum() < 0.6 * both


def test_pose_closes_eyes_and_opens_mouth():
    identity, pose = puppets.sample_identity(0), puppets.Pose(scale=1.6, y=0.4)
    assert _changed(identity, pose, 128, iris=True).any()
    assert not _changed(identity, pose._replace(eyes=0.0), 128, iris=True).any()
    shut, wide = (puppets.draw(identity, pose._replace(mouth=mouth), 128).astype(int) for mouth in (0.0, 1.0))
    assert (np.abs(shut - wide).max(axis=-1) > 60).sum() > 40


def test_arm_is_in_front_of_the_body_or_behind_it():
    identity = puppets.sample_identity(0)
    pose = puppets.Pose(left_shoulder=0.0, left_elbow=-1.9)
    number = puppets.JOINTS.index("left_hand")
    assert puppets.label(identity, pose, 128).visible[number]
    assert not puppets.label(identity, pose._replace(left_before=0.0), 128).visible[number]


def test_joints_of_two_identities_differ_by_proportions_only():
    first, second = puppets.sample_identity(1), puppets.sample_identity(2)
    dressed = second._replace(body=first.body, head=first.head)
    bones = {"upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "hand")}
    for pose in puppets.sample_motion(4, 24):
        joints = [
            dict(zip(puppets.JOINTS, puppets.label(identity, pose, 65).value * 64 / 65, strict=True))
            for identity in (first, second, dressed)
        ]
        np.testing.assert_array_equal(list(joints[0].values()), list(joints[2].values()))
        for bone, (start, end) in bones.items():
            for side in ("left", "right"):
                arrows = [one[f"{side}_{end}"] - one[f"{side}_{start}"] for one in joints[:2]]
                lengths = np.linalg.norm(arrows, axis=-1)
                np.testing.assert_allclose(arrows[0] / lengths[0], arrows[1] / lengths[1], atol=1e-5)
                bodies = [identity.body for identity in (first, second)]
                expected = [getattr(body, bone) + (bone == "forearm") * 0.5 * body.hand for body in bodies]
                np.testing.assert_allclose(lengths, pose.scale * np.array(expected), rtol=1e-4)


def test_joints_of_two_identities_have_correlated_motion():
    poses = puppets.sample_motion(4, 24)
    first, second = (
        np.array([puppets.label(puppets.sample_identity(seed), pose, 64).value for pose in poses]) for seed in (1, 2)
    )
    moves = [(clip - clip.mean(axis=0)).reshape(-1) for clip in (first, second)]
    assert np.corrcoef(*moves)[0, 1] > 0.95
    assert not np.allclose(first, second, atol=0.01)


def test_spline_equals_scipy():
    controls = np.random.default_rng(0).normal(size=(9, 3))
    stretches = len(controls) - 3
    expected = interpolate.BSpline(np.arange(-3, stretches + 4), controls, 3)(np.linspace(0, stretches, 50))
    np.testing.assert_allclose(sampling.spline(controls, 50), expected, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 2, 8, 300])
def test_sample_motion_returns_the_requested_number_of_poses_within_their_ranges(frames):
    poses = puppets.sample_motion(7, frames)
    assert len(poses) == frames
    low, high = (np.array([framing[end] for framing in FRAMINGS]) for end in (1, 2))
    within = (np.array(poses)[:, None] >= low - 1e-9) & (np.array(poses)[:, None] <= high + 1e-9)
    assert within.all(axis=(0, 2)).any()
    assert len({(pose.left_before, pose.right_before) for pose in poses}) == 1


def test_sample_motion_is_smooth():
    value, _ = _clips(10, 64)
    speed = np.diff(value, axis=1)
    assert np.linalg.norm(speed, axis=-1).max() < 0.35
    assert np.linalg.norm(np.diff(speed, axis=1), axis=-1).mean() < 0.5 * np.linalg.norm(speed, axis=-1).mean()


def test_sample_motion_moves_less_with_a_smaller_amount():
    identity = puppets.sample_identity(0)
    clips = [
        np.array([puppets.label(identity, pose, 64).value for pose in puppets.sample_motion(0, 32, amount)])
        for amount in (0.3, 0.6, 1.0)
    ]
    spreads = [np.linalg.norm(clip - clip.mean(axis=0), axis=-1).mean() for clip in clips]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.4 * spreads[2]


def test_sample_motion_frames_faces_and_whole_figures():
    widths, names = [], ("left_hand", "right_hand", "left_foot", "right_foot")
    limbs = [puppets.JOINTS.index(name) for name in names]
    for seed in range(60):
        identity, pose = puppets.sample_identity(seed), puppets.sample_motion(seed, 8)[4]
        feet_seen = puppets.label(identity, pose, 64).visible[limbs[2:]].any()
        widths.append((2 * identity.head.height * pose.scale / 2, feet_seen))
    faces = [seen for height, seen in widths if height > 0.45]
    figures = [seen for height, seen in widths if height < 0.45]
    assert 0.15 < len(faces) / 60 < 0.5
    assert not any(faces)
    assert np.mean(figures) > 0.9


def test_sample_motion_moves_half_of_the_backgrounds_within_their_margins():
    moving = 0
    for seed in range(40):
        poses = puppets.sample_motion(seed, 16)
        moving += len({(pose.pan_x, pose.pan_y, pose.zoom) for pose in poses}) > 1
        for pose in poses[::5]:
            empty = puppets.draw(puppets.sample_identity(seed), pose._replace(x=9.0), (40, 64))
            edges = np.concatenate([empty[0], empty[-1], empty[:, 0], empty[:, -1]])
            assert edges.max(axis=-1).min() > 15
    assert 10 < moving < 30


@pytest.mark.parametrize("kind", ["photograph", "leaves"])
def test_background_has_the_spectrum_of_photographs(kind):
    """Power that falls as 1/f^2 to 1/f^3.5; a cloud's falls as 1/f^5 and more, white noise's not at all."""
    slopes, size = [], 128
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    frequency = np.hypot(rows, columns)
    for seed in range(6):
        identity = puppets.sample_identity(seed)._replace(background_kind=kind)
        gray = puppets.draw(identity, puppets.Pose(x=9.0), size).mean(axis=-1)
        window = np.hanning(size)[:, None] * np.hanning(size)
        power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
        edges = np.geomspace(3 / size, 0.2, 7)
        bands = [power[(frequency >= low) & (frequency < high)].mean() for low, high in itertools.pairwise(edges)]
        slopes.append(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(bands), 1)[0])
    assert -3.5 < np.median(slopes) < -1.5


def test_figure_contrasts_with_its_background():
    contrasts = []
    for seed in range(40):
        identity = puppets.sample_identity(seed)
        frame = puppets.draw(identity, puppets.Pose(), 48).astype(int)
        empty = puppets.draw(identity, puppets.Pose(x=9.0), 48).astype(int)
        difference = np.abs(frame - empty).max(axis=-1)
        contrasts.append(difference[difference > 0].mean())
    assert min(contrasts) > 40


def test_affine_maps_compose_like_complex_numbers():
    for angle in (-2.5, -0.3, 0.0, 0.7, 3.0):
        moved = figure.Affine().translate(0.2, -3.0).compose(figure.Affine().rotate(angle, 1.5))
        expected = 1.5 * np.exp(1j * angle) * (1 + 2j) + (0.2 - 3j)
        np.testing.assert_allclose(moved.apply(1.0, 2.0), (expected.real, expected.imag), atol=1e-12)
        np.testing.assert_allclose(moved.inverse().compose(moved), figure.Affine(), atol=1e-12)
