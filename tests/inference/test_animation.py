"""Animations of drawn scenes, with a model whose answer is known: crops, faces, videos as source, loops, files."""

import itertools
import json
import os
import pathlib
import subprocess
import sys
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from drawn_discs import DiscDetector, draw
from shifting_model import ShiftingModel

from fomm_tf import config, detectors, errors, video
from fomm_tf.inference import animate, animation, framing, motion_files
from fomm_tf.video import VideoNote

HEIGHT, WIDTH, RADIUS = 180, 320, 30
SIDE = 64


@pytest.fixture(autouse=True)
def discs(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: True)
    monkeypatch.setitem(detectors.BOXES, "face", lambda threads: DiscDetector())
    monkeypatch.delitem(detectors.POINTS, "face-points")


def clip(frames, name="clip.mp4", fps=25):
    frames = list(frames)
    return video.Video(pathlib.Path(name), Fraction(fps), frames[0].shape[:2], len(frames), False, lambda: iter(frames))


def walk(count=12, step=3, start=120):
    """A disc that moves to the right, in a wide frame."""
    return [draw((HEIGHT, WIDTH), (start + step * index, 90, RADIUS))[0] for index in range(count)]


def run(source, driving, mode="relative", crop="face", keep_driving=False, report=lambda line: None, **options):
    names = [field for field in animation.MotionOptions.__dataclass_fields__ if field in options]
    motion = animation.MotionOptions(**{name: options.pop(name) for name in names})
    performance = animation.Animation(
        ShiftingModel(crop),
        source,
        "a.jpg",
        driving,
        config.AnimateConfig(mode=mode),
        motion,
        framing.Framing(**options),
        batch_size=4,
        report=report,
    )
    return performance, list(performance.frames(keep_driving=keep_driving))


def center(frame):
    """Center (x, y) of what is white."""
    rows, columns = np.nonzero(frame[..., 0] > 128)
    return np.array([columns.mean(), rows.mean()])


def centers(frames):
    return np.array([center(frame.result) for frame in frames])


def test_animation_crops_source_and_driving_video_to_the_object():
    source = draw((HEIGHT, WIDTH), (250, 60, 24))[0]
    lines = []
    _, frames = run(source, clip(walk()), report=lines.append)
    assert len(frames) == 12 and frames[0].result.shape == (SIDE, SIDE, 3)
    assert (
        len(lines) == 2 and lines[0].startswith("a.jpg: cropped to ") and lines[1].startswith("clip.mp4: cropped to ")
    )
    ways = np.diff(centers(frames), axis=0)
    side = int(lines[1].split()[3])  # one square for the whole clip
    np.testing.assert_allclose(ways[:, 0], 3 * SIDE / side, atol=0.3)
    np.testing.assert_allclose(ways[:, 1], 0, atol=0.1)


def test_animation_of_all_faces_moves_each_and_keeps_the_rest():
    source, boxes = draw((240, 480), *((60 + 90 * index, 120 - 20 * (index % 2), 30) for index in range(5)))
    source[::2, ::2, 2] = 40
    _, frames = run(source, clip(walk(6)), face="all", paste_back=True)
    first, last = frames[0].result, frames[-1].result
    assert last.shape == source.shape
    for left, top, right, bottom in boxes:
        region = slice(top - 12, bottom + 12), slice(max(0, left - 20), right + 20)
        assert center(last[region])[0] > center(first[region])[0] + 4
    outside = np.ones(source.shape[:2], bool)
    for square in frames[0].moment.squares:
        outside[max(square.top, 0) : square.top + square.side, max(square.left, 0) : square.left + square.side] = False
    assert outside.mean() > 0.3
    for frame in frames:
        np.testing.assert_array_equal(frame.result[outside], source[outside])


def test_animation_chooses_face_by_number():
    source, _ = draw((240, 480), (80, 120, 30), (300, 120, 40))
    (square,), (other,) = (run(source, clip(walk(2)), face=number)[1][0].moment.squares for number in "12")
    assert square.left < 80 < square.left + square.side < other.left < 300


