"""No command replaces, or writes into, what it reads; by whatever spelling or link."""

import os
import pathlib

import numpy as np
import pytest

from fomm_tf import cli, errors, files, video

PAIR = "source,driving\nphoto.png,walk\nphoto.png,talk.mp4\n"


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    data, folder = pathlib.Path(__file__).parent / "parity" / "data", tmp_path_factory.mktemp("runs") / "tiny"
    line = ["convert", data / "tiny-checkpoint.pth.tar", "--config", data / "tiny.yaml", "--out", folder]
    assert cli.main([str(part) for part in line]) == 0
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current directory: an image, a video, frames, links, a run, a data set and tables."""
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    video.write_image(tmp_path / "photo.png", frames[0])
    targets = ("walk", "talk.mp4", "data/train/one", "data/test/two", "ours/photo--walk.mp4", "theirs/photo--walk.mp4")
    for name in (*targets, "photo--walk.mp4", "keypoints.mp4"):
        with video.write_video(tmp_path / name, 25) as writer:
            for frame in frames:
                writer.write(frame)
    for name in ("config.yaml", "best/config.yaml", "weights.npz"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("not read")
    for name in ("photo--walk", "pairs"):
        (tmp_path / f"{name}.csv").write_text("source,driving\nphoto.png,photo--walk.mp4\n")
    (tmp_path / "pairs.csv").write_text(PAIR)
    (tmp_path / "one.csv").write_text("source,driving\nphoto.png,walk\n")
    (tmp_path / "page.html").write_text(PAIR)
    (tmp_path / "study.json").write_text("{}")
    (tmp_path / "model.pth.tar").write_text("not read")
    (tmp_path / "symbolic.mp4").symlink_to("talk.mp4")
    (tmp_path / "symbolic").symlink_to("walk")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "talk.mp4")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "0.png").symlink_to("../photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    paths = sorted(path for path in folder.rglob("*"))
    return {
        path.relative_to(folder): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in paths
    }


ANIMATE = "animate --run run --source photo.png --driving"
CLIENT = "client animate --server localhost:1 --source photo.png --driving"
FIGURE = "figure animation --run run --source photo.png --driving"
SET = "animate-set --run run --data . --pairs"
STUDY = "study build --data . --a A=ours --b B=theirs --pairs"
COMMANDS = [
    *(
        f"{command} {driving} --out {out}"
        for command in (ANIMATE, CLIENT)
        for driving, out in (
            ("talk.mp4", "talk.mp4"),
            ("talk.mp4", "./data/../talk.mp4"),
            ("talk.mp4", "missing/../talk.mp4"),
            ("talk.mp4", "{place}/talk.mp4"),
            ("talk.mp4", "symbolic.mp4"),
            ("talk.mp4", "hard.mp4"),
            ("symbolic.mp4", "talk.mp4"),
            ("symbolic.mp4", "symbolic.mp4"),
            ("hard.mp4", "talk.mp4"),
            ("walk", "walk"),
            ("walk", "walk/"),
            ("walk", "symbolic"),
            ("symbolic", "walk"),
            ("walk", "symbolic/new"),
            ("walk", "walk/new.mp4"),
            ("walk", "."),
            ("data/test/two", "data"),
        )
    ),
    *(f"{ANIMATE} {name} --out new.mp4 --visualize {name}" for name in ("walk", "symbolic")),
    f"{ANIMATE} walk --out new.mp4 --visualize walk/deeper",
    f"{ANIMATE} keypoints.mp4 --out new.mp4 --visualize .",
    f"{ANIMATE} talk.mp4 --out run",
    f"{ANIMATE} talk.mp4 --out run/best",
    *(f"{FIGURE} walk --out {out}" for out in ("photo.png", "data/../photo.png", "walk/00001.png", "walk/new.png")),
    f"{FIGURE} linked --out photo.png",
    "figure keypoints --run run --source photo.png --out photo.png",
    "export --run run --to saved_model --out run",
    "export --run run --to tflite --out data/../run",
    "convert model.pth.tar --out model.pth.tar",
    "convert run --to-torch run/config.yaml",
    "convert run --pack run",
    "convert model.pth.tar --config study.json --out study.json",
    f"{STUDY} page.html --out page.html",
    f"{STUDY} one.csv --out new.html --key ours/photo--walk.mp4",
    "study score study.json --key study.json --out .",
    "prepare data --out data --crop none",
    "prepare walk --out walk --crop none",
    "prepare walk --out walk/new --crop none",
    "prepare data --out data/train/one/new --crop none",
    "shards data --for tiny --out data",
    "shards data --for tiny --out data/train/one/new",
    "evaluate --run run --data data --out data",
    "evaluate --run run --data data --out run",
    "reconstruct --run run --data data --out missing/../data",
    "evaluate --data data --out data/test/two --metrics l1",
    "train tiny data.root=data --run data/train/one/run",
    "train tiny data.root=data --run data",
    "train tiny data.root=data data.cache=data/train/one --run new",
    "ablation --data data --out data",
    "personalization --run run --data data --out data",
    "demo --run run --out run",
]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_refuses_an_output_that_is_an_input(place, capfd, line):
    before = contents(place)
    assert cli.main(line.format(place=place).split()) == 2
    err = capfd.readouterr().err
    assert err.startswith("fomm: ") and err.count("\n") == 1, err
    after = contents(place)
    assert {path: after.get(path) for path in before} == before
    assert not after.keys() - before.keys()


def test_animate_set_refuses_rows_whose_result_is_an_input_of_any_row(place, tiny_run, capfd):
    before = contents(place)
    (place / "pairs.csv").write_text("source,driving\nphoto.png,walk\nphoto.png,photo--walk.mp4\n")
    assert (
        cli.main(
            ["animate-set", "--run", str(tiny_run), "--pairs", "pairs.csv", "--data", ".", "--out", ".", "--quiet"]
        )
        == 2
    )
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "1 of 2 pairs" in err and "photo--walk.mp4 is the same" in err
    after = contents(place)
    made = pathlib.Path("photo--photo--walk.mp4")
    assert after.keys() - before.keys() == {made} and after[made]
    assert all(after[path] == before[path] for path in before if path.name != "pairs.csv")


def test_check_output_accepts_new_files_beside_inputs(place):
    files.check_output("new.mp4", "talk.mp4", "walk", None, "missing")
    files.check_output("new/deeper", "talk.mp4", "walk")
    files.check_output("data", "talk.mp4", "walk")
    files.check_output("walking", "walk")


@pytest.mark.parametrize("output", ["x" * 256, "人" * 86, "deep/" + "x" * 300 + "/a", "a/" * 2100 + "a"])
def test_check_output_refuses_a_long_name(output):
    with pytest.raises(errors.UserError, match=r"name .* is too long"):
        files.check_output(output)


LONG = "x" * 300


@pytest.mark.parametrize(
    "line",
    [
        f"{ANIMATE} talk.mp4 --out {LONG}.mp4",
        f"{ANIMATE} talk.mp4 --out {LONG}",
        f"{ANIMATE} talk.mp4 --out {LONG}/a.mp4",
        f"{ANIMATE} talk.mp4 --out new.mp4 --visualize {LONG}",
        f"animate --run {LONG} --source photo.png --driving talk.mp4 --out new.mp4",
        f"{CLIENT} talk.mp4 --out {LONG}.mp4",
        f"{FIGURE} talk.mp4 --out {LONG}.png",
        f"{SET} one.csv --out {LONG}",
        f"export --to saved_model --out {LONG}",
        f"convert model.pth.tar --out {LONG}",
        f"convert run --to-torch {LONG}.pth.tar",
        f"convert run --pack {LONG}",
        f"prepare walk --crop none --out {LONG}",
        f"evaluate --data data --out {LONG}",
        f"train tiny data.root=data --run {LONG}",
        f"ablation --data data --out {LONG}",
        f"study build --data . --a A=ours --b B=theirs --pairs one.csv --out {LONG}.html",
        f"study score study.json --key study.json --out {LONG}",
        f"demo --out {LONG}",
    ],
)
def test_command_says_that_a_name_is_too_long(place, capfd, line):
    before = contents(place)
    assert cli.main(line.split()) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "too long" in err
    assert contents(place) == before


def test_safe_name_keeps_short_names_and_shortens_long_ones():
    assert files.safe_name("a%d\n人") == "a%d\n人"
    long = [files.safe_name("人" * 82 + end) for end in "ab"]
    assert long[0] != long[1] and all(len(name.encode()) <= 225 and name.startswith("人人") for name in long)
    assert files.safe_name("人" * 82 + "a") == long[0]
    files.check_name(files.safe_name("a\0b"))


def test_animate_set_keeps_the_good_pairs_of_a_table(place, tiny_run, capfd):
    (place / ("y" * 250 + ".png")).hardlink_to(place / "photo.png")
    (place / "a%d\nb.mp4").hardlink_to(place / "keypoints.mp4")
    (place / os.fsdecode(b"bad\xff.png")).hardlink_to(place / "photo.png")
    rows = [("y" * 250 + ".png", "walk"), ("pho\0to.png", "walk"), (LONG, "walk"), ("photo.png", '"a%d\nb.mp4"')]
    table = "source,driving\n" + "".join(f"{source},{driving}\n" for source, driving in rows)
    (place / "pairs.csv").write_text(table)
    assert (
        cli.main(
            [
                "animate-set",
                "--run",
                str(tiny_run),
                "--pairs",
                "pairs.csv",
                "--data",
                ".",
                "--out",
                "results",
                "--quiet",
            ]
        )
        == 2
    )
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "2 of 4 pairs" in err and "\0" not in err
    assert sorted(path.name[:5] for path in (place / "results").iterdir()) == ["photo", "yyyyy"]


@pytest.mark.parametrize("name", ["人" * 83, "a%d", "line\nbreak", "-dash", os.fsdecode(b"bad\xff")])
def test_prepare_reads_clips_of_any_name(place, capfd, name):
    (place / "clips").mkdir()
    for clip in (name, "ok"):
        (place / "clips" / f"{clip}.mp4").hardlink_to(place / "talk.mp4")
    options = "--crop none --size 32 --min-side 1 --min-frames 2 --no-cuts --test-share 0 --jobs 1"
    for _ in range(2):  # the second run resumes
        assert cli.main(["prepare", "clips", "--out", "set", *options.split()]) == 0
        assert capfd.readouterr().out.startswith("set: 2 clips in train")
    assert len(list((place / "set" / "train").iterdir())) == 2
