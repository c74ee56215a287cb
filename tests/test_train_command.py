"""`fomm train`: the mistakes that it reports, and a run through the command itself."""

import pathlib
import shutil

import numpy as np
import processes
import pytest

from fomm_tf import checkpoint, cli, config, video
from fomm_tf.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "training" / "small.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CONFIG|CLIPS is missing: give a recipe or a directory of videos, or --run and --resume"),
        (
            ["{small}", "--resume", "--init-from", "runs/x"],
            "--resume cannot be combined with --init-from",
        ),
        (["absent.yaml"], "Cannot read the config absent.yaml"),
        (["{small}", "train.speed=3"], "train has no key speed; the known ones are epochs, "),
        (["{small}", "train.steps"], "An override must be section.key=value; got 'train.steps'"),
        (["{small}", "train.batch_size=0"], "train.batch_size must be at least 1; got 0"),
        (["{small}", "data.root={folder}/absent", "--run", "{folder}/run"], "absent is not a directory"),
        (["{small}", "--run", "{folder}/run", "--resume"], "run is not a run directory: it does not exist"),
        (["{small}", "--run", "{folder}"], "already exists; continue it with --resume"),
        (["{small}", "--sped"], "unrecognized arguments: --sped"),
        (["{folder}", "--out", "{folder}/run", "--minutes", "0"], "--minutes must be above 0; got 0"),
        (["{folder}", "--from-scratch", "--init-from", "x"], "--from-scratch cannot be combined with --init-from"),
        (["--personalize", "{folder}", "--run", "x", "--resume"], "--resume cannot be combined with --personalize"),
        (["{small}", "--personalize", "{folder}"], "CONFIG|CLIPS cannot be combined with --personalize, which takes"),
        (["--personalize", "{folder}", "--from-scratch"], "--from-scratch cannot be combined with --personalize"),
        (["--personalize", "{folder}/absent", "--crop", "none"], "absent does not exist; give videos, or directories"),
    ],
)
def test_train_reports_a_mistake_in_one_line(arguments, message, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    arguments = [argument.format(small=SMALL, folder=tmp_path) for argument in arguments]
    assert cli.main(["train", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("fomm: ") and complaint.count("\n") == 1 and message in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_train_rejects_a_directory_that_is_no_directory_of_videos(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    assert cli.main(["train", str(tmp_path / "videos"), "--out", str(tmp_path / "run")]) == 2
    assert "holds no clips; accepted layouts" in capsys.readouterr().err
    (tmp_path / "videos" / "config.yaml").write_text("data: {}")
    assert cli.main(["train", str(tmp_path / "videos"), "--out", str(tmp_path / "run")]) == 2
    assert f"is a run directory; resume it with --run {tmp_path / 'videos'} --resume" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"videos"}


def test_train_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "fomm train tiny" in text and "--resume" in text


@pytest.mark.parametrize(
    "words",
    [
        "tiny train.steps=3 data.root=x --run RUN",
        "tiny --run RUN train.steps=3 data.root=x",
        "--run RUN tiny train.steps=3 data.root=x",
        "tiny train.steps=3 --run RUN data.root=x",
    ],
)
def test_train_takes_options_anywhere_and_recipes_by_name(words, monkeypatch):
    calls = []
    monkeypatch.setattr(loop, "run", lambda *arguments, **options: calls.append((*arguments, options)))
    assert cli.main(["train", *words.split()]) == 0
    ((settings, folder, options),) = calls
    assert (settings.train.steps, settings.data.root, str(folder)) == (3, "x", "RUN")
    assert settings.model == config.load(ROOT / "configs" / "tiny.yaml").model
    assert options == {"resume": False, "init_from": None, "command": f"fomm train {words}"}


@pytest.mark.slow
def test_train_trains_and_resumes_through_the_script(tmp_path):
    def call(*arguments):
        return processes.run("train.py", *arguments, cwd=ROOT)

    puppets = [f"data.puppets.{key}" for key in ("identities=4", "test_identities=1", "clips=1", "frames=4")]
    done = call(SMALL, f"data.root={tmp_path / 'data'}", *puppets, "train.steps=2", "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "step 2 of 2: loss " in done.stdout
    assert "of the source-copy baseline" in done.stdout
    assert "train.steps=2" in (tmp_path / "run" / "README.txt").read_text()
    done = call("--run", tmp_path / "run", "--resume")
    assert done.returncode == 0 and checkpoint.read_count(tmp_path / "run", "step") == 2


def draw_clip(path, phase, count=14):
    """A square that moves on a plain wall."""
    with video.write_video(path, 25) as writer:
        for number in range(count):
            frame = np.full([40, 48, 3], 40 + 20 * phase, np.uint8)
            left = 4 + 5 * phase + 12 - abs(12 - 2 * number)  # to the right and back
            frame[10 + phase : 26 + phase, left : left + 14] = (200, 60 * phase, 90)
            writer.write(frame)


@pytest.mark.slow
def test_train_on_a_directory_of_videos_prepares_chooses_and_trains(tmp_path):
    (tmp_path / "clips").mkdir()
    for phase in range(3):
        draw_clip(tmp_path / "clips" / f"{phase}.mp4", phase)
    draw_clip(tmp_path / "clips" / "short.mp4", 0, count=1)
    (tmp_path / "clips" / "broken.mp4").write_bytes(b"no video" * 100)
    checkpoint.save(tmp_path / "start", checkpoint.build(config.load(SMALL)), "")
    options = ["--out", "mine", "--init-from", "start", "--crop", "none", "train.steps=6", "train.test_frames=4"]
    done = processes.run("-m", "fomm_tf", "train", "clips", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert "clips: 4 videos; frames of 32x32 and the weights of start to start from; clips of whole frames" in printed
    assert "dropped 1 segment, 1 frames, of short.mp4: 1 frames, fewer than 7; a lower --min-frames keeps it" in printed
    assert "dropped broken.mp4: " in printed
    assert "mine.yaml: the recipe, with 6 steps" in printed and "expect: " in printed
    assert "mine: see pictures/latest.png" in printed and "step 6: L1 " in printed
    recipe, run = config.load(tmp_path / "mine.yaml"), checkpoint.read_config(tmp_path / "mine")
    # Measured at the start.
    assert config.differences(recipe, run).keys() == {"train.init_from", "train.feature_scales"}
    assert (recipe.train.test_steps, recipe.train.test_frames, recipe.data.root) == (1, 4, "mine-clips/train")
    header = (tmp_path / "mine.yaml").read_text().splitlines()[:3]
    assert header[0] == "# Chosen by: fomm train clips " + " ".join(options)
    assert header[2] == "# To edit, and train with: fomm train mine.yaml --run mine-2 --init-from start"
    assert (tmp_path / "mine" / "pictures" / "latest.png").exists()
    again = processes.run("-m", "fomm_tf", "train", "clips", *options, cwd=tmp_path)
    assert again.returncode == 2 and "mine.yaml already exists; train with it by fomm train mine.yaml" in again.stderr


def test_personalize_refuses_a_photo(tmp_path, capsys):
    video.write_image(tmp_path / "me.jpg", np.zeros([40, 30, 3], np.uint8))
    assert cli.main(["train", "--personalize", str(tmp_path / "me.jpg"), "--out", str(tmp_path / "run")]) == 2
    complaint = capsys.readouterr().err
    assert "me.jpg is a photo, and one image does not show how a person moves; give a video of" in complaint
    assert complaint.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["me.jpg"]


@pytest.mark.parametrize("option", [[], ["--personalize"]])
def test_train_on_a_directory_without_readable_videos_writes_nothing(option, tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"nonsense")
    line = ["train", *option, str(tmp_path / "clips"), "--crop", "none", "--out", str(tmp_path / "run")]
    assert cli.main(line) == 2
    assert f"{tmp_path}/clips holds no readable video." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.slow
def test_personalize_fine_tunes_on_a_video_and_tests_on_its_last_part(tmp_path):
    draw_clip(tmp_path / "me.mp4", 1, count=24)
    draw_clip(tmp_path / "short.mp4", 1, count=3)
    checkpoint.save(tmp_path / "start", checkpoint.build(config.load(SMALL)), "")
    options = ["--model", "start", "--crop", "none", "--out", "mine", "train.steps=2", "train.batch_size=2"]
    options += ["train.pyramid_scales=[1.0]", "train.freeze_detector=true"]

    def personalize(videos):
        return processes.run("-m", "fomm_tf", "train", "--personalize", videos, *options, cwd=tmp_path)

    failed = personalize("short.mp4")
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1
    assert "short.mp4 gives a single clip, of which nothing can be held out; give a longer video" in failed.stderr
    shutil.rmtree(tmp_path / "mine-clips")

    done = personalize("me.mp4")
    assert done.returncode == 0, done.stderr
    assert "me.mp4: 1 video; frames of 32x32 and the weights of start to start from, at 0.1 of its" in done.stdout
    assert "step 0: L1 " in done.stdout and "on unseen clips" in done.stdout.splitlines()[-1]
    assert done.stdout.rstrip().endswith("these weights are in mine/best")
    train, test = (
        sorted(path.stem for path in (tmp_path / "mine-clips" / split).iterdir()) for split in ("train", "test")
    )
    assert test and max(train) < min(test)
    recipe, start = config.load(tmp_path / "mine.yaml").train, config.load(SMALL).train
    assert recipe.learning_rate_detector == pytest.approx(start.learning_rate_detector / 10)
    assert (recipe.patience, recipe.test_steps, recipe.steps, recipe.freeze_detector) == (3, 1, 2, True)
    assert checkpoint.load(tmp_path / "mine" / "best").config.train.init_from == str(tmp_path / "start")
