"""The animator: what goes in and out, and the stream of frames."""

import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, errors, torch_import, video, weights

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
VECTORS = np.load(DATA / "inference.npz")


@functools.cache
def tiny(align_corners=True):
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    run = torch_import.import_checkpoint(tree, str(DATA / "tiny.yaml"), align_corners, "tiny")
    return fomm_tf.Animator(run.config, run.networks)


def frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [count, 64, 64, 3], np.uint8)


def test_numpy_tensors_bytes_and_floats_give_the_same_keypoints():
    as_bytes = frames(2)
    expected = tiny().detect(as_bytes).value
    for same in (tf.constant(as_bytes), as_bytes.astype(np.float32) / 255, tf.constant(as_bytes / 255.0)):
        np.testing.assert_allclose(tiny().detect(same).value, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros([64, 64, 3], np.uint8), r"Frames must be \[N, H, W, 3\] and not empty; got shape \[64, 64, 3\]"),
        (np.zeros([0, 64, 64, 3], np.uint8), "not empty"),
        (np.zeros([1, 64, 64, 4], np.uint8), r"got shape \[1, 64, 64, 4\]"),
        (np.zeros([1, 64, 64, 3], np.int32), r"uint8 or float in \[0, 1\]; got int32"),
        (np.full([1, 64, 64, 3], 1.5, np.float32), r"without NaN; got 1.5 to 1.5"),
        (np.full([1, 64, 64, 3], np.nan, np.float32), "without NaN; got nan to nan"),
        (np.zeros([1, 62, 64, 3], np.uint8), "multiple of 4"),
    ],
)
def test_frames_that_are_none_are_refused(wrong, message):
    with pytest.raises(errors.UserError, match=message):
        tiny().detect(wrong)


def test_a_source_is_one_picture():
    with pytest.raises(errors.UserError, match=r"one picture, \[H, W, 3\]; got shape \[2, 64, 64, 3\]"):
        tiny().encode_source(frames(2))


def test_keypoints_of_another_model_are_refused():
    source = tiny().encode_source(frames(1))
    with pytest.raises(errors.UserError, match=r"\[N, 5, 2\]; got \[1, 3, 2\]"):
        tiny().render(source, fomm_tf.Keypoints(np.zeros([1, 3, 2], np.float32), None))
    with pytest.raises(errors.UserError, match="needs keypoints with Jacobians"):
        tiny().render(source, fomm_tf.Keypoints(np.zeros([1, 5, 2], np.float32), None))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_the_stream_written_losslessly_is_the_reference_s_to_one_grey_level(mode, align_corners, tmp_path):
    # The vectors' relative frames were made with all switches on.
    stream = tiny(align_corners).animate(
        VECTORS["source"], iter(VECTORS["driving"]), mode=mode, adapt_scale=True, batch_size=2
    )
    with video.write_video(f"{tmp_path}/frames/", 25) as writer:
        for frame in stream:
            writer.write(video.to_uint8(frame))
    written = np.stack(list(video.open_video(tmp_path / "frames")))
    expected = np.moveaxis(VECTORS[f"{mode}_prediction_ac_{str(align_corners).lower()}"], 1, -1)
    assert written.shape == expected.shape
    assert np.abs(written - expected * 255).max() <= 1


def test_bytes_in_bytes_out_and_floats_in_floats_out():
    source, driving = frames(1)[0], frames(3, seed=1)
    as_bytes = list(tiny().animate(source, driving))
    as_floats = list(tiny().animate(source / np.float32(255), driving / np.float32(255)))
    assert as_bytes[0].dtype == np.uint8 and as_floats[0].dtype == np.float32
    assert np.abs(np.stack(as_bytes) - np.stack(as_floats) * 255).max() <= 0.51


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_batch_size_does_not_matter(batch_size):
    source, driving = frames(1)[0], frames(7, seed=1)
    expected = np.stack(list(tiny().animate(source, driving, batch_size=7))).astype(int)
    got = np.stack(list(tiny().animate(source, driving, batch_size=batch_size)))
    assert np.abs(got - expected).max() <= 1


def test_relative_motion_starts_from_the_best_frame_forward_and_backward():
    source, driving = frames(1)[0], frames(7, seed=1)
    found = tiny().detect(driving)
    best = fomm_tf.Keypoints(found.value[4:5], found.jacobian[4:5])
    encoded = tiny().encode_source(source)
    moved = fomm_tf.transfer(encoded.keypoints, found, best)
    expected = tiny().render(encoded, moved).prediction.numpy() * 255
    got = np.stack(list(tiny().animate(source, iter(driving), best_frame=4, batch_size=2)))
    assert np.abs(got - expected).max() <= 1
    from_first = np.stack(list(tiny().animate(source, driving, batch_size=2)))
    assert np.abs(from_first - expected).max() > 5


def test_a_missing_best_frame_and_an_empty_stream_are_refused():
    with pytest.raises(errors.UserError, match="best frame is number 9, counted from 0, but there are 3"):
        list(tiny().animate(frames(1)[0], frames(3), best_frame=9))
    with pytest.raises(errors.UserError, match="no driving frame"):
        list(tiny().animate(frames(1)[0], []))
    with pytest.raises(errors.UserError, match="batch size is 0"):
        list(tiny().animate(frames(1)[0], frames(1), batch_size=0))
    with pytest.raises(errors.UserError, match="of one size"):
        list(tiny().animate(frames(1)[0], [frames(1)[0], np.zeros([72, 64, 3], np.uint8)]))


def test_a_video_is_traced_once_and_its_last_batch_once_more():
    model = tiny()
    fresh = fomm_tf.Animator(model.config, model.networks)
    list(fresh.animate(frames(1)[0], frames(23, seed=1), batch_size=4))
    assert fresh._render.experimental_get_tracing_count() <= 2
    assert fresh._detect.experimental_get_tracing_count() <= 2
    assert fresh._encode.experimental_get_tracing_count() == 1


def test_frames_are_taken_only_as_they_are_needed():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield frames(1)[0]

    stream = tiny().animate(frames(1)[0], endless(), batch_size=3)
    next(stream)
    assert len(taken) == 3


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    folder = tmp_path_factory.mktemp("run") / "run"
    checkpoint.save(folder, torch_import.import_checkpoint(tree, str(DATA / "tiny.yaml"), True, "tiny"), "a test")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "off"), [("float16", 5e-3), pytest.param("bfloat16", 4e-2, marks=pytest.mark.bfloat16_kernels)]
)
def test_lower_precision_gives_the_same_frames_but_for_its_rounding(precision, off, run_folder):
    exact, rounded = (fomm_tf.Animator.load(run_folder, name) for name in ("float32", precision))
    assert {layer.compute_dtype for layer in rounded.networks.generator.layers} == {precision}
    driving = frames(3)
    expected, found = (model.detect(driving) for model in (exact, rounded))
    np.testing.assert_allclose(found.value, expected.value, rtol=0, atol=off)
    source, keypoints = exact.encode_source(frames(1, seed=1)), expected
    other = rounded.encode_source(frames(1, seed=1))
    before, after = exact.render(source, keypoints).prediction, rounded.render(other, keypoints).prediction
    assert after.dtype == tf.float32
    assert 0 < np.abs(after - before).mean() < off


def test_a_precision_that_there_is_not_is_refused(run_folder):
    with pytest.raises(errors.UserError, match="The precision is 'int8'; give float32, float16, bfloat16"):
        fomm_tf.Animator.load(run_folder, "int8")
