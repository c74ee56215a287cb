"""The paper's protocol on drawn clips with custom detectors, against loops over frames."""

import functools
import json
import math
import os
import pathlib
import shutil

import custom_detectors
import numpy as np
import pytest

import fomm_tf
from fomm_tf import checkpoint, config, errors, evaluation, video
from fomm_tf.evaluation import runner

OWN = {"detector": "custom_detectors:find_brightest", "embedding": "custom_detectors:embed_color"}
QUICK = evaluation.Settings(metrics=("l1", "akd", "mkr", "aed"), **OWN)


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch):
    """A model is loaded and traced once for all tests."""
    monkeypatch.setattr(fomm_tf.Animator, "load", load_once)


load_once = functools.cache(fomm_tf.Animator.load)


def as_float(frames):
    return np.stack(list(frames)).astype(np.float64) / 255


def rebuild(model, frames):
    """Reconstructs frame by frame, as the reference does."""
    source = model.encode_source(frames[0])
    return np.concatenate([model.render(source, model.detect(frame[np.newaxis])).prediction for frame in frames])


def numbers(actual, true):
    """The values of each metric of two clips, frame by frame."""
    found = {"l1": [], "akd": [], "akd_script": [], "mkr": [], "aed": [], "aed_script": []}
    for one, other in zip(actual, true, strict=True):
        found["l1"].append(float(np.abs(one - other).mean()))
        one, other = (np.rint(frame * 255).astype(np.uint8) for frame in (one, other))
        (places, seen), (expected, there) = (custom_detectors.find_brightest([frame]) for frame in (one, other))
        both = [index for index in range(3) if seen[0, index] and there[0, index]]
        if both:
            pairs = [(places[0, index], expected[0, index]) for index in both]
            found["akd"].append(sum(math.dist(*pair) for pair in pairs) / len(pairs))
            found["akd_script"].append(sum(np.abs(p - q).sum() / 2 for p, q in pairs) / len(pairs))
        if there[0].any():
            found["mkr"].append(sum(there[0, i] and not seen[0, i] for i in range(3)) / there[0].sum())
        (code, is_there), (wanted, was_there) = (custom_detectors.embed_color([frame]) for frame in (one, other))
        if is_there[0] and was_there[0]:
            found["aed"].append(math.dist(code[0], wanted[0]))
            found["aed_script"].append(math.dist(code[0], wanted[0]) ** 2)
    return found


