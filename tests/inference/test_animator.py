"""The animator: inputs, outputs, and streams of frames."""

import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, errors, torch_import, video, weights
from fomm_tf.inference import engines, scenes, stream

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
VECTORS = np.load(DATA / "inference.npz")


@functools.cache
def tiny(align_corners=True):
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    run = torch_import.import_checkpoint(tree, str(DATA / "tiny.yaml"), align_corners, "tiny")
    return fomm_tf.Animator(run.model, run.config)


def frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [count, 64, 64, 3], np.uint8)


def test_detect_accepts_numpy_tensors_uint8_and_float():
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
    ],
)
def test_detect_rejects_invalid_frames(wrong, message):
    with pytest.raises(errors.UserError, match=message):
        tiny().detect(wrong)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_frames_of_another_size_are_fitted(fit, tmp_path):
    large = np.random.default_rng(2).integers(0, 256, [2, 96, 80, 3], np.uint8)
    fitted = np.stack([video.resize(frame, (64, 64), fit) for frame in large])
    np.testing.assert_array_equal(tiny().detect(large, fit).value, tiny().detect(fitted).value)
    np.testing.assert_array_equal(tiny().encode_source(large[0], fit).image[0], fitted[0] / np.float32(255))
    as_floats = tiny().encode_source(large[0] / np.float32(255), fit).image[0]
    np.testing.assert_allclose(as_floats, fitted[0] / np.float32(255), atol=0.51 / 255)
    video.write_image(tmp_path / "source.png", large[0])
    np.testing.assert_array_equal(
        tiny().encode_source(tmp_path / "source.png", fit).image[0], fitted[0] / np.float32(255)
    )
    frame, _ = tiny().animate(tmp_path / "source.png", large, fit=fit)
    assert frame.shape == (64, 64, 3)


def test_encode_source_rejects_several_images():
    with pytest.raises(errors.UserError, match=r"one image, \[H, W, 3\]; got shape \[2, 64, 64, 3\]"):
        tiny().encode_source(frames(2))


def test_render_rejects_keypoints_of_another_model():
    source = tiny().encode_source(frames(1))
    with pytest.raises(errors.UserError, match=r"\[N, 5, 2\] for this model; got shape \[1, 3, 2\]"):
        tiny().render(source, fomm_tf.Keypoints(np.zeros([1, 3, 2], np.float32), None))
    with pytest.raises(errors.UserError, match="needs keypoints with Jacobians"):
        tiny().render(source, fomm_tf.Keypoints(np.zeros([1, 5, 2], np.float32), None))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_animate_matches_reference_to_one_gray_level(mode, align_corners, tmp_path):
    # The vectors' relative frames were computed with all switches on.
    animated = tiny(align_corners).animate(
        VECTORS["source"], iter(VECTORS["driving"]), mode=mode, adapt_scale=True, batch_size=2
    )
    with video.write_video(f"{tmp_path}/frames/", 25) as writer:
        for frame in animated:
            writer.write(video.to_uint8(frame))
    written = np.stack(list(video.open_video(tmp_path / "frames")))
    expected = np.moveaxis(VECTORS[f"{mode}_prediction_ac_{str(align_corners).lower()}"], 1, -1)
    assert written.shape == expected.shape
    assert np.abs(written - expected * 255).max() <= 1


def test_animate_returns_the_dtype_of_the_driving_frames():
    source, driving = frames(1)[0], frames(3, seed=1)
    as_bytes = list(tiny().animate(source, driving))
    as_floats = list(tiny().animate(source / np.float32(255), driving / np.float32(255)))
    assert as_bytes[0].dtype == np.uint8 and as_floats[0].dtype == np.float32
    assert np.abs(np.stack(as_bytes) - np.stack(as_floats) * 255).max() <= 0.51


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_animate_is_independent_of_batch_size(batch_size):
    source, driving = frames(1)[0], frames(7, seed=1)
    expected = np.stack(list(tiny().animate(source, driving, batch_size=7))).astype(int)
    got = np.stack(list(tiny().animate(source, driving, batch_size=batch_size)))
    assert np.abs(got - expected).max() <= 1


