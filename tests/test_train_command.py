"""`fomm train`: the mistakes that it reports, and a run through the command itself."""

import pathlib

import processes
import pytest

from fomm_tf import checkpoint, cli, config
from fomm_tf.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "training" / "small.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CONFIG is missing: give a recipe, or --run and --resume"),
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
    ],
)
def test_train_reports_a_mistake_in_one_line(arguments, message, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    arguments = [argument.format(small=SMALL, folder=tmp_path) for argument in arguments]
    assert cli.main(["train", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("fomm: ") and complaint.count("\n") == 1 and message in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


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
