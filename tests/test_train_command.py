"""`python train.py`: what it refuses, and one whole run through the command itself."""

import pathlib
import subprocess
import sys

import pytest

from fomm_tf import checkpoint

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "training" / "small.yaml"


@pytest.fixture
def train(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import train

    return train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to train: a CONFIG.yaml, or --run DIR --resume"),
        (["{small}", "--resume", "--init-from", "runs/x"], "--init-from does not go with it"),
        (["absent.yaml"], "Cannot read the config absent.yaml"),
        (["{small}", "train.speed=3"], "train has no key speed; the known ones are epochs, "),
        (["{small}", "train.steps"], "An override reads section.key=value; got 'train.steps'"),
        (["{small}", "train.batch_size=0"], "train.batch_size must be at least 1; got 0"),
        (["{small}", "data.root={folder}/absent", "--run", "{folder}/run"], "absent is not a directory"),
        (["{small}", "--run", "{folder}/run", "--resume"], "run is not a run directory: it does not exist"),
        (["{small}", "--run", "{folder}"], "already exists; continue it with --resume"),
        (["{small}", "--sped"], "unrecognized arguments: --sped"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, message, train, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    arguments = [argument.format(small=SMALL, folder=tmp_path) for argument in arguments]
    assert train.main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("train: ") and complaint.count("\n") == 1 and message in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_help_says_how_to_begin(train, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "python train.py configs/tiny.yaml" in text and "--resume" in text


@pytest.mark.slow
def test_a_run_through_the_command_trains_resumes_and_animates(tmp_path):
    def call(*arguments):
        command = [sys.executable, "train.py", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    puppets = [f"data.puppets.{key}" for key in ("identities=4", "test_identities=1", "clips=1", "frames=4")]
    done = call(SMALL, f"data.root={tmp_path / 'data'}", *puppets, "train.steps=2", "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "step 2 of 2: perceptual " in done.stdout
    assert "of the source-copy baseline" in done.stdout
    assert "train.steps=2" in (tmp_path / "run" / "README.txt").read_text()
    done = call("--run", tmp_path / "run", "--resume")
    assert done.returncode == 0 and checkpoint.read_count(tmp_path / "run", "step") == 2
