"""Crops and faces of sources and driving videos."""

import pathlib
import warnings
from fractions import Fraction

import numpy as np
import pytest
from drawn_discs import DiscDetector, draw

from fomm_tf import detectors, errors, video
from fomm_tf.data.prepare.segments import Square
from fomm_tf.inference import crops, framing, scenes

SIZE = (32, 32)
TWO = [(60, 80, 30), (230, 90, 40)]


def load(name):
    assert name == "face"
    return DiscDetector()


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: True)


def source(discs=TWO, trained="face", **options):
    image, boxes = draw((180, 320), *discs)
    return image, boxes, framing.SourceImage(image, "a.jpg", framing.Framing(**options), trained, load)


def clip(frames):
    size = frames[0].shape[:2]
    return video.Video(pathlib.Path("clip.mp4"), Fraction(25), size, len(frames), False, lambda: iter(frames))


def driving(frames, on_cut="restart", **options):
    choice = framing.Framing(**options)
    return framing.VideoFrames(clip(frames), choice.driving, choice, "face", on_cut, load)


def squares_of(frames):
    return [square for _, square in frames.places()]


def cropped(frames):
    return next(frames.moments(SIZE)).images


def compose(frames, image, animated, **options):
    moment = next(frames.moments(SIZE))
    assert moment.original is image
    return framing.Compositor(framing.Framing(**options))(moment, animated)


def is_inside(box, square):
    return (
        square.left <= box[0]
        and square.top <= box[1]
        and square.left + square.side >= box[2]
        and square.top + square.side >= box[3]
    )


def test_source_crops_largest_face():
    image, boxes, frames = source()
    (square,) = frames.squares
    assert is_inside(boxes[1], square) and not is_inside(boxes[0], square)
    (only,) = cropped(frames)
    np.testing.assert_array_equal(only, crops.crop(image, square, SIZE))
    assert compose(frames, image, [only]) is only


@pytest.mark.parametrize("number", ["1", "2"])
def test_source_crops_face_of_number(number):
    _, boxes, frames = source(face=number)
    assert [is_inside(box, frames.squares[0]) for box in boxes] == [number == "1", number == "2"]


def test_source_pastes_all_faces_back():
    image, boxes, frames = source(face="all", paste_back=True)
    assert len(cropped(frames)) == 2
    animated = [np.full((*SIZE, 3), 90, np.uint8)] * 2
    result = compose(frames, image, animated, face="all", paste_back=True)
    for box in boxes:
        assert (result[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2] < 200).all()
    outside = np.ones(image.shape[:2], bool)
    for square in frames.squares:
        outside[max(square.top, 0) : square.top + square.side, max(square.left, 0) : square.left + square.side] = False
    assert outside.any()
    np.testing.assert_array_equal(result[outside], image[outside])


def test_source_of_all_faces_needs_paste_back():
    with pytest.raises(errors.UserError, match="`face` all needs `paste_back`"):
        source(face="all")


def test_source_takes_rectangle_or_whole_image():
    image, _, frames = source(source=Square(10, 20, 64))
    assert frames.squares == [Square(10, 20, 64)]
    for options in ({"source": "off"}, {"trained": "none"}):
        image, _, frames = source(**options)
        assert not frames.squares
        np.testing.assert_array_equal(cropped(frames)[0], video.resize(image, SIZE, "crop"))
    with pytest.raises(errors.UserError, match=r"has its center outside a.jpg"):
        source(source=Square(400, 20, 64))


def test_source_without_crop_is_pasted_back_into_its_center():
    image, _, frames = source(source="off", paste_back=True)
    result = compose(frames, image, [np.full((*SIZE, 3), 90, np.uint8)], source="off", paste_back=True)
    np.testing.assert_array_equal(result[:, :70], image[:, :70])
    np.testing.assert_array_equal(result[:, 250:], image[:, 250:])
    assert (result[:, 100:220] != image[:, 100:220]).any()
    with pytest.raises(errors.UserError, match="`paste_back` without a crop needs `fit` crop; got pad"):
        source(source="off", paste_back=True, fit="pad")


