"""`fomm ablation`: user errors, and a small ablation that is stopped and resumed."""

import json
import pathlib
import shutil
import signal

import processes
import pytest

from fomm_tf import cli, config, video
from fomm_tf.data.puppets import dataset as puppets
from fomm_tf.experiments import ablation_plan, ablation_runner

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "training" / "small.yaml"
STEPS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six characters to train on, two others to test on, and two pairs with their true animations."""
    root = tmp_path_factory.mktemp("ablation") / "data"
    puppets.write(root, identities=6, test_identities=2, clips=1, frames=6, size=(32, 32), seed=0)
    puppets.write_transfers(root / "transfers", 2, frames=6, size=(32, 32))
    return root


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The small model of the tests, saved when it is stopped and at its end only."""
    path = tmp_path_factory.mktemp("ablation") / "small.yaml"
    settings = config.override(config.load(SMALL), ["train.checkpoint_steps=1000"])
    path.write_text(config.dump(settings), encoding="utf-8")
    return path


def run(argv):
    return cli.main(["ablation", *argv])


def arguments(data, out, *others, recipe=SMALL):
    return ["--config", str(recipe), "--data", str(data), "--out", str(out), "--seeds", "0", *others]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config", "nowhere.yaml"], "Cannot read the config nowhere.yaml"),
        (["--data", "nowhere"], "--data nowhere is not a directory; give one of videos"),
        (["--data", "{folder}/untested"], "untested has a train/ split but no test/ split; add one"),
        (["--steps", "0"], "train.steps must be at least 1, or null for epochs; got 0"),
        (["--seeds", "-1"], "train.seed must be at least 0; got -1"),
        (["--variants", "best"], "invalid choice: 'best'"),
        (["--config", str(ROOT / "configs" / "tiny.yaml")], "--config already has train.pyramid_scales=[1.0]"),
        (["--out", __file__], "is a file; name a directory"),
        (["--sped"], "unrecognized arguments: --sped"),
    ],
)
def test_ablation_reports_a_user_error_in_one_line(change, message, data, tmp_path, capsys):
    (tmp_path / "untested" / "train").mkdir(parents=True)
    change = [part.format(folder=tmp_path) for part in change]
    assert run([*arguments(data, tmp_path / "out"), *change]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("fomm: ") and complaint.count("\n") == 1 and message in complaint, complaint
    assert not (tmp_path / "out").exists()


def test_ablation_rejects_missing_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["--config", str(SMALL)]) == 2
    assert "The recipe's data.root data does not exist; give --data." in capsys.readouterr().err


def test_ablation_help(capsys):
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "fomm ablation --data data/faces" in text
    assert all(name in text for name in ("baseline", "pyramid-occlusion", "no-jacobian-equivariance", "truth"))


def test_ablation_rejects_a_run_with_another_config(data, tmp_path, capsys):
    settings = config.override(config.load(SMALL), [f"data.root={data}", "train.steps=7"])
    (tmp_path / "full-seed0").mkdir()
    (tmp_path / "full-seed0" / "config.yaml").write_text(config.dump(settings), encoding="utf-8")
    assert run([*arguments(data, tmp_path), "--steps", "8"]) == 2
    complaint = capsys.readouterr().err
    assert "full-seed0 was started with train.steps 7, but now it is 8: give another --out, or delete it." in complaint


def test_ablation_leaves_other_directories_alone(data, tmp_path, capsys):
    (tmp_path / "full-seed0").mkdir()
    (tmp_path / "full-seed0" / "thesis.txt").write_text("mine")
    assert run(arguments(data, tmp_path)) == 2
    assert "full-seed0 exists and is not a run directory: give another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*.*")] == ["thesis.txt"]


def test_prepare_data_draws_the_data_set_and_pairs_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation_plan, "_DRAWN_PAIRS", 2)
    drawn = ("identities=2", "test_identities=1", "clips=1", "frames=3")
    overrides = [f"data.root={tmp_path / 'data'}", *(f"data.puppets.{one}" for one in drawn)]
    base, lines = config.override(config.load(SMALL), overrides), []
    shown = ablation_plan.prepare_data(base, lines.append)
    assert shown == (tmp_path / "data", tmp_path / "data" / "transfers" / "pairs.csv", True)
    assert len(lines) == 3 and "2 pairs with their true animations" in lines[2]
    assert ablation_plan.prepare_data(base, lines.append) == shown and len(lines) == 3
    stamps = shown.fingerprints()
    shutil.rmtree(tmp_path / "data" / "transfers" / "test" / "00001")
    assert shown.fingerprints() != stamps


