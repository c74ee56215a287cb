"""`fomm animate` and `fomm animate-set`."""

import errno
import json
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import zlib

import av
import drawn_heads
import faces
import numpy as np
import processes
import pytest
from PIL import Image, ImageFile

from fomm_tf import checkpoint, cli, config, demo, video

DATA = pathlib.Path(__file__).parent / "parity" / "data"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    checkpoint_file, recipe = DATA / "tiny-checkpoint.pth.tar", DATA / "tiny.yaml"
    assert cli.main(["convert", str(checkpoint_file), "--config", str(recipe), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A drawn image and a drawn clip of 20 frames without sound."""
    folder = tmp_path_factory.mktemp("inputs")
    drawn_heads.write_inputs(folder, 96, 20, "driving.mp4")
    return folder


@pytest.fixture
def arguments(run_folder, inputs, tmp_path):
    def make(**changes):
        values = {
            "run": run_folder,
            "source": inputs / "source.png",
            "driving": inputs / "driving.mp4",
            "out": tmp_path / "out.mp4",
        } | changes
        return ["animate", *(str(part) for key, value in values.items() for part in (f"--{key}", value))]

    return make


def assert_user_error(capsys, argv, *words):
    capsys.readouterr()
    assert cli.main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def assert_only_warns_of_objects(stderr):
    """The weights of the tests are random, so that the model finds no object."""
    assert all(line.startswith("fomm: warning: ") and "shows no object" in line for line in stderr.splitlines()), stderr


def folder_of(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


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


# Wrong inputs.


def huge_png(path):
    """Writes a png with 20,000 x 20,000 pixels in its header, and a few bytes of data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    pieces = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + pieces)


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


def test_animate_names_missing_files(arguments, capsys, tmp_path):
    assert_user_error(capsys, arguments(source="no.png"), "no.png")
    assert_user_error(capsys, arguments(driving="no.mp4"), "no.mp4")
    assert_user_error(capsys, arguments(run=tmp_path / "no-run"), "no-run", "does not exist", "fomm convert")
    assert folder_of(tmp_path) == []


def test_animate_rejects_files_that_are_not_videos(arguments, capsys, tmp_path):
    for name, content in {"text.mp4": b"not a video, just a line of text\n" * 20, "empty.mp4": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert_user_error(capsys, arguments(driving=tmp_path / name), name)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros([1, 1024], np.int16), "s16", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert_user_error(capsys, arguments(driving=tmp_path / "sound.mp4"), "sound.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_animate_uses_truncated_video_up_to_its_end(arguments, inputs, capsys, tmp_path):
    drawn_heads.write_clip(tmp_path / "whole.webm", 96, 100)
    whole = (tmp_path / "whole.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert cli.main(arguments(driving=tmp_path / "cut.webm")) == 0
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if "no object that the model finds" not in line]  # it is randomly initialized
    assert len(lines) == 1 and lines[0].startswith("fomm: warning: ") and "cut.webm" in lines[0]
    assert 10 < len(list(video.open_video(tmp_path / "out.mp4"))) < 100


def test_animate_accepts_image_of_one_pixel(arguments, tmp_path):
    Image.new("RGB", (1, 1), (200, 10, 10)).save(tmp_path / "dot.png")
    assert cli.main([*arguments(source=tmp_path / "dot.png"), "--duration", "0.1"]) == 0


def test_animate_rejects_huge_image_without_decoding_it(arguments, capsys, tmp_path, monkeypatch):
    huge_png(tmp_path / "huge.png")
    for decode in (ImageFile.ImageFile, Image.Image):
        monkeypatch.setattr(decode, "load", lambda _: pytest.fail("it was decoded"))
    assert_user_error(capsys, arguments(source=tmp_path / "huge.png"), "huge.png", "pixels")


def test_animate_rejects_checkpoint_of_another_architecture(arguments, run_folder, capsys, tmp_path):
    shutil.copytree(run_folder, tmp_path / "other")
    settings = config.override(config.load(run_folder / "config.yaml"), ["model.num_keypoints=4"])
    (tmp_path / "other" / "config.yaml").write_text(config.dump(settings))
    assert_user_error(capsys, arguments(run=tmp_path / "other"), "does not hold the model")


def test_animate_rejects_output_that_cannot_be_written(arguments, capsys, tmp_path):
    (tmp_path / "file").write_text("a file")
    assert_user_error(capsys, arguments(out=tmp_path / "file" / "out.mp4"), "file")
    assert_user_error(capsys, arguments(out=tmp_path / "out.docx"), ".docx", ".mp4")
    assert folder_of(tmp_path) == ["file"]


def test_animate_rejects_wrong_options(arguments, capsys, tmp_path):
    for options, word in (
        (["--best-frame", "first"], "index of a frame, from 0"),
        (["--crop", "head"], "--crop must be auto, off, face, body"),
        (["--face", "0"], "--face must be largest, all or the number"),
        (["--face", "2"], "--face 2 needs detected faces"),
        (["--smooth", "11"], "--smooth must"),
        (["--motion-strength", "-1"], "--motion-strength must"),
        (["--best-frame", "99"], "there are 20 driving frames"),
        (["--batch-size", "0"], "--batch-size must"),
        (["--loop", "0"], "--loop 0 repeats the motion until the source video ends"),
        (["--start", "99"], "99"),
        (["--duration", "-1"], "duration"),
        (["--fps", "0"], "fps"),
        (["--fit", "cover"], "crop"),
    ):
        assert_user_error(capsys, [*arguments(), *options], word)
    assert_user_error(capsys, ["animate"], "--source")
    assert not (tmp_path / "out.mp4").exists()


def test_animate_without_audio_in_driving_video(arguments, tmp_path):
    assert cli.main([*arguments(), "--audio", "--duration", "0.2"]) == 0
    assert not video.open_video(tmp_path / "out.mp4").has_audio


@pytest.mark.slow
def test_animate_leaves_nothing_on_full_disk(arguments, tmp_path):
    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    command = [sys.executable, "-m", "fomm_tf", *arguments()]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_file_size, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "out.mp4" in done.stderr
    assert folder_of(tmp_path) == []


def test_full_disk_is_reported_in_one_line(monkeypatch, capsys, run_folder):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(checkpoint, "read_config", fail)
    assert_user_error(capsys, ["info", str(run_folder)], "x cannot be written: No space left on device")


# Prints a line when the third frame is written, and waits for a signal at the 1000th.
INTERRUPTED = """
import sys, threading
from fomm_tf import cli
from fomm_tf.video import writing

write, count = writing.VideoWriter.write, 0

def count_and_write(self, frame):
    global count
    count += 1
    if count == 3:
        print("writing", flush=True)
    if count == 1000:
        threading.Event().wait()
    write(self, frame)

writing.VideoWriter.write = count_and_write
sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_animate_leaves_nothing_when_interrupted(arguments, stop, inputs, tmp_path):
    frames = list(demo.draw_clip(96, 100))
    with video.write_video(tmp_path / "long.mp4", 25) as writer:
        for frame in 20 * frames:
            writer.write(frame)
    process = processes.start("-c", INTERRUPTED, *arguments(driving=tmp_path / "long.mp4"), "--batch-size", "1")
    assert process.stdout.readline().startswith("device")
    assert process.stdout.readline() == "writing\n", process.communicate()
    assert any(name.startswith(".") for name in folder_of(tmp_path))
    process.send_signal(stop)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert folder_of(tmp_path) == ["long.mp4"]


# Many pairs.


def test_animate_set_continues_after_failed_pairs(run_folder, inputs, capsys, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\nsource.png,driving.mp4\nno.png,driving.mp4\n")
    argv = ["animate-set", "--run", run_folder, "--pairs", tmp_path / "pairs.csv", "--data", inputs]
    argv += ["--out", tmp_path / "out", "--duration", "0.2"]
    capsys.readouterr()
    assert cli.main([str(part) for part in argv]) == 2
    assert "1 of 2 pairs" in capsys.readouterr().err
    assert folder_of(tmp_path / "out") == ["source--driving.mp4"]
    assert len(list(video.open_video(tmp_path / "out" / "source--driving.mp4"))) == 5


@pytest.mark.parametrize(
    ("table", "word"),
    [("a,b\n1,2\n", "got a, b"), ("source,driving\n", "at least one row"), ("source,driving\na,b\na,b\n", "two pairs")],
)
def test_animate_set_rejects_bad_list_of_pairs(run_folder, table, word, capsys, tmp_path):
    (tmp_path / "pairs.csv").write_text(table)
    argv = [
        "animate-set",
        "--run",
        run_folder,
        "--pairs",
        tmp_path / "pairs.csv",
        "--data",
        tmp_path,
        "--out",
        tmp_path,
    ]
    assert_user_error(capsys, [str(part) for part in argv], word)


# Real videos.


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory):
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("astronaut") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


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


MEASURE_MEMORY = """
import json, sys
from fomm_tf import video
from fomm_tf.inference import animate, animator

run, source, driving, out = sys.argv[1:]
clip, passes = video.open_video(driving, duration=100), []

class CountingClip:
    def __getattr__(self, name):
        return getattr(clip, name)
    def __iter__(self):
        passes.append([])
        for number, frame in enumerate(clip):
            if number % 100 == 0:
                with open("/proc/self/statm") as file:
                    passes[-1].append(int(file.read().split()[1]) * 4096)
            yield frame

model = animator.Animator.load(run)
motion = animate.MotionOptions(best_frame=1000)
count = animate.animate_file(
    model, source, CountingClip(), animate.Output(out), model.config.animate, motion, batch_size=16
)
print(json.dumps({"count": count, "passes": passes}))
"""


@pytest.mark.slow
@pytest.mark.network
def test_animate_memory_is_flat_over_long_video(run_folder, astronaut, tmp_path):
    clip = faces.faces()["franck.mp4"]
    done = processes.run("-c", MEASURE_MEMORY, run_folder, astronaut, clip, tmp_path / "out.mp4")
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    assert measured["count"] == 2400
    # One pass to find the best frame, then one for the animation.
    assert [len(resident) for resident in measured["passes"]] == [11, 24]
    for resident in measured["passes"]:
        growth = (max(resident[6:]) - resident[5]) / 2**20
        assert growth < 30, f"{growth:.1f} MB"
