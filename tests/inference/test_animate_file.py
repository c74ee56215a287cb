"""Animations of drawn scenes from files to files: images, webp, whole frames, sound."""

import warnings

import av
import numpy as np
import pytest
from disc_scenes import HEIGHT, RADIUS, SIDE, WIDTH, walk
from drawn_discs import draw
from shifting_model import ShiftingModel

from fomm_tf import errors, video
from fomm_tf.inference import animate, animation, framing, motion_files

pytestmark = pytest.mark.usefixtures("discs")


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


def test_animate_file_saves_no_motion_of_a_motion_file(tmp_path):
    source, driving = write_inputs(tmp_path)
    motion = tmp_path / "motion.npz"
    animate_file(source, driving, animate.Output(str(tmp_path / "out"), save_motion=str(motion)))
    output = animate.Output(str(tmp_path / "again"), save_motion=str(tmp_path / "copy.npz"))
    with pytest.raises(errors.UserError, match="`save_motion` needs a driving video; the motion is in a file already"):
        animate_file(source, motion_files.read_motion(motion), output)
    assert not (tmp_path / "again").exists() and not (tmp_path / "copy.npz").exists()
