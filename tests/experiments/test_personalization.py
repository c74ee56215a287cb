"""Who is fine-tuned in `fomm personalization`, on which clips; the table of before and after."""

import dataclasses
import json

import numpy as np
import pytest

from fomm_tf import checkpoint, config, errors, evaluation
from fomm_tf.evaluation import scoring
from fomm_tf.experiments import personalization, personalization_report
from fomm_tf.training import loop


@pytest.fixture
def data(tmp_path):
    """Two people with clips in both splits, one with a single training clip, one without a test clip."""
    counts = {"anna": (6, 2), "ben": (2, 1), "carl": (1, 1), "dora": (3, 0)}
    for name, (train, test) in counts.items():
        for number in range(train + test):
            folder = tmp_path / ("train" if number < train else "test") / f"{name}#{number:03d}"
            folder.mkdir(parents=True)
            (folder / "0.png").touch()
    return tmp_path


def test_find_people_holds_out_the_last_training_clips(data):
    anna, ben = personalization.find_people(data)
    clips = [[path.name for path in paths] for paths in (anna.train, anna.held_out, anna.test)]
    assert clips == [[f"anna#{number:03d}" for number in range(5)], ["anna#005"], ["anna#006", "anna#007"]]
    assert [len(paths) for paths in ben[1:]] == [1, 1, 1]
    assert personalization.find_people(data, ["ben"]) == [ben]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["carl"], "`people` must be some of anna, ben; got carl."),
        (["ben", "Eve", "dora"], "`people` must be some of anna, ben; got Eve, dora."),
    ],
)
def test_find_people_rejects_people_without_enough_clips(names, message, data):
    with pytest.raises(errors.UserError) as caught:
        personalization.find_people(data, names)
    assert str(caught.value) == message


def test_find_people_rejects_a_directory_without_any(data):
    with pytest.raises(errors.UserError, match="is not a directory; give one that fomm prepare --preset faces wrote"):
        personalization.find_people(data / "absent")
    with pytest.raises(errors.UserError, match=r"no person has two clips in .*; split `data` by time"):
        personalization.find_people(data / "train")


def test_fine_tune_resumes_only_a_run_of_the_same_settings(tmp_path, monkeypatch):
    calls = []

    def run(settings, folder, resume=False, init_from=None, **rest):
        calls.append(resume)
        if not resume:
            train = dataclasses.replace(settings.train, feature_scales=(1.0,) * 5, init_from=str(init_from))
            folder.mkdir()
            (folder / "config.yaml").write_text(config.dump(dataclasses.replace(settings, train=train)))

    monkeypatch.setattr(loop, "run", run)
    inputs = checkpoint.BUNDLED, tmp_path / "clips", tmp_path / "run"
    for _ in range(2):
        personalization.fine_tune(*inputs, 9, [], "fomm personalization", print)
    assert calls == [False, True]
    with pytest.raises(errors.UserError, match=r"run was trained with train\.steps 9; got 8; give another `out`\."):
        personalization.fine_tune(*inputs, 8, [], "fomm personalization", print)


def report_of(person, l1, clips):
    """An evaluation in which a clip's L1 is `l1` plus its number, over ten frames."""

    def result(number):
        model = {"l1": scoring.MetricAccumulator(10 * (l1 + number), 10), "aed": scoring.MetricAccumulator(0, 0, 10)}
        copied = {"l1": scoring.MetricAccumulator(90, 10), "aed": scoring.MetricAccumulator(0, 0, 10)}
        return scoring.VideoResult("", f"{person}{number}", frames=10, metrics={"model": model, "source_copy": copied})

    return evaluation.Report("reconstruction", {}, tuple(map(result, range(clips))))


@pytest.fixture
def evaluated(monkeypatch):
    """Evaluations without a model: (run, clips, output directory, metrics); fine-tunings: (clips, overrides)."""
    calls = []

    def evaluate(folder, clips, out, settings):
        names = sorted(path.resolve().name for path in clips.iterdir() if path.is_symlink())
        calls.append((folder, names, out, settings.metrics))
        return report_of(names[0].split("#")[0], 0.5 if "evaluation/before" in str(out) else 0.25, len(names))

    def fine_tune(start, clips, folder, steps, overrides, command, report):
        names = [[path.name for path in sorted((clips / split).iterdir())] for split in ("train", "test")]
        calls.append((names, overrides))

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    monkeypatch.setattr(personalization, "fine_tune", fine_tune)
    monkeypatch.setattr(checkpoint, "read_count", lambda folder, name: len(folder.parent.name))
    return calls


