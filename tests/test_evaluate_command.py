"""`fomm reconstruct` and `fomm evaluate` through the command itself."""

import json
import pathlib
import types

import faces
import numpy as np
import processes
import pytest
import square_videos

from fomm_tf import checkpoint, cli, config, evaluation, video
from fomm_tf.evaluation import rendered_people

SMALL = pathlib.Path(__file__).parent / "training" / "small.yaml"
OWN = ("--detector", "custom_detectors:find_brightest", "--embedding", "custom_detectors:embed_color")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    checkpoint.save(folder, checkpoint.build(config.load(SMALL)), "for tests")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two clips of 9 frames of 40x48, which are cropped to the model's size, and one of a single frame."""
    return square_videos.write_noise(tmp_path_factory.mktemp("videos"), {"a": 9, "b": 9, "single": 1})


def call(*arguments):
    done = processes.run("-m", "fomm_tf", *arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_reconstruct_writes_videos_and_frames_and_prints_l1(run_folder, videos, tmp_path):
    out = tmp_path / "out"
    done = call("reconstruct", "--run", run_folder, "--data", videos, "--out", out)
    assert done.stderr.splitlines() == [
        f"fomm: warning: {videos}/single.mp4 has a single frame, which is the source: there is nothing to reconstruct."
    ]
    found = json.loads((out / "report.json").read_text())
    l1, source_copy = (found["overall"]["l1"][who]["value"]["value"] for who in ("model", "source_copy"))
    for expected in (
        f"L1 {l1:.4f} (",
        f"source-copy baseline {source_copy:.4f} (",
        f"ratio {l1 / source_copy:.3f} (",
        "2 videos, 18",
    ):
        assert expected in done.stdout.splitlines()[0]
    assert sorted(path.name for path in out.iterdir()) == [
        *("a.mp4", "b.mp4", "png", "report.json", "report.md", "results", "sheet.png"),
    ]
    clip = video.open_video(out / "a.mp4")
    assert (clip.size, clip.fps, len(list(clip))) == ((32, 32), 25, 9)
    lossless = np.stack(list(video.open_video(out / "png" / "a"))) / 255
    truth = np.stack([video.resize(frame, (32, 32)) for frame in video.open_video(videos / "a.mp4")]) / 255
    per_video = next(one for one in found["videos"] if one["name"] == "a")["model"]["l1"]
    assert np.abs(lossless - truth).mean() == pytest.approx(per_video["total"] / per_video["frames"], abs=1e-3)


@pytest.mark.slow
def test_evaluate_prints_the_table_and_resumes(run_folder, videos, tmp_path, capsys):
    line = ["evaluate", "--run", run_folder, "--data", videos, "--out", tmp_path / "out", *OWN, "--metrics"]
    first = call(*line, "l1, akd,mkr,aed,psnr,ssim")
    assert "| L1 |" in first.stdout and "| MKR |" in first.stdout
    assert "2 videos, 18 frames; 1 of 3 could not be evaluated." in first.stdout
    written = (tmp_path / "out" / "results" / "reconstruction" / "a.json").stat().st_mtime_ns
    capsys.readouterr()
    assert cli.main([*map(str, line), "l1,akd,mkr,aed,psnr,ssim"]) == 0
    assert capsys.readouterr().out == first.stdout
    assert (tmp_path / "out" / "results" / "reconstruction" / "a.json").stat().st_mtime_ns == written


def test_reconstruct_quiet_and_side_by_side(run_folder, videos, tmp_path, capsys):
    argv = ["reconstruct", "--run", run_folder, "--data", videos, "--out", tmp_path, "--no-png", "--side-by-side"]
    assert cli.main([*map(str, argv), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert video.open_video(tmp_path / "a.mp4").size == (32, 96)
    assert not (tmp_path / "png").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--run": "nowhere"}, ["nowhere is not a run directory"]),
        ({"--data": "nowhere"}, ["--data nowhere is not a directory"]),
        ({"--metrics": "l1,fid"}, ["'fid'", "some of l1, akd"]),
        ({"--metrics": "motion,identity"}, ["motion, identity cannot be measured for reconstructions; give --animate"]),
        ({"--jobs": "0"}, ["--jobs must be at least 1; got 0"]),
        ({"--batch-size": "0"}, ["--batch-size must be at least 1; got 0"]),
        ({"--detector": "hands"}, ["There is no detector 'hands'"]),
        (
            {"--detector": "custom_detectors:return_wrong_type"},
            ["custom_detectors:return_wrong_type must return", "[N, P, 2]"],
        ),
        ({"--animate": "nowhere.csv"}, ["cannot read the pairs nowhere.csv"]),
        ({"--out": __file__}, ["is a file; name a directory"]),
    ],
)
def test_evaluate_reports_a_user_error_in_one_line(run_folder, videos, tmp_path, capsys, change, words):
    given = {"--run": run_folder, "--data": videos, "--out": tmp_path / "out", "--metrics": "l1,akd"}
    given |= {"--detector": "custom_detectors:find_brightest"} | change
    assert cli.main(["evaluate", *(str(part) for pair in given.items() for part in pair)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert all(word in lines[0] for word in words), lines[0]
    assert not list(tmp_path.rglob("report.*"))


def test_evaluate_rejects_a_directory_without_usable_clips(run_folder, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    argv = ["evaluate", "--run", run_folder, "--data", tmp_path / "data", "--out", tmp_path / "out", "--metrics", "l1"]
    assert cli.main(list(map(str, argv))) == 2
    assert "holds no clips" in capsys.readouterr().err
    (tmp_path / "data" / "broken.mp4").write_bytes(b"nonsense")
    assert cli.main(list(map(str, argv))) == 2
    assert "None of 1 videos could be evaluated" in capsys.readouterr().err


def test_evaluate_help_names_every_metric(capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    text = "".join(capsys.readouterr().out.split())
    assert all(name in text for name in evaluation.METRICS)


@pytest.mark.network
@pytest.mark.slow
def test_evaluate_a_talking_face_with_the_fetched_networks(tmp_path, capsys):
    faces.fetched("detectors")
    faces.fetched("backbone")
    (tmp_path / "data").mkdir()
    clip = video.open_video(faces.faces()["single_face.mp4"], duration=0.4)
    with video.write_video(tmp_path / "data" / "face.mp4", clip.fps) as writer:
        for frame in clip:
            writer.write(frame)
    assert cli.main(["evaluate", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    assert "| AKD, pixels |" in capsys.readouterr().out
    overall = json.loads((tmp_path / "out" / "report.json").read_text())["overall"]
    assert overall["akd"]["source_copy"]["frames"] == overall["aed"]["source_copy"]["frames"] == 12
    assert (
        0
        < overall["akd_script"]["source_copy"]["value"]["value"]
        < overall["akd"]["source_copy"]["value"]["value"]
        < 20
    )
    assert 0 < overall["aed"]["source_copy"]["value"]["value"] < 0.6
    assert 0 < overall["perceptual"]["source_copy"]["value"]["value"] < 1.5


@pytest.mark.parametrize("split", ["train", "test"])
def test_evaluate_rejects_expressions_without_truth(split, videos, tmp_path, capsys):
    known = tmp_path / "set" / "truth" / "train" / "a.json"
    if split == "test":
        known.parent.mkdir(parents=True)
        known.write_text("{}")
    line = ["evaluate", "--data", videos, "--out", tmp_path / "out", "--expressions", tmp_path / "set"]
    assert cli.main([str(part) for part in line]) == 2
    named = videos if split == "test" else tmp_path / "set"
    assert f"{named} has no truth about {split}; give a complete set of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("quiet", [False, True])
def test_evaluate_adds_the_table_of_expressions(quiet, tmp_path, monkeypatch, capsys):
    settings = []
    report = types.SimpleNamespace(summary=lambda: "| L1 |")
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments, **_: settings.append(arguments[3]) or report)
    checked = []
    monkeypatch.setattr(rendered_people, "check_set", lambda path, split: checked.append((path.name, split)))
    monkeypatch.setattr(rendered_people, "write", lambda people, data, out: f"| expressions of {data} |")
    line = ["evaluate", "--data", "data", "--out", str(tmp_path / "out"), "--expressions", str(tmp_path / "people")]
    assert cli.main([*line, *["--quiet"] * quiet]) == 0
    expected = f"| L1 |\n\n| expressions of data |\n\n{tmp_path}/out: report.md, report.json, sheet.png\n"
    assert capsys.readouterr().out == ("" if quiet else expected)
    assert settings[0].png and checked == [("people", "train"), ("data", "test")]
