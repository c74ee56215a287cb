"""`fomm animate`: what it writes and prints."""

import subprocess
import sys

import av
import faces
import numpy as np
import processes
import pytest
from animate_lines import assert_user_error, folder_of

from fomm_tf import checkpoint, cli, config, video


def assert_only_warns_of_objects(stderr):
    """The weights of the tests are random, so that the model finds no object."""
    assert all(line.startswith("fomm: warning: ") and "shows no object" in line for line in stderr.splitlines()), stderr


@pytest.mark.slow
def test_animate_as_a_subprocess_prints_only_its_result(arguments, tmp_path):
    command = [sys.executable, "-m", "fomm_tf", *arguments(), "--visualize", str(tmp_path / "visualize")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_only_warns_of_objects(done.stderr)
    assert done.stdout.splitlines() == ["device: CPU (TensorFlow finds no GPU)", f"{tmp_path / 'out.mp4'}: 20 frames"]
    clip = video.open_video(tmp_path / "out.mp4")
    assert (clip.fps, clip.size, clip.frame_count) == (25, (64, 64), 20)
    panels = {"keypoints": (64, 128), "deformed": (64, 64), "occlusion": (64, 64), "masks": (64, 64)}
    for name, size in panels.items():
        panel = video.open_video(tmp_path / "visualize" / f"{name}.mp4")
        assert (panel.size, len(list(panel))) == (size, 20), name
    assert video.read_image(tmp_path / "visualize" / "overview.png").shape[1] == 6 * 64


def test_animate_accepts_all_options_together(arguments, tmp_path):
    options = "--mode absolute --no-adapt-scale --fit pad --start 0.2 --duration 0.4 --batch-size 3 --side-by-side"
    assert cli.main([*arguments(), *options.split(), "--no-audio", "--no-tag", "--quiet", "--best-frame", "2"]) == 0
    clip = video.open_video(tmp_path / "out.mp4")
    assert clip.size == (64, 192) and len(list(clip)) == 10
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata.get("comment") is None


def test_animate_writes_tag_to_metadata(arguments, tmp_path):
    assert cli.main([*arguments(), "--duration", "0.1", "--quiet"]) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["comment"] == "animated with fomm-tf"


def test_animate_quiet_prints_nothing(arguments, capsys):
    capsys.readouterr()
    assert cli.main([*arguments(), "--duration", "0.1", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mov", ".webm", ".gif", ""])
def test_animate_writes_format_of_suffix(arguments, suffix, tmp_path):
    out = tmp_path / f"result{suffix}"
    assert cli.main([*arguments(out=out), "--duration", "0.2"]) == 0
    clip = video.open_video(out)
    assert clip.size == (64, 64) and len(list(clip)) == 5


@pytest.mark.slow
def test_animate_modes_and_best_frame_change_the_result(arguments, tmp_path):
    results = {}
    for name, options in {
        "relative": [],
        "absolute": ["--mode", "absolute"],
        "adapted": ["--adapt-scale"],
        "best": ["--best-frame", "10"],
    }.items():
        assert cli.main([*arguments(out=tmp_path / name), *options, "--quiet"]) == 0
        results[name] = np.stack(list(video.open_video(tmp_path / name))).astype(int)
    for name in ("absolute", "adapted", "best"):
        assert np.abs(results[name] - results["relative"]).max() > 3, name


def test_animate_by_saved_motion_is_the_animation_by_its_video(arguments, capsys, tmp_path):
    saved = tmp_path / "motion.npz"
    options = ["--smooth", "1", "--motion-strength", "1.5", "--crop", "8,8,80,80", "--paste-back", "--no-audio"]
    assert cli.main([*arguments(), *options, "--save-motion", str(saved)]) == 0
    assert cli.main([*arguments(driving=saved, out=tmp_path / "again.mp4"), *options]) == 0
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()
    assert video.open_video(tmp_path / "out.mp4").size == (96, 96)
    assert_user_error(capsys, [*arguments(driving=saved), "--side-by-side"], "--side-by-side needs the frames")


def test_animate_finds_best_frame_by_keypoints(arguments, capsys):
    assert cli.main([*arguments(), "--best-frame", "auto"]) == 0
    assert "whose keypoints are closest to the source's" in capsys.readouterr().out


def test_animate_by_one_image_writes_one_image(arguments, inputs, capsys, tmp_path):
    posed = arguments(driving=inputs / "source.png", out=tmp_path / "posed.png")
    assert cli.main(posed) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'posed.png'}: 1 frame"
    assert video.read_image(tmp_path / "posed.png").shape == (64, 64, 3)
    assert cli.main([*arguments(out=tmp_path / "at.png"), "--start", "0.4"]) == 0
    assert_user_error(capsys, [*posed, "--mode", "relative"], "--mode relative needs a driving video")
    words = f"--driving {inputs / 'source.png'} is one image", "--out the suffix .png"
    assert_user_error(capsys, arguments(driving=inputs / "source.png"), *words)
    assert folder_of(tmp_path) == ["at.png", "posed.png"]


def test_animate_poses_each_frame_of_source_video(arguments, inputs, tmp_path):
    assert cli.main([*arguments(source=inputs / "driving.mp4"), "--duration", "0.2", "--loop", "0", "--quiet"]) == 0
    assert len(list(video.open_video(tmp_path / "out.mp4"))) == 20
    pose = arguments(source=inputs / "driving.mp4", driving=inputs / "source.png", out=tmp_path / "posed")
    assert cli.main([*pose, "--paste-back", "--quiet"]) == 0
    assert video.open_video(tmp_path / "posed").size == (96, 96) and len(list((tmp_path / "posed").iterdir())) == 20


def test_animate_without_audio_in_driving_video(arguments, tmp_path):
    assert cli.main([*arguments(), "--audio", "--duration", "0.2"]) == 0
    assert not video.open_video(tmp_path / "out.mp4").has_audio


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("model", "clip_name", "seconds", "sound"),
    [
        ("tiny", "WolfgangLanger_Pexels.mp4", 3, True),
        pytest.param("vox-256", "franck.mp4", 0.5, False, marks=pytest.mark.conformance),
    ],
)
def test_animate_portrait_by_talking_face(model, clip_name, seconds, sound, arguments, astronaut, tmp_path):
    driving = faces.faces()[clip_name]
    changes, size = {"source": astronaut, "driving": driving}, 64
    if model == "vox-256":
        changes["run"], size = tmp_path / "vox", 256
        checkpoint.save(changes["run"], checkpoint.build(config.load(config.recipes()["vox-256"])), "random weights")
    options = ["--start", "2", "--duration", str(seconds), "--visualize", str(tmp_path / "visualize")]
    done = processes.run("-m", "fomm_tf", *arguments(**changes), *options)
    assert done.returncode == 0, done.stderr
    assert_only_warns_of_objects(done.stderr)
    fps, result = video.open_video(driving).fps, video.open_video(tmp_path / "out.mp4")
    count = round(fps * seconds)
    assert (result.size, result.fps, len(list(result))) == ((size, size), fps, count)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"][: 1 + sound]
        image = container.streams.video[0]
        assert (image.codec_context.name, image.pix_fmt) == ("h264", "yuv420p")
        for track in container.streams.audio:
            assert abs(float(track.duration * track.time_base) - seconds) < 0.1
    assert video.read_image(tmp_path / "visualize" / "overview.png").shape[1] == 6 * size
