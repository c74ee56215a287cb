"""Table 3: recipes, the estimate, the report, and a small table from end to end."""

import dataclasses
import json
import pathlib

import numpy as np
import processes
import pytest
from drawn_reports import draw_reports, overall_of

from fomm_tf import cli, config, errors, files, video
from fomm_tf.data import layout
from fomm_tf.data.puppets import dataset
from fomm_tf.experiments import ablation_plan, ablation_report, ablation_runner, study_build, table3, table3_report

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ROOT / "tests" / "training" / "small.yaml"
NAMES = list(table3_report.METHODS)
WITHOUT_BACKBONE = {
    "loss_weights.perceptual": [0, 0, 0, 0, 0],
    "loss_weights.pixel": 1.0,
    "loss_weights.equivariance_value": 0.0,
    "loss_weights.equivariance_jacobian": 0.0,
}
CHANGES = {
    "fomm": {},
    "monkey-net": {"model.kind": "monkey-net", "model.occlusion": False, "model.generator.warp_skips": True},
    "x2face": {"model.kind": "x2face", "model.occlusion": False, "model.jacobian": False},
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """The small model of the tests, in each kind, on a drawn data set with pairs."""
    folder = tmp_path_factory.mktemp("recipes")
    dataset.write(folder / "data", identities=2, test_identities=2, clips=1, frames=4, size=(32, 32), seed=0)
    dataset.write_transfers(folder / "data" / "transfers", 2, frames=4, size=(32, 32))
    for name, changes in CHANGES.items():
        changes = changes | {f"train.{key}": value for key, value in WITHOUT_BACKBONE.items() if name != "fomm"}
        changes |= {"train.steps": 3, "train.checkpoint_steps": 100, "data.root": str(folder / "data")}
        settings = config.override(config.load(SMALL), [f"{key}={json.dumps(value)}" for key, value in changes.items()])
        (folder / f"{name}.yaml").write_text(config.dump(settings), encoding="utf-8")
    return folder


def test_recipes_of_the_package_share_data_and_schedule():
    configs = table3.load_recipes(NAMES, None, 12, None)
    assert [settings.model.kind for settings in configs.values()] == NAMES
    assert {settings.train.steps for settings in configs.values()} == {12}
    for settings in configs.values():
        sections = {key.split(".")[0] for key in config.differences(settings, configs["fomm"])}
        assert sections <= {"model", "train"}
        # The baselines have the losses of their papers.
        weights = settings.train.loss_weights
        assert any(weights.perceptual) == (settings.model.kind == "fomm") != (weights.pixel > 0)


def test_load_recipes_rejects_another_schedule(recipes, tmp_path):
    for name in ("fomm", "x2face"):
        settings = config.load(recipes / f"{name}.yaml")
        steps = {"fomm": 3, "x2face": 4}[name]
        train = dataclasses.replace(settings.train, steps=steps)
        (tmp_path / f"{name}.yaml").write_text(config.dump(dataclasses.replace(settings, train=train)))
    with pytest.raises(errors.UserError, match=r"same data and schedule; got train\.steps 4 for x2face and 3 for fomm"):
        table3.load_recipes(["fomm", "x2face"], tmp_path, None, None)


def test_estimate_counts_the_steps_that_are_left(recipes, tmp_path):
    configs = table3.load_recipes(["x2face", "fomm"], recipes, 3600, None)
    runs = ablation_plan.plan(configs, (0, 1), tmp_path)
    data = ablation_plan.prepare_data(configs["fomm"], print)
    protocol = ablation_runner.choose_protocol(data, None, "")
    files.write_json(tmp_path / "cost.json", {"x2face": 1.7, "fomm": 3.4})
    (tmp_path / "fomm-seed1").mkdir()
    (tmp_path / "fomm-seed1" / "ckpt-1800.index").touch()
    text = table3.estimate(configs, runs, protocol, tmp_path / "cost.json")
    # 3600 steps of 1.7 s twice, of 3.4 s once and half as many, at 85 % of the time.
    assert text.startswith("4 of 4 runs to do, about 10.0 h on this machine (X2Face 1.70 s a step, First order 3.40")


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained and evaluated: in no time, with drawn numbers; and the report before each of them."""
    calls = []

    def train_and_evaluate(run, protocol):
        report = run.out / "report.md"
        calls.append((run.name, report.read_text() if report.exists() else ""))
        files.write_text(run.folder / "config.yaml", config.dump(run.config))
        for task, contents in draw_reports(run.seed + len(run.variant), videos=2).items():
            files.write_json(run.results / task / "report.json", contents)
            for clip in contents["videos"]:
                strip = run.results / task / "results" / task / f"{clip['name']}.png"
                video.write_image(strip, np.zeros((3 * 32, 4 * 32, 3), np.uint8))
        for pair in layout.read_pairs(protocol.data.pairs):
            with video.write_video(run.results / "animation" / f"{pair.name}.mp4", 25) as writer:
                for number in range(4):
                    writer.write(np.full((32, 32, 3), 60 * number, np.uint8))

    def run_here(function, tasks, on_result=lambda task, result: None, **_):
        for task in tasks:
            on_result(task, function(task))

    monkeypatch.setattr(ablation_runner, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(table3, "time_steps", lambda task: 1.0 + NAMES.index(task[0]))
    monkeypatch.setattr(table3.workers, "run", run_here)
    return calls


def run_table3(configs, out, **changes):
    """The table, and the lines for the user."""
    lines = []
    return table3.run(configs, (0, 1), out, None, "fomm experiment table3", lines.append, **changes), lines


def test_run_with_estimate_only_times_each_method_once_and_trains_nothing(recipes, trained, tmp_path, monkeypatch):
    configs = table3.load_recipes(NAMES, recipes, 3060, None)
    table, lines = run_table3(configs, tmp_path, estimate_only=True)
    # 3060 steps of 1, 2 and 3 s, twice, at 85 % of the time.
    text = (
        "6 of 6 runs to do, about 12.0 h on this machine (X2Face 1.00 s a step, Monkey-Net 2.00 s a step, First order"
    )
    assert table is None and len(lines) == 1 and lines[0].startswith(text)
    assert not trained and [path.name for path in tmp_path.iterdir()] == ["cost.json"]
    monkeypatch.delattr(table3, "time_steps")
    assert run_table3(configs, tmp_path, estimate_only=True)[1] == lines


def test_run_reports_after_each_run_and_builds_a_study_of_each_pair(recipes, trained, tmp_path):
    configs = table3.load_recipes(NAMES, recipes, None, None)
    table, lines = run_table3(configs, tmp_path)
    assert [name for name, _ in trained] == [f"{name}-seed{seed}" for seed in (0, 1) for name in NAMES]
    assert ["so far" in report and report.split("**")[1] for _, report in trained] == [
        False,
        *(f"{count} of 6 runs so far." for count in range(1, 6)),
    ]
    text = (tmp_path / "report.md").read_text()
    assert table in text and "so far" not in text and "3 of 3 seeds" not in text
    for task in ("reconstruction", "animation"):
        assert f"]({task}.png)" in text and (tmp_path / f"{task}.png").is_file()
    studies = ["x2face--monkey-net", "x2face--fomm", "monkey-net--fomm"]
    assert [line.split(".html: ")[0] for line in lines[1:]] == [str(tmp_path / "study" / name) for name in studies]
    keys = {name: tmp_path / "study" / f"{name}.key.json" for name in studies}
    key = study_build.read_key(keys["x2face--fomm"])
    assert key.methods == ("X2Face", "First order") and key.seed == 0 and len(key.questions) == 2

    # Nothing is left to do; a key stays, since answers to its page need it, and a lost study is built again.
    kept = {name: path.read_bytes() for name, path in keys.items()}
    keys["x2face--fomm"].unlink()
    again, lines = run_table3(configs, tmp_path)
    assert again == table and len(trained) == 6 and lines[0].startswith("0 of 6 runs to do, about 0.0 h")
    assert [line.split(".html: ")[0] for line in lines[1:]] == [str(tmp_path / "study" / "x2face--fomm")]
    assert {name: path.read_bytes() for name, path in keys.items()}.keys() == kept.keys()
    assert all(keys[name].read_bytes() == kept[name] for name in studies if name != "x2face--fomm")


def test_build_studies_without_pairs_builds_none(tmp_path):
    runs = ablation_plan.plan(table3.load_recipes(NAMES, None, None, None), (0,), tmp_path)
    assert table3.build_studies(runs, ablation_plan.Data(tmp_path, None, False), tmp_path / "study") == []
    assert not (tmp_path / "study").exists()


def make_report(runs=3):
    shifts = {"x2face": 0.02, "monkey-net": 0.01, "fomm": 0.0}
    reports = {
        name: {seed: draw_reports(seed + 10 * number, shift) for seed in range(runs)}
        for number, (name, shift) in enumerate(shifts.items())
    }
    about = ablation_report.About(
        "fomm experiment table3", "", 100, tuple(range(runs)), 9, "data/x", "data/x/pairs.csv"
    )
    return reports, table3_report.Report(about, reports)


def test_report_has_means_and_the_difference_of_each_pair():
    reports, report = make_report()
    contents, text = json.loads(report.json()), report.markdown()
    for name in NAMES:
        each = [overall_of(run["reconstruction"]["videos"], "l1") for run in reports[name].values()]
        found = contents["methods"][name]["means"]["l1"]
        assert found["value"] == pytest.approx(sum(each) / 3)
        assert f"| {table3_report.METHODS[name].title} | {found['value']:.4f} (" in text
    assert contents["source_copy"]["l1"] == pytest.approx(0.3)
    assert list(contents["differences"]) == ["x2face - monkey-net", "x2face - fomm", "monkey-net - fomm"]
    difference = contents["differences"]["x2face - fomm"]["l1"]
    expected = ablation_report.compare(list(reports["x2face"].values()), list(reports["fomm"].values()), "l1")
    assert difference == expected._asdict() and difference["worse"] == 3 and difference["low"] > 0
    assert "The paper's order, X2Face worse than First order in L1, is reproduced." in text
    assert "so far" not in text


def test_report_says_which_order_is_not_reproduced():
    reports, _ = make_report()
    about = ablation_report.About("", "", None, (0, 1, 2), 9, "data/x", None)
    swapped = {"x2face": reports["fomm"], "monkey-net": reports["x2face"], "fomm": reports["fomm"]}
    text = table3_report.Report(about, swapped).markdown()
    assert "X2Face worse than Monkey-Net in L1, is reversed." in text
    assert "X2Face worse than First order in L1, is not decided: the interval holds 0." in text
    partial = table3_report.Report(about, {"x2face": {0: reports["x2face"][0]}}).markdown()
    assert "**1 of 9 runs so far.**" in partial and "Differences" not in partial


def test_report_compares_the_methods_that_share_a_seed():
    reports, _ = make_report()
    about = ablation_report.About("", "", None, (0, 1, 2), 9, "data/x", None)
    found = {"x2face": {0: reports["x2face"][0]}, "monkey-net": {1: reports["monkey-net"][1]}, "fomm": reports["fomm"]}
    report = table3_report.Report(about, found)
    text = report.markdown()
    assert "| X2Face - First order |" in text and "X2Face worse than First order" in text
    assert "X2Face - Monkey-Net" not in text and "X2Face worse than Monkey-Net" not in text
    assert list(json.loads(report.json())["differences"]) == ["x2face - fomm", "monkey-net - fomm"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--recipes", "nowhere"], "Cannot read the config nowhere/x2face.yaml"),
        (["--data", "nowhere"], "--data nowhere is not a directory; give one of videos"),
        (["--steps", "0"], "train.steps must be at least 1, or null for epochs; got 0"),
        (["--models", "best"], "invalid choice: 'best'"),
        (["--out", __file__], "is a file; name a directory"),
    ],
)
def test_table3_reports_a_user_error_in_one_line(change, message, recipes, tmp_path, capsys):
    line = ["experiment", "table3", "--recipes", str(recipes), "--out", str(tmp_path / "out"), *change]
    assert cli.main(line) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("fomm: ") and complaint.count("\n") == 1 and message in complaint, complaint


_IN_ONE_PROCESS = """
import sys, types
from fomm_tf import cli
from fomm_tf.experiments import ablation_runner, table3

def run_here(function, tasks, on_result, **_):
    for task in tasks:
        on_result(task, function(task))

ablation_runner._run_in_worker = lambda run, protocol, report: ablation_runner.train_and_evaluate(run, protocol)
table3.workers = types.SimpleNamespace(run=run_here)
sys.exit(cli.main(["experiment", "table3", *sys.argv[1:]]))
"""


@pytest.mark.conformance
@pytest.mark.slow
def test_table3_trains_evaluates_and_builds_studies(recipes, tmp_path):
    line = ["--recipes", recipes, "--out", tmp_path / "out", "--seeds", "0"]
    # Only the fastest model is timed: each is compiled for it.
    files.write_json(tmp_path / "out" / "cost.json", {"monkey-net": 1.0, "fomm": 1.0})
    done = processes.run("-c", _IN_ONE_PROCESS, *line, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs to do, about " in done.stdout
    out = tmp_path / "out"
    contents = json.loads((out / "report.json").read_text())
    assert list(contents["methods"]) == NAMES and set(files.read_json(out / "cost.json")) == set(NAMES)
    for name, row in contents["methods"].items():
        report = json.loads((out / "evaluation" / f"{name}-seed0" / "reconstruction" / "report.json").read_text())
        assert report["step"] == 3
        assert row["means"]["l1"]["value"] == pytest.approx(report["overall"]["l1"]["model"]["value"]["value"])
    assert all((out / f"{task}.png").is_file() for task in ("reconstruction", "animation"))
    keys = sorted(path.name for path in (out / "study").glob("*.key.json"))
    assert keys == ["monkey-net--fomm.key.json", "x2face--fomm.key.json", "x2face--monkey-net.key.json"]
    key = study_build.read_key(out / "study" / "x2face--fomm.key.json")
    assert key.methods == ("X2Face", "First order") and len(key.questions) == 2
    again = processes.run("-c", _IN_ONE_PROCESS, *line, cwd=ROOT)
    assert again.returncode == 0 and "0 of 3 runs to do, about 0.0 h" in again.stdout and "step 3" not in again.stdout


@pytest.mark.parametrize("table", ["| L1 |", None])
def test_command_prints_the_table_of_finished_runs(table, monkeypatch, capsys):
    """An estimate has none."""
    calls = []
    monkeypatch.setattr(table3, "run", lambda *arguments, **options: calls.append((arguments, options)) or table)
    arguments = ["--seeds", "3", "3", "1", "--out", "runs/t3", "--models", "x2face", *["--estimate"] * (table is None)]
    assert cli.main(["experiment", "table3", *arguments]) == 0
    expected = "| L1 |\n\nruns/t3: report.md, report.json, images, and the pages of user studies\n"
    assert capsys.readouterr().out == (expected if table else "")
    (((configs, seeds, *_), options),) = calls
    assert (list(configs), seeds, options) == (["x2face"], (3, 1), {"estimate_only": table is None})