def test_animate_starts_relative_motion_from_best_frame():
    source, driving = frames(1)[0], frames(7, seed=1)
    keypoints = tiny().detect(driving)
    best = fomm_tf.Keypoints(keypoints.value[4:5], keypoints.jacobian[4:5])
    encoded = tiny().encode_source(source)
    moved = fomm_tf.transfer(encoded.keypoints, keypoints, best)
    expected = tiny().render(encoded, moved).prediction.numpy() * 255
    got = np.stack(list(tiny().animate(source, iter(driving), best_frame=4, batch_size=2)))
    assert np.abs(got - expected).max() <= 1
    from_first = np.stack(list(tiny().animate(source, driving, batch_size=2)))
    assert np.abs(from_first - expected).max() > 5


def test_animate_rejects_missing_best_frame_and_empty_stream():
    with pytest.raises(errors.UserError, match="best_frame is 9, counted from 0, but there are 3"):
        list(tiny().animate(frames(1)[0], frames(3), best_frame=9))
    with pytest.raises(errors.UserError, match="holds no frames"):
        list(tiny().animate(frames(1)[0], []))
    with pytest.raises(errors.UserError, match="must be at least 1; got 0"):
        list(tiny().animate(frames(1)[0], frames(1), batch_size=0))


def test_animate_with_options_is_the_plain_one_where_they_do_nothing():
    source, driving = frames(1)[0], frames(5, seed=1)
    expected = np.stack(list(tiny().animate(source, driving, best_frame=1))).astype(int)
    got = np.stack(list(tiny().animate(source, driving, best_frame=1, crop="0,0,64,64")))
    assert np.abs(got - expected).max() <= 1
    smoothed = np.stack(list(tiny().animate(source, driving, smooth=5.0))).astype(int)
    assert np.abs(smoothed - np.stack(list(tiny().animate(source, driving)))).max() > 3


def test_animate_pastes_back_at_the_dtype_of_the_driving_frames():
    source, driving = np.random.default_rng(0).integers(0, 256, [90, 120, 3], np.uint8), frames(3, seed=1)
    options = {"crop_source": "20,10,64,64", "paste_back": True}
    as_bytes = list(tiny().animate(source, iter(driving), **options))
    as_floats = list(tiny().animate(source / np.float32(255), iter(driving / np.float32(255)), **options))
    for frame, same in zip(as_bytes, as_floats, strict=True):
        assert frame.dtype == np.uint8 and same.dtype == np.float32
        np.testing.assert_array_equal(frame[:10], source[:10])
        assert np.abs(frame / np.float32(255) - same).max() < 1.6 / 255


def test_animate_reads_iterators_once():
    source, driving = frames(1)[0], frames(3, seed=1)
    with pytest.raises(errors.UserError, match="are read several times for `crop` and `best_frame`; got an iterator"):
        list(tiny().animate(source, iter(driving), best_frame="auto"))
    with pytest.raises(errors.UserError, match="`crop` must be auto, off, face, body"):
        list(tiny().animate(source, driving, crop="head"))


def test_animate_takes_video_as_source():
    source = [*frames(4)]
    clip = video.Video(pathlib.Path("source"), 25, (64, 64), 4, False, lambda: iter(source))
    animated = list(tiny().animate(clip, frames(6, seed=1)))
    first = next(tiny().animate(source[0], frames(6, seed=1)))
    assert len(animated) == 4 and np.abs(animated[0].astype(int) - first).max() <= 1


def render_scenes(encoded, settings, driving, watch, batch_size):
    for keypoints in stream.detect_stream(tiny(), driving, batch_size):
        yield stream.render_transferred(tiny(), encoded, *watch.advance(keypoints), settings)


def test_rendering_of_one_scene_is_render_stream():
    encoded, settings, driving = tiny().encode_source(frames(1)[0]), tiny().config.animate, frames(7, seed=1)
    expected = stream.render_stream(tiny(), encoded, driving, settings, batch_size=3)
    rendered = render_scenes(encoded, settings, driving, scenes.Scenes(), 3)
    for rendering, (_, same) in zip(rendered, expected, strict=True):
        np.testing.assert_array_equal(rendering.prediction, same.prediction)


