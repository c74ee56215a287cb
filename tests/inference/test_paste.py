"""Animated squares that are pasted back into their images."""

import numpy as np
import pytest
from seams import seam_gradients

from fomm_tf import errors, video
from fomm_tf.data.prepare import segments
from fomm_tf.data.prepare.segments import Square
from fomm_tf.inference import paste

SIZE = (180, 240)
SQUARE = Square(60, 30, 120)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)


def draw_image(grain=2.0, seed=0):
    """Soft shades with grain, as in a photo."""
    shades = 120 + 50 * np.sin(COLUMNS / 21) * np.cos(ROWS / 17) + 0.2 * COLUMNS
    noise = np.random.default_rng(seed).normal(0, grain, SIZE)
    return np.stack([shades + noise, 0.8 * shades + noise, 0.6 * shades + noise], axis=-1).clip(0, 255).astype(np.uint8)


def draw_animated(image, square=SQUARE, side=96, offset=(12, -9, 15)):
    """What a model makes of the square: other colors, and an object in the middle."""
    patch = segments.crop(image, square, side, reflect=True).astype(int) + offset
    patch[side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = (220, 40, 40)
    return patch.clip(0, 255).astype(np.uint8)


def put(image, square, patch):
    """Pastes without blending or matching colors."""
    result = image.copy()
    resized = video.resize(patch, (square.side, square.side), "stretch")
    result[square.top : square.top + square.side, square.left : square.left + square.side] = resized
    return result


@pytest.mark.parametrize("grain", [0.0, 2.0, 8.0])
def test_paster_leaves_no_seam(grain):
    image = draw_image(grain)
    animated = draw_animated(image, offset=(30, 15, 25))
    seam, around = seam_gradients(put(image, SQUARE, animated), SQUARE)
    assert seam > 1.5 * around  # the measure sees the seam of a plain paste
    pasted = paste.Paster(SQUARE, SIZE)(image, animated)
    seam, around = seam_gradients(pasted, SQUARE)
    assert seam <= 1.5 * around
    # Neither is there a visible ring where the strip ends: the whole strip changes about as much as the image.
    _, original = seam_gradients(image, SQUARE)
    assert around <= 1.5 * original


def test_paster_keeps_pixels_outside_square():
    image = draw_image()
    copy = image.copy()
    pasted = paste.Paster(SQUARE, SIZE)(image, draw_animated(image))
    np.testing.assert_array_equal(image, copy)
    outside = np.ones(SIZE, bool)
    outside[31:149, 61:179] = False  # the border itself is kept too
    np.testing.assert_array_equal(pasted[outside], image[outside])
    assert (pasted[90, 120] != image[90, 120]).any()


def test_paster_matches_colors_inside_square():
    image = draw_image(0)
    animated = draw_animated(image, side=120, offset=(20, 20, -20))
    pasted = paste.Paster(SQUARE, SIZE)(image, animated)
    background = pasted[30:60, 60:180].astype(int) - image[30:60, 60:180]
    assert np.abs(background).max() <= 1
    # The object keeps its color, apart from the same offset.
    np.testing.assert_allclose(pasted[90, 120], [200, 20, 60], atol=1)


def test_paster_ignores_motion_in_strip():
    image = draw_image(0)
    animated = draw_animated(image, side=120, offset=(5, 5, 5))
    animated[108:, 40:80] = 255  # shoulders that moved
    pasted = paste.Paster(SQUARE, SIZE)(image, animated)
    assert np.abs(pasted[45:60, 75:165].astype(int) - image[45:60, 75:165]).max() <= 1


@pytest.mark.parametrize("square", [Square(-20, 30, 120), Square(150, 90, 90), Square(-10, -40, 260)])
def test_paster_fades_no_border_at_image_edge(square):
    image = draw_image()
    animated = draw_animated(image, square, offset=(0, 0, 0))
    weights = paste.blending_weights(square, SIZE)
    top, left = max(square.top, 0), max(square.left, 0)
    inside = image[top : square.top + square.side, left : square.left + square.side]
    assert weights.shape == inside.shape[:2]
    middle = np.array(weights.shape) // 2
    sides = {
        "top": (weights[0, middle[1]], square.top),
        "left": (weights[middle[0], 0], square.left),
        "bottom": (weights[-1, middle[1]], SIZE[0] - square.top - square.side),
        "right": (weights[middle[0], -1], SIZE[1] - square.left - square.side),
    }
    for side, (weight, distance) in sides.items():
        assert weight == (0 if distance > 0 else 1), side
    pasted = paste.Paster(square, SIZE)(image, animated)
    changed = np.argwhere((pasted != image).any(axis=-1))
    assert (changed >= [top, left]).all() and (changed < [square.top + square.side, square.left + square.side]).all()


def test_paster_of_whole_image_replaces_it():
    image, square = draw_image()[:, :180], Square(0, 0, 180)
    animated = draw_animated(image, square, side=180)
    np.testing.assert_array_equal(paste.Paster(square, (180, 180))(image, animated), animated)


def test_pasters_of_two_squares_do_not_depend_on_order():
    image, squares = draw_image(), [Square(20, 30, 110), Square(90, 50, 120)]
    pasters = [paste.Paster(square, SIZE, [other]) for square, other in zip(squares, squares[::-1], strict=True)]
    animated = [draw_animated(image, square) for square in squares]
    both = pasters[1](pasters[0](image, animated[0]), animated[1])
    for paster in pasters:
        paster.reset()
    np.testing.assert_array_equal(pasters[0](pasters[1](image, animated[1]), animated[0]), both)
    for square in squares:
        center = both[square.top + square.side // 2, square.left + square.side // 2]
        assert center[0] > 180 and center[1] < 80  # both objects are there


def test_paster_does_not_flicker():
    """Jumping colors of a static scene are damped, and `reset` starts with the frame's own."""
    image = draw_image(0)
    paster = paste.Paster(SQUARE, SIZE)
    first, second = (draw_animated(image, side=120, offset=(offset,) * 3) for offset in (0, 10))
    paster(image, first)
    changed = paster(image, second)[50, 120].astype(int) - image[50, 120]
    assert (np.abs(changed - 8) <= 1).all()
    paster.reset()
    assert np.abs(paster(image, second)[50, 120].astype(int) - image[50, 120]).max() <= 1


def test_paster_rejects_wrong_sizes():
    paster = paste.Paster(SQUARE, SIZE)
    with pytest.raises(errors.UserError, match=r"image must be of size \[180, 240\]; got \[10, 10\]"):
        paster(np.zeros([10, 10, 3], np.uint8), np.zeros([8, 8, 3], np.uint8))
    with pytest.raises(errors.UserError, match=r"needs a model of square frames; got frames of size \[64, 32\]"):
        paster(draw_image(), np.zeros([64, 32, 3], np.uint8))
    with pytest.raises(errors.UserError, match="outside the image, which is 240 x 180; choose another crop"):
        paste.Paster(Square(240, 0, 50), SIZE)