def test_source_without_face_warns_if_auto_and_fails_if_chosen():
    with pytest.warns(video.VideoNote, match=r"a.jpg shows no face that is found, so the center"):
        assert not source([])[2].squares
    with pytest.raises(errors.UserError, match=r"a.jpg shows no face that is found"):
        source([], source="face")
    with pytest.raises(errors.UserError, match=r"`face` 2 needs detected faces; got none in a.jpg"):
        source(face="2", source="off")


def test_auto_without_detectors_warns_once_and_uses_center(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: False)
    with pytest.warns(video.VideoNote, match="install it with: fomm fetch detectors") as caught:
        framing.warn_without_detectors(framing.Framing(), "face")
    assert len(caught) == 1 and framing.resolve_crop("auto", "face") == "off"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        framing.warn_without_detectors(framing.Framing(), "none")
        framing.warn_without_detectors(framing.Framing("off", "face"), "face")
    assert framing.resolve_crop("auto", "none") == "off"
    assert framing.resolve_crop("face", "none") == "face"


def test_driving_has_one_square_that_holds_object():
    drawn = [draw((180, 320), (100 + 4 * step, 90, 30)) for step in range(20)]
    frames = driving([image for image, _ in drawn])
    assert len(set(squares_of(frames))) == 1 and frames.found.all()
    assert all(is_inside(boxes[0], squares_of(frames)[0]) for _, boxes in drawn)
    read = list(frames.frames(SIZE))
    assert len(read) == 20
    np.testing.assert_array_equal(read[3], crops.crop(drawn[3][0], squares_of(frames)[3], SIZE))
    assert next(frames.describe()).startswith("clip.mp4: cropped to ") and next(frames.describe()).endswith(
        " of 320 x 180"
    )


def test_driving_follows_object():
    drawn = [draw((180, 320), (60 + 10 * step, 90, 30)) for step in range(20)]
    frames = driving([image for image, _ in drawn], follow=True)
    assert all(is_inside(boxes[0], square) for (_, boxes), square in zip(drawn, squares_of(frames), strict=True))
    assert len(set(squares_of(frames))) > 10 and squares_of(frames)[0].side < 120
    assert next(frames.describe()).endswith("in the first frame")


def test_driving_finds_cuts_and_missing_frames():
    dark, light = draw((180, 320), (60, 90, 30))[0], 90 + draw((180, 320), (240, 90, 40))[0] // 2
    images = [dark] * 4 + [np.zeros_like(dark)] * 2 + [light] * 3
    frames = driving(images)
    assert frames.what == "face"
    assert frames.found.tolist() == [True] * 4 + [False] * 2 + [True] * 3
    assert len(set(squares_of(frames))) == 2 and squares_of(frames)[5] == squares_of(frames)[0]
    watch = scenes.Scenes(found=frames.found)
    assert len(list(frames.frames(SIZE, watch))) == 9 and watch.starts == [0, 6]
    assert len(list(driving(images, "stop").frames(SIZE, scenes.Scenes("stop")))) == 6


def test_driving_without_object_warns_if_auto_and_fails_if_chosen():
    empty = [np.zeros([180, 320, 3], np.uint8)] * 3
    with pytest.warns(video.VideoNote, match="clip.mp4: no frame shows a face that is found, so the center"):
        frames = driving(empty)
    assert frames.found is None and not list(frames.describe())
    assert next(frames.frames(SIZE)).shape == (*SIZE, 3)
    with pytest.raises(errors.UserError, match=r"clip.mp4: no frame shows a face that is found; give `crop` off"):
        driving(empty, driving="face")


def test_driving_takes_rectangle():
    images = [draw((180, 320), (60, 90, 30))[0]] * 2
    frames = driving(images, driving=Square(20, 40, 100))
    np.testing.assert_array_equal(next(frames.frames(SIZE)), crops.crop(images[0], Square(20, 40, 100), SIZE))
    assert next(frames.describe()) == "clip.mp4: cropped to 100 x 100 at (20, 40) of 320 x 180"
