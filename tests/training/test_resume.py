"""What `fomm train --resume` changes, says and records; `setup.prepare` and the steps themselves are replaced."""

import pathlib
import types

import pytest
import tensorflow as tf
import yaml

from fomm_tf import checkpoint, cli, config
from fomm_tf.training import loop, schedules, setup

SMALL = pathlib.Path(__file__).parent / "small.yaml"
OLD_KEYS = {"train.steps": 6, "train.batch_size": 4, "train.feature_scales": [1.0, 2.0, 3.0, 4.0, 5.0]}
# A config.yaml of before has no comments and none of these keys.
NEW_KEYS = {
    *("clip_norm", "checkpoint_minutes", "test_steps", "test_minutes", "picture_steps", "picture_minutes"),
    *("dry_run", "learning_rate_test"),
}


def write_counts(folder, step, epoch=0):
    """A checkpoint with the counters only."""
    counts = {"step": step, "epoch": epoch}
    counts = {name: tf.Variable(value, dtype=tf.int64) for name, value in counts.items()}
    tf.train.Checkpoint(**counts).write(str(folder / f"ckpt-{step}"))
    lines = (f'{key}: "ckpt-{step}"\n' for key in ("model_checkpoint_path", "all_model_checkpoint_paths"))
    (folder / "checkpoint").write_text("".join(lines))


@pytest.fixture
def folder(tmp_path):
    """A run that was stopped at step 3 of 6."""
    folder = tmp_path / "run"
    folder.mkdir()
    settings = config.override(config.load(SMALL), [f"{key}={value}" for key, value in OLD_KEYS.items()])
    tree = yaml.safe_load(config.dump(settings))
    assert tree["train"].keys() >= NEW_KEYS
    tree["train"] = {key: value for key, value in tree["train"].items() if key not in NEW_KEYS}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    (folder / "README.txt").write_text("Trained by: fomm train small.yaml\n")
    write_counts(folder, 3)
    return folder


@pytest.fixture
def trained(monkeypatch):
    """The sessions that would have trained."""
    sessions = []

    def prepare(settings, strategy, resume_from, init_from, report, output=None):
        run = types.SimpleNamespace(step=checkpoint.read_count(resume_from, "step") if resume_from else 0)
        schedule = schedules.plan_schedule(settings.train, 1)
        session = setup.Session(settings, strategy, run, init_from, schedule, None, None)
        sessions.append(session)
        return session

    monkeypatch.setattr(setup, "prepare", prepare)
    monkeypatch.setattr(loop, "Loop", lambda *arguments: types.SimpleNamespace(run=lambda: None))
    return sessions


def train(*words):
    return cli.main(["train", *map(str, words)])


def changed(folder, session, before):
    return {key: now for key, (_, now) in config.differences(before, session.settings).items()}


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("--run RUN --resume", {}),
        ("--run RUN --resume train.batch_size=8", {"train.batch_size": 8}),
        ("train.batch_size=8 --run RUN --resume", {"train.batch_size": 8}),
        ("--resume train.batch_size=8 data.root=other --run RUN", {"train.batch_size": 8, "data.root": "other"}),
        ("--run RUN --resume train.steps=12", {"train.steps": 12}),
        ("FILE --run RUN --resume", {"train.learning_rate_detector": 1e-5}),
        ("--run RUN FILE --resume train.keep=1", {"train.learning_rate_detector": 1e-5, "train.keep": 1}),
        ("--run RUN --resume train.backbone=vgg19", {"train.backbone": "vgg19", "train.feature_scales": None}),
    ],
)
def test_resume_changes_only_what_is_named(words, changes, folder, trained, tmp_path, capsys):
    (tmp_path / "file.yaml").write_text("train: {learning_rate_detector: 1e-5}")
    names = {"RUN": folder, "FILE": tmp_path / "file.yaml"}
    before = checkpoint.read_config(folder)
    assert train(*(names.get(word, word) for word in words.split())) == 0
    (session,) = trained
    assert changed(folder, session, before) == changes
    assert checkpoint.read_config(folder) == session.settings
    printed, history = capsys.readouterr().out, (folder / "README.txt").read_text()
    assert f"resuming {folder} at step 3 of {session.settings.train.steps}" in printed
    assert history.startswith("Trained by: fomm train small.yaml\nResumed at step 3: fomm train ")
    for key, now in changes.items():
        assert f"{key} is now {now}; it was " in printed and f"  {key}: {now}, before " in history
    comments = [line.removeprefix("#").strip() for line in (folder / "config.yaml").read_text().splitlines()]
    assert comments[: len(history.splitlines())] == [line.strip() for line in history.splitlines()]


def test_resume_keeps_the_history_of_earlier_changes(folder, trained):
    assert train("--run", folder, "--resume", "train.batch_size=8") == 0
    assert train("--run", folder, "--resume", "train.batch_size=2") == 0
    assert train("--run", folder, "--resume", "train.batch_size=2") == 0
    lines = (folder / "README.txt").read_text().splitlines()
    assert "  train.batch_size: 8, before 4" in lines and "  train.batch_size: 2, before 8" in lines
    assert sum(line.startswith("Resumed at step 3: ") for line in lines) == 3
    assert train("--run", folder, "--resume", "train.batch_size=2") == 0
    assert (folder / "README.txt").read_text().splitlines() == lines