def test_evaluate_averages_over_all_frames_of_all_videos_and_reports_missing_ones(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", QUICK)
    rows, all_made, all_copied, model = report.rows(), {}, {}, fomm_tf.Animator.load(small_run)
    for name in ("one#a", "one#b", "black"):
        frames = list(video.open_video(drawn / "test" / name))
        true = as_float(frames)
        for gathered, actual in ((all_made, rebuild(model, frames)), (all_copied, true[:1].repeat(len(true), 0))):
            for metric, values in numbers(actual, true).items():
                gathered.setdefault(metric, []).extend(values)
    for metric, values in all_made.items():
        for who, each in (("model", values), ("source_copy", all_copied[metric])):
            row = rows[metric][who]
            assert row.value.value == pytest.approx(np.mean(each), rel=1e-5, abs=1e-7), (metric, who)
            assert (row.frames, row.missing) == (len(each), 18 - len(each)), (metric, who)
            assert row.value.low <= row.value.value <= row.value.high
    assert rows["l1_ratio"]["model"].value.value == pytest.approx(np.mean(all_made["l1"]) / np.mean(all_copied["l1"]))
    assert rows["akd"]["source_copy"].videos == 2 and rows["l1"]["source_copy"].videos == 3
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "- black is not in AKD, pixels; AKD as the authors' script, pixels; MKR; AED" in text
    counts = [rows["mkr"][who].frames for who in ("model", "source_copy")]
    assert "3 videos, 18 frames | 0 |" in text and counts[0] == counts[1] == 15
    assert "other detectors than the paper's" in text and "| source-copy baseline |" in text
    assert "Frames with detected points: 15 ground truth frames" in text


@pytest.mark.slow
def test_evaluate_measures_exported_files_as_their_run(small_files, drawn, tmp_path):
    settings, reports = evaluation.Settings(metrics=("l1",)), {}
    for form in ("run", "tflite"):
        reports[form] = evaluation.evaluate(small_files(form), drawn, tmp_path / form, settings)
    l1 = [report.rows()["l1"]["model"].value.value for report in reports.values()]
    assert l1[0] == pytest.approx(l1[1], abs=1e-4)
    run, exported = (report.about for report in reports.values())
    assert (run["engine"], exported["engine"]) == ("keras float32", "litert float32")
    assert (run["step"], run["weights_sha256"]) == (exported["step"], exported["weights_sha256"])
    assert "litert float32" in (tmp_path / "tflite" / "report.md").read_text()


def test_evaluate_reports_seen_and_unseen_identities_separately(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", evaluation.Settings(metrics=("l1",)))
    assert report.rows("seen")["l1"]["model"].frames == 15 and report.rows("unseen")["l1"]["model"].frames == 3
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(found["groups"]) == {"seen", "unseen"}
    share = found["overall"]["l1_ratio"]["model"]["value"]["value"]
    assert share == report.rows()["l1_ratio"]["model"].value.value
    assert [one["frames"] for one in found["videos"]] == [3, 11, 4]
    sheet = video.read_image(tmp_path / "out" / "sheet.png")
    assert sheet.shape == (3 * 3 * 32 + 2 * 4, 6 * 32, 3)
    first = video.read_image(drawn / "test" / "one#a" / "00000.png")
    np.testing.assert_array_equal(sheet[100:132, :32], first)  # the second strip's source, copied
    np.testing.assert_array_equal(sheet[132:164, :32], first)  # and its first driving frame


def test_evaluate_skips_and_names_corrupt_and_single_frame_videos(small_run, drawn, write_clip, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(drawn / "test", data)
    (data / "broken.mp4").write_bytes(b"nonsense" * 100)
    write_clip(data / "still", np.zeros([1, 32, 32, 3], np.uint8))
    with pytest.warns(UserWarning) as caught:
        report = evaluation.evaluate(small_run, data, tmp_path / "out", QUICK)
    assert sorted(str(one.message).split("/")[-1].split(" ")[0] for one in caught) == ["broken.mp4", "still"]
    assert report.rows()["l1"]["model"].frames == 18
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "3 videos, 18 frames; 2 of 5 could not be evaluated." in text
    assert "- broken could not be evaluated: " in text
    assert "still has a single frame, which is the source: there is nothing to reconstruct." in text
    skipped = json.loads((tmp_path / "out" / "report.json").read_text())["skipped"]
    reasons = {one["name"]: one["reason"] for one in skipped}
    assert set(reasons) == {"broken", "still"} and all(reasons.values())


def test_evaluate_counts_the_readable_part_of_a_damaged_video(small_run, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, [60, 32, 32, 3], np.uint8)
    with video.write_video(tmp_path / "data" / "cut.webm", 25) as writer:
        for frame in frames:
            writer.write(frame)
    path = tmp_path / "data" / "cut.webm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.warns(UserWarning, match=r"cut.webm is damaged or truncated: it could be read up to"):
        report = evaluation.evaluate(small_run, tmp_path / "data", tmp_path / "out", QUICK)
    assert 20 < report.evaluated[0].frames < 60
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"- cut counts with {report.evaluated[0].frames} frames: " in text


def test_evaluate_drops_metrics_that_do_not_apply(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", evaluation.Settings(metrics=("l1", "motion")))
    assert report.about["metrics"] == ["l1"] and report.about["points"] is None
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving\none#b/00000.png,one#a\n")
    with pytest.raises(errors.UserError, match="l1 cannot be measured for animations without ground truth"):
        evaluation.evaluate(small_run, drawn / "test", tmp_path / "out", evaluation.Settings(metrics=("l1",)), pairs)


def test_evaluate_reuses_results_until_their_inputs_change(small_run, drawn, tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(drawn / "test", data)
    done, do = [], runner.evaluate_video
    monkeypatch.setattr(
        runner, "evaluate_video", lambda sample, *rest: (done.append(sample.name), do(sample, *rest))[1]
    )

    def again(run=small_run, settings=QUICK):
        done.clear()
        report = evaluation.evaluate(run, data, out, settings)
        return report, sorted(done)

    first, names = again()
    assert names == ["black", "one#a", "one#b"]
    second, names = again()
    assert names == [] and second == first
    os.utime(data / "one#b" / "00001.png")
    assert again()[1] == ["one#b"]
    (out / "results" / "reconstruction" / "black.json").write_text("{", encoding="utf-8")
    assert again()[1] == ["black"]
    assert len(again(settings=evaluation.Settings(metrics=("l1",)))[1]) == 3
    other = checkpoint.build(checkpoint.read_config(small_run))
    checkpoint.save(tmp_path / "other", other, "for tests")
    assert len(again(tmp_path / "other", evaluation.Settings(metrics=("l1",)))[1]) == 3


def test_evaluate_takes_any_directory_and_excludes_training_clips(small_run, drawn, tmp_path):
    settings = evaluation.Settings(metrics=("l1",))
    report = evaluation.evaluate(small_run, drawn / "test", tmp_path / "all", settings)
    assert len(report.evaluated) == 3 and report.about["videos"].startswith("all clips of")
    run = checkpoint.load(small_run)
    run.config = config.override(run.config, [f"data.root={drawn / 'test'}", "data.test_share=0.5"])
    checkpoint.save(tmp_path / "run", run, "for tests")
    report = evaluation.evaluate(tmp_path / "run", drawn / "test", tmp_path / "own", settings)
    assert 0 < len(report.evaluated) < 3 and "was not trained on" in report.about["videos"]


def test_evaluate_pairs_with_and_without_ground_truth(small_run, drawn, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving,truth\none#b/00000.png,one#a,one#a\none#a,one#b,\n")
    settings = evaluation.Settings(metrics=("l1", "akd", "identity", "motion"), **OWN)
    report = evaluation.evaluate(small_run, drawn / "test", tmp_path / "out", settings, pairs)
    model = fomm_tf.Animator.load(small_run)
    driving = list(video.open_video(drawn / "test" / "one#a"))
    source = video.read_image(drawn / "test" / "one#b" / "00000.png")
    actual = np.stack(list(model.animate(source, as_float(driving).astype(np.float32))))
    first = report.evaluated[0]
    assert first.metrics["model"]["l1"].mean == pytest.approx(np.abs(actual - as_float(driving)).mean(), rel=1e-5)
    assert first.metrics["source_copy"]["l1"].mean == pytest.approx(np.abs(source / 255 - as_float(driving)).mean())
    to_source = [math.dist(*custom_detectors.embed_color([video.to_uint8(frame), source])[0]) for frame in actual]
    assert first.metrics["model"]["identity"].mean == pytest.approx(np.mean(to_source), abs=1e-6)
    assert first.metrics["source_copy"]["identity"].mean == 0
    # The first frame has no motion value.
    assert first.metrics["source_copy"]["motion"].frames + first.metrics["source_copy"]["motion"].missing == 10
    second = report.evaluated[1]
    assert second.frames == 4 and set(second.metrics["model"]) == {"identity", "motion"}
    assert "truth" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8").splitlines()[0]


def test_evaluate_skips_a_pair_whose_ground_truth_is_too_short(small_run, drawn, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving,truth\none#b/00000.png,one#a,one#b\none#b/00000.png,one#b,one#b\n")
    with pytest.warns(UserWarning, match="the ground truth, has fewer frames"):
        report = evaluation.evaluate(
            small_run, drawn / "test", tmp_path / "out", evaluation.Settings(metrics=("l1",)), pairs
        )
    assert [one.frames for one in report.results] == [0, 4]


@pytest.mark.slow
def test_evaluate_in_workers_matches_one_process(small_run, drawn, tmp_path):
    one, two = (
        evaluation.evaluate(small_run, drawn, tmp_path / str(count), QUICK, jobs=count, progress=False)
        for count in (1, 2)
    )
    for mine, theirs in zip(one.results, two.results, strict=True):
        assert (mine.name, mine.frames, mine.detections) == (theirs.name, theirs.frames, theirs.detections)
        for metric, values in mine.metrics["model"].items():
            assert values == pytest.approx(theirs.metrics["model"][metric], rel=1e-6)


@pytest.mark.slow
def test_evaluate_names_the_video_of_a_dead_worker(small_run, drawn, tmp_path):
    settings = evaluation.Settings(metrics=("akd",), detector="custom_detectors:die")
    with pytest.raises(errors.UserError, match=r"A worker process died at .*black"):
        evaluation.evaluate(small_run, drawn, tmp_path / "out", settings, jobs=2)
    assert not list(pathlib.Path(tmp_path / "out").rglob("*.json"))