def test_rendering_restarts_motion_at_cut():
    encoded, settings, driving = tiny().encode_source(frames(1)[0]), tiny().config.animate, frames(6, seed=1)
    (rendering,) = render_scenes(encoded, settings, driving, scenes.Scenes(starts=[0, 4]), 6)
    ((_, second),) = stream.render_stream(tiny(), encoded, driving[4:], settings)
    np.testing.assert_allclose(rendering.prediction[4:], second.prediction, atol=1e-5)


def test_render_stream_rejects_frames_of_several_sizes():
    driving = [frames(1)[0], np.zeros([72, 64, 3], np.uint8)]
    with pytest.raises(errors.UserError, match="of one size"):
        list(stream.render_stream(tiny(), tiny().encode_source(frames(1)[0]), driving, tiny().config.animate))


def test_animate_traces_at_most_twice():
    model = tiny()
    fresh = fomm_tf.Animator(model.model, model.config)
    list(fresh.animate(frames(1)[0], frames(23, seed=1), batch_size=4))
    assert fresh.engine._render.experimental_get_tracing_count() <= 2
    assert fresh.engine._detect.experimental_get_tracing_count() <= 2
    assert fresh.engine._encode.experimental_get_tracing_count() == 1


def test_animate_reads_frames_lazily():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield frames(1)[0]

    animated = tiny().animate(frames(1)[0], endless(), batch_size=3)
    next(animated)
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
def test_lower_precision_matches_float32_up_to_rounding(precision, off, run_folder):
    exact, rounded = (fomm_tf.Animator.load(run_folder, name) for name in ("float32", precision))
    assert {layer.compute_dtype for layer in rounded.model.generator.layers} == {precision}
    driving = frames(3)
    expected, keypoints = (model.detect(driving) for model in (exact, rounded))
    np.testing.assert_allclose(keypoints.value, expected.value, rtol=0, atol=off)
    source, keypoints = exact.encode_source(frames(1, seed=1)), expected
    other = rounded.encode_source(frames(1, seed=1))
    before, after = exact.render(source, keypoints).prediction, rounded.render(other, keypoints).prediction
    assert after.dtype == tf.float32
    assert 0 < np.abs(after - before).mean() < off


def test_load_rejects_unknown_precision(run_folder):
    with pytest.raises(errors.UserError, match="precision must be one of float32, float16, bfloat16; got 'int8'"):
        fomm_tf.Animator.load(run_folder, "int8")


def test_detect_accepts_a_list_of_images_and_paths(tmp_path):
    images = frames(2)
    video.write_image(tmp_path / "a.png", images[1])
    together = tiny().detect([images[0], tmp_path / "a.png"]).value
    np.testing.assert_array_equal(together, tiny().detect(images).value)
    with pytest.raises(errors.UserError, match="not empty"):
        tiny().detect([])


def test_frames_of_another_size_and_dtype_are_rejected_unchanged():
    with pytest.raises(errors.UserError, match=r"uint8 or float in \[0, 1\]; got int32"):
        tiny().detect([np.zeros([96, 80, 3], np.int32)])


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (2, 64, 64, 3), (0, 64, 3)])
def test_animate_rejects_a_source_that_is_no_image(shape):
    with pytest.raises(errors.UserError, match=r"An image must be \[H, W, 3\]; got shape \["):
        list(tiny().animate(np.zeros(shape, np.uint8), frames(2), smooth=1.0))


def test_animate_with_options_takes_a_video_and_rejects_no_frames():
    source, driving = frames(1)[0], frames(3, seed=1)
    clip = video.Video(pathlib.Path("clip"), 25, (64, 64), 3, False, lambda: iter(driving))
    expected = list(tiny().animate(source, list(driving), smooth=1.0))
    np.testing.assert_array_equal(list(tiny().animate(source, clip, smooth=1.0)), expected)
    with pytest.raises(errors.UserError, match="driving holds no frames; give at least one"):
        list(tiny().animate(source, [], smooth=1.0))


def test_model_is_that_of_keras_only():
    class Engine(engines.Engine):
        name, precision = "litert", "float32"
        detect = encode_source = render = weights_sha256 = device = None

    assert tiny().model is tiny().engine.model
    with pytest.raises(errors.UserError, match=r"The engine litert has no Keras model; load the run\."):
        fomm_tf.Animator(Engine(), tiny().config).model  # noqa: B018