def test_animation_of_small_face_in_4k_photo():
    source, ((left, top, right, bottom),) = draw((2160, 3840), (3000, 1500, 60))
    _, frames = run(source, clip(walk(2)), paste_back=True)
    (square,) = frames[0].moment.squares
    assert square.left <= left and square.top <= top and square.left + square.side >= right
    assert square.top + square.side >= bottom and square.side < 4 * (right - left)
    assert frames[0].result.shape == source.shape


def test_animation_of_face_at_the_edge_pads_by_reflection():
    source, _ = draw((HEIGHT, WIDTH), (32, 34, 30))
    _, frames = run(source, clip(walk(3)), paste_back=True)
    (square,) = frames[0].moment.squares
    assert square.left < 0 and square.top < 0
    assert np.abs(frames[0].result.astype(int) - source).mean() < 3


def test_animation_without_face_uses_the_center_and_says_so():
    source = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.warns(VideoNote, match=r"a.jpg shows no face that is found, so the center of the image is used"):
        _, frames = run(source, clip(walk(3)))
    assert not frames[0].moment.squares


def test_animation_without_detectors_warns_once(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: False)
    with pytest.warns(VideoNote, match="the detector of the face is not installed") as caught:
        _, frames = run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], clip(walk(2)))
    assert len(caught) == 1 and not frames[0].moment.squares


def test_animation_holds_motion_where_the_object_is_missing():
    images = walk(9)
    images[4] = images[5] = np.zeros_like(images[4])
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    _, frames = run(source, clip(images), on_cut="continue", report=lines.append)
    places = centers(frames)
    np.testing.assert_array_equal(places[4], places[3])
    np.testing.assert_array_equal(places[5], places[3])
    assert places[6, 0] > places[3, 0] + 2
    assert lines[-1] == "clip.mp4: 2 of 9 frames show no face; motion holds the last good frame there"


def test_animation_restarts_motion_at_cut():
    second = [60 + draw((HEIGHT, WIDTH), (220 - 3 * index, 70, 40))[0] // 4 * 3 for index in range(5)]
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    _, frames = run(source, clip(walk(5) + second), report=lines.append)
    places = centers(frames)
    np.testing.assert_allclose(places[5], places[0], atol=0.2)
    assert places[4, 0] > places[0, 0] + 2 and places[9, 0] < places[5, 0] - 1
    assert lines[-1] == "clip.mp4: a cut at frame 5; relative motion restarts there"


def test_animation_finds_best_frame():
    """Discs of the model's keypoints differ in nothing but size and place: the first comparable frame is the best."""
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8), *walk(5)]
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    performance, _ = run(source, clip(images), best_frame="auto", on_cut="continue", report=lines.append)
    assert performance.best >= 1
    assert "1 of 6 frames without visible keypoints were skipped" in lines[2]


def test_animation_of_source_video_poses_each_frame():
    """The source moves down while the driving disc moves to the right: the result does both, as long as both last."""
    source = clip([draw((HEIGHT, WIDTH), (160, 60 + 4 * index, RADIUS))[0] for index in range(8)], "source.mp4")
    _, frames = run(source, clip(walk()), paste_back=True)
    assert len(frames) == 8
    places = centers(frames)
    assert places[-1, 0] - places[0, 0] > 10
    np.testing.assert_allclose(places[:, 1], 60 + 4 * np.arange(8), atol=1.5)
    still = np.all([frame.moment.original == 0 for frame in frames], axis=0).all(axis=-1)
    assert all((frame.result[still] == 0).mean() > 0.97 for frame in frames)


def test_animation_of_source_video_follows_the_object():
    source = [draw((HEIGHT, WIDTH), (50 + 9 * index, 90, 26))[0] for index in range(24)]
    _, frames = run(clip(source, "source.mp4"), clip(walk(24, 0)), follow=True, paste_back=True)
    assert len({frame.moment.squares[0] for frame in frames}) > 12
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(center(frame.result), [50 + 9 * index, 90], atol=2.5)


