"""Faces in images: search at several scales, numbers, choice."""

import numpy as np
import pytest
from drawn_discs import DiscDetector, draw

from fomm_tf import detectors, errors
from fomm_tf.inference import faces


def boxes(*values):
    box = np.array(values, np.float32).reshape(-1, 4)
    return detectors.Boxes(np.linspace(0.9, 0.8, len(box)), box, np.zeros([len(box), 0, 2]))


def test_number_faces_counts_from_left_to_right():
    numbered = faces.number_faces(boxes([200, 0, 240, 40], [10, 0, 50, 40], [100, 90, 180, 170], [100, 0, 180, 80]))
    assert [face.number for face in numbered] == [1, 2, 3, 4]
    assert [face.box[:2].tolist() for face in numbered] == [[10, 0], [100, 0], [100, 90], [200, 0]]
    assert numbered[3].score == pytest.approx(0.9)
    assert faces.number_faces(boxes()) == []


def test_find_faces_uses_named_detector(monkeypatch):
    monkeypatch.setitem(detectors.BOXES, "face", lambda threads: DiscDetector())
    image, truth = draw((200, 300), (200, 100, 50), (60, 80, 30))
    found = faces.find_faces(image)
    np.testing.assert_allclose([face.box for face in found], truth[::-1], rtol=1e-6)
    with pytest.raises(errors.UserError, match="There is no detector 'head'"):
        faces.find_faces(image, "head")


def test_choose_faces_by_size_number_or_all():
    numbered = faces.number_faces(boxes([200, 0, 240, 40], [10, 0, 50, 40], [100, 0, 180, 80]))

    def chosen(choice):
        return [face.number for face in faces.choose_faces(numbered, choice, "a.jpg")]

    assert chosen("largest") == [2]
    assert chosen("all") == [1, 2, 3]
    assert [chosen(str(number)) for number in (1, 2, 3)] == [[1], [2], [3]]


def test_choose_faces_rejects_missing_faces():
    numbered = faces.number_faces(boxes([0, 0, 9, 9], [20, 0, 29, 9]))
    with pytest.raises(errors.UserError, match=r"`face` is 3, but a.jpg shows 2; give a number from 1 to 2, counted"):
        faces.choose_faces(numbered, "3", "a.jpg")
    with pytest.raises(errors.UserError, match=r"a.jpg shows no face that is found; give .* `crop` X,Y,W,H"):
        faces.choose_faces([], "largest", "a.jpg")


@pytest.mark.parametrize("choice", ["", "0", "-1", "left", "1.5", "²"])
def test_check_choice_rejects(choice):
    with pytest.raises(errors.UserError, match="`face` must be largest, all or the number of a face, from 1; got"):
        faces.check_choice(choice)


def test_list_faces_prints_boxes_as_crop_takes_them():
    numbered = faces.number_faces(boxes([100.4, 20, 180, 100], [10, 0, 50, 40.6]))
    assert list(faces.list_faces(numbered)) == [
        "FACE  X,Y,W,H       SCORE",
        "1     10,0,40,41    0.80",
        "2     100,20,80,80  0.90   largest",
    ]
    assert list(faces.list_faces([])) == ["FACE  X,Y,W,H  SCORE"]


def test_find_all_finds_small_and_large_objects_once():
    image, truth = draw(
        (1080, 1920), (300, 300, 200), (1000, 500, 60), (1890, 1050, 25), (1200, 800, 30), (17, 1000, 18)
    )
    detect = DiscDetector()
    assert len(detect([image])[0].score) == 1
    found = faces.number_faces(faces.find_all(detect, image))
    expected = sorted(truth, key=lambda box: box[0] + box[2])
    assert len(found) == 5
    np.testing.assert_allclose([face.box for face in found], np.clip(expected, 0, 1920), atol=2)


def test_find_all_searches_small_images_once():
    image, _ = draw((200, 300), (100, 100, 50))
    detect = DiscDetector()
    assert len(faces.find_all(detect, image).score) == 1
    assert detect.shapes == [(200, 300)]
    assert not len(faces.find_all(detect, np.zeros_like(image)).score)


def test_find_all_drops_parts_at_tile_borders():
    """An object on the border between two tiles is reported whole, wherever it is."""
    for x in (410, 490, 512, 550):
        image, truth = draw((1024, 1024), (x, 512, 40))
        found = faces.find_all(DiscDetector(), image)
        np.testing.assert_allclose(found.box, truth, atol=1)


def test_zoomed_detector_follows_small_object():
    detect = DiscDetector()
    zoomed = faces.ZoomedDetector(detect)
    frames, truth = zip(*(draw((1080, 1920), (600 + 12 * step, 500 + 5 * step, 50)) for step in range(20)), strict=True)
    found = [zoomed([frame])[0] for frame in frames]
    np.testing.assert_allclose([objects.box[0] for objects in found], [box[0] for box in truth], atol=1)
    assert all(max(shape) <= 310 for shape in detect.shapes[-19:])  # the frames after the first: near the object only


def test_zoomed_detector_searches_all_scales_now_and_then():
    detect = DiscDetector()
    zoomed = faces.ZoomedDetector(detect)
    empty = np.zeros([600, 600, 3], np.uint8)
    calls = []
    for _ in range(60):
        before = len(detect.shapes)
        assert not len(zoomed([empty])[0].score)
        calls.append(len(detect.shapes) - before)
    assert [index for index, count in enumerate(calls) if count > 1] == [0, 26, 52]


def test_zoomed_detector_finds_object_again_after_jump():
    zoomed = faces.ZoomedDetector(DiscDetector())
    for x in (150, 155, 450, 455):
        image, truth = draw((600, 600), (x, 300, 60))
        np.testing.assert_allclose(zoomed([image])[0].box, truth, atol=1)