def test_run_fine_tunes_on_a_person_s_clips_and_evaluates_on_the_later_ones(data, evaluated, tmp_path_factory):
    out, start = tmp_path_factory.mktemp("out"), checkpoint.BUNDLED
    table = personalization.run(data, start, out, 9, ["train.batch_size=2"], ["anna"], "none", "fomm personalization")
    folder = out / "anna"
    unseen, clips = ["anna#006", "anna#007"], [[f"anna#{number:03d}" for number in range(5)], ["anna#005"]]
    assert evaluated == [
        (start, unseen, folder / "evaluation" / "before", ("l1", "psnr")),
        (clips, ["train.batch_size=2", "train.freeze_detector=false"]),
        (folder / "after" / "best", unseen, folder / "evaluation" / "after", ("l1", "psnr")),
        (clips, ["train.batch_size=2", "train.freeze_detector=true"]),
        (
            folder / "after-frozen-detector" / "best",
            unseen,
            folder / "evaluation" / "after-frozen-detector",
            ("l1", "psnr"),
        ),
    ]
    assert (out / "report.md").read_text() == table.markdown() and (out / "report.json").read_text() == table.json()
    assert json.loads(table.json())["best_steps"] == {"after": {"anna": 5}, "after, frozen detector": {"anna": 21}}
    rows = [line.split(" | ")[0].strip("| ") for line in table.table().splitlines()[2:]]
    # The rows of all people would repeat those of one; the changes stay.
    assert rows == ["anna"] * 4 + ["all"] * 2 and table.change("after", "l1").value == -0.25


def test_run_replaces_the_links_of_a_run_on_other_clips(data, evaluated, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    unseen = out / "ben" / "unseen"
    (unseen / ".fomm-cache").mkdir(parents=True)
    (unseen / "ben#009").symlink_to(data / "test" / "ben#009")
    table = personalization.run(data, checkpoint.BUNDLED, out, 9)
    assert sorted(path.name for path in unseen.iterdir()) == [".fomm-cache", "ben#002"]
    assert evaluated[0][3] == ("l1", "psnr", "akd", "aed")
    people = json.loads(table.json())["people"]
    assert all(list(people[title]) == ["anna", "ben"] for title in ("before", "after", "after, frozen detector"))


@pytest.fixture
def table():
    values = {"before": (4.0, 6.0), "after": (3.0, 6.5), "after, frozen detector": (3.5, 4.0)}
    results = {
        title: {"anna": report_of("anna", anna, 3), "ben": report_of("ben", ben, 1)}
        for title, (anna, ben) in values.items()
    }
    counts = {"after": {"anna": 40, "ben": 0}, "after, frozen detector": {"anna": 100, "ben": 50}}
    return personalization_report.Table("fomm personalization", "runs/start", results, counts)


def test_table_has_each_person_and_the_changes_clip_by_clip(table):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.table().splitlines()]
    assert rows[0] == ["person", "clips", "model", "best step", "L1", "AED"]
    by_name = {(row[0], row[2]): row for row in rows[2:]}
    assert by_name["anna", "before"][4].startswith("5.0000 (4.0000 to 6.0000)")
    assert by_name["anna", "after"][3:] == ["40", "4.0000 (3.0000 to 5.0000)", "none"]
    assert by_name["ben", "before"][4] == "6.0000"  # a single clip has no interval
    assert by_name["ben", "source-copy baseline"][4] == "9.0000"
    assert by_name["all", "after"][1] == "4" and by_name["all", "after"][4].startswith("4.6250 (")
    change = table.change("after", "l1")
    assert change.value == np.mean([-1, -1, -1, 0.5]) and change.low == -1 and change.high > 0
    assert by_name["all", "change: after"][4].startswith("-0.6250 (-1.0000 to +0.")
    assert table.change("after", "aed") is None and by_name["all", "change: after"][5] == "none"


def test_table_as_json_and_markdown(table):
    contents = json.loads(table.json())
    assert contents["people"]["before"]["anna"]["l1"]["model"]["value"] == 5.0
    assert contents["all"]["after"]["aed"] == {"model": None, "source_copy": None}
    assert contents["changes"]["after, frozen detector"]["l1"]["value"] == -0.875
    assert contents["best_steps"]["after"] == {"anna": 40, "ben": 0}
    text = table.markdown()
    assert "runs/start" in text and table.table() in text