def test_animation_of_source_video_needs_one_face():
    with pytest.raises(errors.UserError, match=r"`face` all needs an image as source; got the video clip.mp4"):
        run(clip(walk(3)), clip(walk(3)), face="all", paste_back=True)


def test_animation_loops_until_the_source_ends():
    source = clip([draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]] * 11, "source.mp4")
    performance, frames = run(source, clip(walk(4)), loop=0)
    assert performance.frame_count == len(frames) == 11
    places = centers(frames)
    np.testing.assert_array_equal(places[:4], places[4:8])
    with pytest.raises(errors.UserError, match="`loop` 0 repeats the motion until the source video ends"):
        run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], clip(walk(4)), loop=0)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_animation_plays_ping_pong(count):
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    performance, frames = run(source, clip(walk(count)), loop=2, ping_pong=True, smooth=1.0)
    forward = list(range(count))
    order = 2 * (forward + forward[-2:0:-1])
    assert performance.frame_count == len(frames) == len(order)
    for frame, index in zip(frames, order, strict=True):
        np.testing.assert_array_equal(frame.result, frames[index].result)


def test_animation_by_one_pose_puts_the_object_there():
    driving, ((left, _, right, _),) = draw((200, 200), (120, 100, 40))
    source = draw((200, 200), (80, 100, 40))[0]
    _, (frame,) = run(source, clip([driving]), mode="absolute", crop="none")
    np.testing.assert_allclose(center(frame.result)[0], (left + right) / 2 * SIDE / 200 - 0.5, atol=0.7)


def test_animation_of_motion_file_is_that_of_its_video():
    """With missing frames, a cut, crops, smoothing and strength."""
    second = [60 + draw((HEIGHT, WIDTH), (220 - 3 * index, 70, 40))[0] // 4 * 3 for index in range(5)]
    images = walk(6) + second
    images[3] = np.zeros_like(images[3])
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    options = {"smooth": 1.0, "strength": 1.5, "paste_back": True, "best_frame": 1, "loop": 2}
    model, chosen = ShiftingModel(), framing.Framing(paste_back=True)
    performance = animation.Animation(
        model,
        source,
        "a.jpg",
        clip(images),
        model.config.animate,
        animation.MotionOptions(best_frame=1, smooth=1.0, strength=1.5, loop=2),
        chosen,
        4,
    )
    recorder = motion_files.MotionRecorder(Fraction(25), model.weights_sha256())
    expected = [frame.result for frame in performance.frames(recorder)]
    motion = performance.finish_motion(recorder)
    assert motion.found.tolist() == [index != 3 for index in range(11)] and len(motion.starts) > 1
    _, frames = run(source, motion, **options)
    assert len(frames) == len(expected) == 22
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.result, same)


def write_inputs(folder, count=5):
    video.write_image(folder / "source.png", draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0])
    for name, images in (("driving", walk(count)), ("moving", walk(count, 2, 100))):
        with video.write_video(folder / name, 25) as writer:
            for image in images:
                writer.write(image)
    return str(folder / "source.png"), video.open_video(folder / "driving")


def animate_file(source, driving, output, **options):
    model = ShiftingModel()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return animate.animate_file(
            model,
            source,
            driving,
            output,
            model.config.animate,
            report=lambda line: None,
            progress=False,
            check_inputs=False,
            **options,
        )


def test_animate_file_writes_one_image(tmp_path):
    source, _ = write_inputs(tmp_path)
    pose = video.open_still(tmp_path / "driving" / "00003.png")
    for name in ("posed.png", "posed.jpg", "posed.webp"):
        assert animate_file(source, pose, animate.Output(str(tmp_path / name))) == 1
        assert video.read_image(tmp_path / name).shape == (SIDE, SIDE, 3)
    with pytest.raises(errors.UserError, match="`out` is one image, but the animation has more frames"):
        animate_file(source, video.open_video(tmp_path / "driving"), animate.Output(str(tmp_path / "more.png")))
    assert not (tmp_path / "more.png").exists()


