"""`fomm figure` through the command itself."""

import pathlib

import drawn_heads
import numpy as np
import processes
import pytest

from fomm_tf import cli, video
from fomm_tf.inference import animator

DATA = pathlib.Path(__file__).parent / "parity" / "data"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure")
    recipe = ["--config", str(DATA / "tiny.yaml"), "--out", str(folder / "tiny")]
    assert cli.main(["convert", str(DATA / "tiny-checkpoint.pth.tar"), *recipe]) == 0
    drawn_heads.write_inputs(folder, 96, 7, "clip")
    return folder


@pytest.fixture
def figure(files, tmp_path):
    def run(kind, *options, out=tmp_path / "figure.png", driving=files / "clip"):
        given = ["--driving", driving] if driving else []
        return cli.main(["figure", kind, "--out", str(out), *map(str, [*given, *options])])

    return run


@pytest.mark.slow
def test_figure_runs_without_noise_in_its_own_process(files, tmp_path):
    out = tmp_path / "new" / "motion.png"
    options = ["--run", files / "tiny", "--source", files / "source.png", "--driving", files / "clip", "--frames", "2"]
    done = processes.run("-m", "fomm_tf", "figure", "motion", *options, "--size", "64", "--out", out)
    height, width = video.read_image(out).shape[:2]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}: {width}x{height} pixels\n", "")
    # Five rows, three columns, and the words.
    assert 5 * 64 < height < 6 * 64 and 3 * 64 < width < 4 * 64
    assert [path.name for path in out.parent.iterdir()] == ["motion.png"]


def test_figure_animation_matches_animate(figure, files, tmp_path):
    run = files / "tiny"
    options = ["--run", run, "--source", files / "source.png", "--frames", "1", "--size", "64", "--mode", "absolute"]
    assert figure("animation", *options) == 0
    model = animator.Animator.load(run)
    size = model.config.model.frame_size
    image, frame = drawn_heads.draw_image(96), list(drawn_heads.draw_clip(96, 7))[-1]
    image, frame = video.resize(image, size), video.resize(frame, size)
    (expected,) = model.animate(image, [frame], mode="absolute")
    shown = video.read_image(tmp_path / "figure.png")
    # The last cell ends two gaps from the corner.
    np.testing.assert_allclose(np.int32(shown[-64 - 4 : -4, -64 - 4 : -4]), expected, atol=1)


@pytest.mark.slow
def test_figure_reconstruction_has_one_row_per_run(figure, files, tmp_path):
    options = ["--frames", "2", "--size", "64", "--quiet", "--run"]
    assert figure("reconstruction", *options, files / "tiny", out=tmp_path / "one.png") == 0
    again = [files / "tiny", "--run", f"Second={files / 'tiny'}"]
    assert figure("reconstruction", *options, *again, out=tmp_path / "two.png") == 0
    one, two = (video.read_image(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.shape[0] == one.shape[0] + 64 + 2 and two.shape[1] == one.shape[1]
    # The same model twice: the same images, below each other.
    np.testing.assert_array_equal(two[-68:-4, -68:-4], two[-134:-70, -68:-4])


def test_figure_keypoints_without_a_clip_and_with_jacobians(figure, files, tmp_path):
    options = ["--run", files / "tiny", "--source", files / "source.png", "--size", "64", "--quiet"]
    assert figure("keypoints", *options, driving=None, out=tmp_path / "dots.jpg") == 0
    assert figure("keypoints", *options, "--jacobians", driving=None, out=tmp_path / "crosses.jpg") == 0
    dots, crosses = (video.read_image(tmp_path / f"{name}.jpg").astype(int) for name in ("dots", "crosses"))
    assert dots.shape == crosses.shape and np.abs(dots - crosses).max() > 50


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("portrait", [], ["portrait", "keypoints"]),
        ("animation", [], ["shows sources", "--source IMAGE"]),
        ("reconstruction", ["--source", "x.png"], ["first frame as its source", "leave --source out"]),
        ("animation", ["--source", "gone.png"], ["gone.png does not exist"]),
        ("keypoints", ["--run", "gone"], ["--run gone is not a directory"]),
        ("keypoints", ["--run", "."], ["config.yaml"]),
        ("keypoints", ["--frames", "0"], ["--frames must be at least 1; got 0"]),
        ("keypoints", ["--size", "8"], ["--size must be 16 to 1024 pixels; got 8"]),
        ("keypoints", ["--start", "9"], ["--start 9 s is after the last frame"]),
    ],
)
def test_figure_reports_a_user_error_in_one_line_and_writes_nothing(
    figure, tmp_path, capsys, monkeypatch, kind, options, words
):
    monkeypatch.chdir(tmp_path)
    assert figure(kind, *options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "word"), [("figure.pdf", ".png, .jpg"), ("figure", ".png"), ("folder.png", "is a directory")]
)
def test_figure_checks_the_output_name_first(figure, tmp_path, capsys, out, word):
    (tmp_path / "folder.png").mkdir()
    assert figure("keypoints", "--run", "gone", out=tmp_path / out) == 2
    assert word in capsys.readouterr().err


def test_figure_rejects_missing_inputs(figure, capsys):
    assert figure("keypoints", driving=None) == 2
    assert "figure would be empty; give --source" in capsys.readouterr().err
    assert figure("motion", "--source", "x.png", driving=None) == 2
    assert "shows driving frames; give --driving" in capsys.readouterr().err