def test_resume_says_how_a_longer_run_changes_the_learning_rates(folder, trained, capsys):
    assert train("--run", folder, "--resume", "train.steps=12") == 0
    expected = "the learning rates of step 3 are now 1 of their initial values; they were 0.1"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "words", "message"),
    [
        ((6, 0), [], "is finished: step 6 of 6; to train longer, resume with train.steps=12 or another number"),
        ((6, 0), ["train.batch_size=8"], "is finished: step 6 of 6"),
        ((6, 0), ["train.steps=4"], "is finished: step 6 of 4"),
        ((6, 3), ["train.steps=null", "train.epochs=3"], "is finished: epoch 3 of 3; to train longer, resume with "),
    ],
)
def test_resume_of_a_finished_run_says_so_at_once(counts, words, message, folder, trained, capsys):
    write_counts(folder, *counts)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert train("--run", folder, "--resume", *words) == 0
    assert message in capsys.readouterr().out and not trained
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_resume_of_a_finished_run_with_more_steps_trains(folder, trained):
    write_counts(folder, 6)
    assert train("--run", folder, "--resume", "train.steps=7") == 0
    assert (trained[0].run.step, trained[0].schedule.total) == (6, 7)


@pytest.mark.parametrize(("words", "is_trained"), [([], False), (["train.patience=3"], True)])
def test_resume_of_a_run_that_ended_early_trains_with_more_patience_only(words, is_trained, folder, trained, capsys):
    settings = config.override(checkpoint.read_config(folder), ["train.patience=2"])
    (folder / "config.yaml").write_text(config.dump(settings))
    (folder / "history.csv").write_text("step,l1,copying\n1,0.2,0.4\n2,0.3,0.4\n3,0.3,0.4\n4,0.1,0.4\n")
    assert train("--run", folder, "--resume", *words) == 0
    message = (
        "ended early: no later L1 on unseen clips is lower than the 0.2000 of step 1; to train longer, resume with "
    )
    assert (f"{message}train.patience=4 or null" in capsys.readouterr().out) == (not is_trained)
    assert bool(trained) == is_trained


def test_resume_without_checkpoint_starts_from_the_same_weights(folder, trained, tmp_path, capsys):
    for path in [folder / "checkpoint", *folder.glob("ckpt-*")]:
        path.unlink()
    other = tmp_path / "other"
    other.mkdir()
    settings = config.override(checkpoint.read_config(folder), [f"train.init_from={other}"])
    (folder / "config.yaml").write_text(config.dump(settings))
    assert train("--run", folder, "--resume") == 0
    assert "has no checkpoint yet: starting at step 0" in capsys.readouterr().out
    # The stand-in for `setup.prepare` returns `init_from` as the objective.
    assert trained[0].objective == other


def test_start_records_where_the_weights_are_from(trained, tmp_path):
    (tmp_path / "other").mkdir()
    assert train(SMALL, "--run", tmp_path / "run", "--init-from", tmp_path / "other") == 0
    assert checkpoint.read_config(tmp_path / "run").train.init_from == str(tmp_path / "other")
    assert f"Started from the weights of {tmp_path / 'other'}." in (tmp_path / "run" / "README.txt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--run RUN --resume model.num_keypoints=4", "cannot be resumed with another model: model.num_keypoints is 3"),
        ("--run RUN --resume train.speed=4", "train has no key speed"),
        ("--run RUN --resume train.batch_size=0", "train.batch_size must be at least 1; got 0"),
        ("--run RUN --resume absent.yaml", "Cannot read the config absent.yaml"),
        ("--run RUN --resume --init-from RUN", "--resume cannot be combined with --init-from"),
        ("--run RUN/absent --resume train.steps=9", "is not a run directory: it does not exist"),
        (
            "--resume train.batch_size=8",
            "CONFIG|CLIPS is missing: give a recipe or a directory of videos, or --run and --resume",
        ),
        ("train.batch_size=8 --run RUN", "CONFIG|CLIPS is missing"),
    ],
)
def test_resume_reports_a_mistake_in_one_line(words, message, folder, trained, capsys):
    before = (folder / "config.yaml").read_text()
    assert train(*(word.replace("RUN", str(folder)) for word in words.split())) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1 and not trained
    assert (folder / "config.yaml").read_text() == before


def test_reconcile_measures_another_backbone_unless_scales_are_given(folder):
    stored = checkpoint.read_config(folder)

    def scales(*overrides):
        return setup.reconcile(stored, config.override(stored, overrides), folder).train.feature_scales

    assert scales("train.feature_scales=null") == stored.train.feature_scales
    assert scales("train.backbone=vgg19-keras") is None
    assert scales("train.backbone=vgg19-keras", "train.feature_scales=[1,1,1,1,1]") == (1, 1, 1, 1, 1)