def test_animate_file_writes_animated_webp(tmp_path):
    source, driving = write_inputs(tmp_path)
    out = tmp_path / "moved.webp"
    assert animate_file(source, driving, animate.Output(str(out))) == 5
    assert b"animated with fomm-tf" in out.read_bytes()
    written = video.open_video(out)
    assert (written.fps, written.size, len(list(written))) == (25, (SIDE, SIDE), 5)


def test_animate_file_shows_crops(tmp_path):
    source, driving = write_inputs(tmp_path)
    folder = tmp_path / "visualize"
    animate_file(source, driving, animate.Output(str(tmp_path / "out"), visualize=str(folder)))
    shown = video.read_image(folder / "crops.png")
    assert shown.shape[0] == 360 and (shown.max(axis=-1) > shown.min(axis=-1) + 100).any()
    assert (folder / "overview.png").exists() and (folder / "keypoints.mp4").exists()
    with pytest.raises(errors.UserError, match="`visualize` shows each driving frame once; omit `loop`"):
        options = {"motion": animation.MotionOptions(ping_pong=True)}
        animate_file(source, driving, animate.Output(str(tmp_path / "out"), visualize=str(folder)), **options)


def test_animate_file_of_source_video_writes_whole_frames(tmp_path):
    _, driving = write_inputs(tmp_path)
    output = animate.Output(str(tmp_path / "out"), side_by_side=True)
    moving = video.open_video(tmp_path / "moving")
    assert animate_file(moving, driving, output, choice=framing.Framing(paste_back=True)) == 5
    assert video.open_video(tmp_path / "out").size == (HEIGHT, 3 * WIDTH)


def write_tone(path, pitch):
    """A clip of five frames with sound."""
    with av.open(str(path), "w") as container:
        images, sound = container.add_stream("libx264", 25), container.add_stream("aac", 48000, layout="mono")
        images.width, images.height, images.pix_fmt = 320, 180, "yuv420p"
        for image in walk(5):
            container.mux(images.encode(av.VideoFrame.from_ndarray(image)))
        tone = np.int16(9000 * np.sin(np.arange(9600) * pitch))[np.newaxis]
        frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(sound.encode(frame))
        container.mux(images.encode())
        container.mux(sound.encode())
    return video.open_video(path)


def loudest(path):
    """Pitch of a file's sound, in radians per sample; None without sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(sound))
    return spectrum.argmax() * 2 * np.pi / len(sound)


@pytest.mark.parametrize(
    ("audio_from", "has_sound", "pitch"),
    [("auto", True, 0.05), ("source", True, 0.2), ("driving", False, None), ("auto", False, 0.2)],
)
def test_animate_file_copies_sound_of_either_video(audio_from, has_sound, pitch, tmp_path):
    source, driving = write_tone(tmp_path / "source.mp4", 0.2), write_tone(tmp_path / "driving.mp4", 0.05)
    if not has_sound:
        _, driving = write_inputs(tmp_path)
    out = tmp_path / "out.mp4"
    animate_file(source, driving, animate.Output(str(out), audio_from=audio_from))
    assert loudest(out) == (None if pitch is None else pytest.approx(pitch, rel=0.1))


def test_animation_reads_each_driving_frame_once_more_per_choice():
    """Crops, best frame and its keypoints take a pass each, and the animation one."""
    passes = itertools.count()
    images = walk(6)

    def read():
        next(passes)
        return iter(images)

    driving = video.Video(pathlib.Path("clip.mp4"), Fraction(25), (HEIGHT, WIDTH), 6, False, read)
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    run(source, driving, best_frame=2)
    assert next(passes) == 3


@pytest.mark.slow
def test_animation_memory_is_flat_with_all_options():
    script = pathlib.Path(__file__).with_name("measure_memory.py")
    path = os.pathsep.join([str(script.parents[2]), str(script.parents[1])])
    done = subprocess.run(
        [sys.executable, str(script), "4800"], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["frames"] == 4800
    # Crops, best frame and animation.
    assert len(measured["passes"]) >= 3
    for resident in measured["passes"]:
        if len(resident) < 20:  # up to the best frame
            continue
        assert max(resident[6:]) - resident[5] < 30, resident