def test_plan_lists_runs_seed_by_seed(tmp_path):
    base = config.load(SMALL)
    planned = ablation_plan.plan({"pyramid": base, "full": base}, (0, 3), tmp_path)
    assert [run.name for run in planned] == ["pyramid-seed0", "full-seed0", "pyramid-seed3", "full-seed3"]
    assert [run.config.train.seed for run in planned] == [0, 0, 3, 3]


@pytest.fixture(scope="module")
def ablation(data, recipe, tmp_path_factory):
    """An ablation of two runs, stopped in the first and resumed: its arguments and output."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    chosen = ("--steps", str(STEPS), "--variants", "full", "baseline", "--detector", "custom_detectors:find_brightest")
    argv = arguments(data, out, *chosen, recipe=recipe)
    start = ["-m", "fomm_tf", "ablation", *argv]
    first = processes.start(*start, cwd=ROOT)
    for line in first.stdout:
        if line.startswith("baseline-seed0: step 2 of"):
            break
    first.send_signal(signal.SIGTERM)
    printed, complaint = first.communicate(timeout=120)
    assert first.returncode == 130 and "Traceback" not in complaint, complaint
    assert "baseline-seed0: stopped and saved at step" in printed and "run the same command again to resume" in printed
    assert not (out / "full-seed0").exists() and not (out / "report.md").exists()
    again = processes.run(*start, cwd=ROOT)
    assert again.returncode == 0, again.stderr
    assert f"baseline-seed0: step {STEPS} of {STEPS}" in again.stdout and "step 1 of" in again.stdout
    assert "baseline-seed0: step 1 of" not in again.stdout
    return out, argv, again.stdout


@pytest.mark.conformance
@pytest.mark.slow
def test_ablation_resumed_run_has_the_same_weights_as_train_py(ablation, tmp_path):
    out, _, _ = ablation
    straight = ["train.py", out / "baseline-seed0" / "config.yaml", "--run", tmp_path / "straight"]
    assert processes.run(*straight, cwd=ROOT).returncode == 0
    one, other = (
        (folder / f"ckpt-{STEPS}.data-00000-of-00001").read_bytes()
        for folder in (out / "baseline-seed0", tmp_path / "straight")
    )
    assert one == other


@pytest.mark.slow
def test_ablation_report_matches_the_evaluations(ablation):
    out, _, printed = ablation
    contents, text = json.loads((out / "report.json").read_text()), (out / "report.md").read_text()
    assert list(contents["variants"]) == ["baseline", "full"]
    for name, row in contents["variants"].items():
        reports = {
            task: json.loads((out / "evaluation" / f"{name}-seed0" / task / "report.json").read_text())
            for task in (ablation_plan.RECONSTRUCTION, ablation_plan.ANIMATION)
        }
        assert reports[ablation_plan.RECONSTRUCTION]["step"] == STEPS
        for column, (task, metric) in {
            "l1": (ablation_plan.RECONSTRUCTION, "l1"),
            "psnr": (ablation_plan.RECONSTRUCTION, "psnr"),
            "ssim": (ablation_plan.RECONSTRUCTION, "ssim"),
            "akd": (ablation_plan.RECONSTRUCTION, "akd"),
            "mkr": (ablation_plan.RECONSTRUCTION, "mkr"),
            "animation_l1": (ablation_plan.ANIMATION, "l1"),
        }.items():
            overall = reports[task]["overall"][metric]
            assert row["means"][column]["value"] == pytest.approx(overall["model"]["value"]["value"], rel=1e-9)
            assert contents["source_copy"][column] == pytest.approx(overall["source_copy"]["value"]["value"], rel=1e-9)
        assert f"| {row['title']} | {row['means']['l1']['value']:.4f} |" in text
    settings = [config.load(out / f"{name}-seed0" / "config.yaml") for name in ("full", "baseline")]
    assert config.differences(*settings).keys() == {"model.occlusion", "model.jacobian", "train.pyramid_scales"}
    assert "Not measured, since there is no detector for them: aed." in text
    assert "| Full |" in printed and "reconstruction.png" in text and "animation.png" in text
    for name, rows in (("reconstruction", 3), ("animation", 4)):
        image = video.read_image(out / f"{name}.png")
        assert rows * 128 < image.shape[0] < (rows + 1) * 128 and image.shape[1] > 7 * 128


@pytest.mark.slow
def test_ablation_reuses_finished_runs(ablation, monkeypatch, capsys):
    out, argv, _ = ablation
    before = (out / "report.json").read_text()
    started = []
    monkeypatch.setattr(ablation_runner, "_run_in_worker", lambda run, *rest: started.append(run.folder))
    assert run(argv) == 0
    assert started == [] and "| Full |" in capsys.readouterr().out
    assert (out / "report.json").read_text() == before
    (out / "full-seed0" / "README.txt").write_text("touched")
    assert run(argv) == 0
    assert started == [out / "full-seed0"]
