"""True motion of rendered people: agreement with frames, landmarks, and the camera."""

import numpy as np
import pytest
import scipy.ndimage

from fomm_tf import errors, ops
from fomm_tf.data import people

SIZE = 64
PAIRS = [(0, 3), (5, 1)]


@pytest.fixture(scope="module", params=[False, True], ids=["hand-held", "still"])
def clip(request):
    return people.Clip(1, 11, 21, frames=6, step=8, size=SIZE, still=request.param)


@pytest.fixture(scope="module")
def frames(clip):
    return list(people.render(clip))


@pytest.fixture(scope="module")
def motion(clip):
    return people.TrueMotion(clip)


def sample(image, positions):
    """Bilinear samples of `[S, S, ...]` at `[..., 2]` (x, y), -1 and 1 at the centers of the edge's pixels."""
    places = (np.moveaxis(positions, -1, 0)[::-1] + 1) / 2 * (SIZE - 1)
    channels = np.reshape(image, (SIZE, SIZE, -1)).transpose(2, 0, 1).astype(float)
    return np.stack([scipy.ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in channels], -1)


@pytest.mark.parametrize(("source", "driving"), PAIRS)
def test_the_source_warped_by_it_is_the_driving_frame_where_visible(frames, motion, source, driving):
    deformation, visible = motion.between(source, driving)
    assert deformation.shape == (SIZE, SIZE, 2) and deformation.dtype == np.float32
    assert visible.shape == (SIZE, SIZE) and visible.dtype == bool
    first, second = (np.float32(frames[number].image) for number in (source, driving))
    # Pixels at an edge mix what is in front and behind.
    person = scipy.ndimage.binary_erosion(visible & frames[driving].person)
    warped, copied = (np.abs(image - second)[person].mean() for image in (sample(first, deformation), first))
    assert 0.5 < visible.mean() < 1
    assert warped < copied / 2


@pytest.mark.parametrize(("source", "driving"), PAIRS)
def test_landmarks_come_from_where_they_are_in_the_source(frames, motion, source, driving):
    deformation, _ = motion.between(source, driving)
    names = people.landmark_names()
    # In the middle of the face, where no other surface is within a pixel.
    chosen = [names.index(name) for name in ("nose_bridge", "forehead", "left_mid_brow", "right_mid_brow", "chin")]
    before, after = (frames[number].truth.landmarks[chosen] for number in (source, driving))
    error = np.abs(sample(deformation, after) - before).max(axis=-1) * SIZE / 2
    moved = np.abs(after - before).max(axis=-1) * SIZE / 2
    assert moved.max() > 3
    assert np.median(error) < 0.3


def test_a_frame_does_not_move_against_itself(motion):
    deformation, visible = motion.between(2, 2)
    np.testing.assert_allclose(deformation, ops.identity_grid(SIZE, SIZE).numpy(), atol=1e-5)
    assert visible.all()


def test_the_background_moves_as_the_camera_does(clip, frames, motion):
    deformation, _ = motion.between(0, 3)
    background = ~scipy.ndimage.binary_dilation(frames[3].person, iterations=2)
    shift = (deformation - ops.identity_grid(SIZE, SIZE).numpy())[background]
    assert np.abs(shift - shift.mean(axis=0)).max() < 1e-5
    assert (np.abs(shift).max() > 1e-3) != clip.still


def test_an_unknown_framing_is_refused():
    with pytest.raises(errors.UserError, match="framing"):
        people.TrueMotion(people.Clip(1, 1, 1, framing="landscape"))
