"""The paper's protocol on drawn clips with detectors of the test's own, against loops over frames."""

import functools
import json
import math
import os
import pathlib
import shutil

import judges
import numpy as np
import pytest

import fomm_tf
from fomm_tf import checkpoint, config, errors, video
from fomm_tf.inference import evaluation
from fomm_tf.inference.evaluation import work

OWN = {"detector": "judges:find_brightest", "embedding": "judges:embed_colour"}
QUICK = evaluation.Settings(metrics=("l1", "akd", "mkr", "aed"), **OWN)


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch):
    """A model is loaded and traced once for all tests."""
    monkeypatch.setattr(fomm_tf.Animator, "load", load_once)


load_once = functools.cache(fomm_tf.Animator.load)


def as_float(frames):
    return np.stack(list(frames)).astype(np.float64) / 255


def rebuild(model, frames):
    """Frame by frame, as the reference does it."""
    source = model.encode_source(frames[0])
    return np.concatenate([model.render(source, model.detect(frame[np.newaxis])).prediction for frame in frames])


def numbers(made, true):
    """Each metric of two clips, frame by frame, as lists of what exists."""
    found = {"l1": [], "akd": [], "akd_script": [], "mkr": [], "aed": [], "aed_script": []}
    for one, other in zip(made, true, strict=True):
        found["l1"].append(float(np.abs(one - other).mean()))
        one, other = (np.rint(frame * 255).astype(np.uint8) for frame in (one, other))
        (places, seen), (expected, there) = (judges.find_brightest([frame]) for frame in (one, other))
        both = [index for index in range(3) if seen[0, index] and there[0, index]]
        if both:
            pairs = [(places[0, index], expected[0, index]) for index in both]
            found["akd"].append(sum(math.dist(*pair) for pair in pairs) / len(pairs))
            found["akd_script"].append(sum(np.abs(p - q).sum() / 2 for p, q in pairs) / len(pairs))
        if there[0].any():
            found["mkr"].append(sum(there[0, i] and not seen[0, i] for i in range(3)) / there[0].sum())
        (code, is_there), (wanted, was_there) = (judges.embed_colour([frame]) for frame in (one, other))
        if is_there[0] and was_there[0]:
            found["aed"].append(math.dist(code[0], wanted[0]))
            found["aed_script"].append(math.dist(code[0], wanted[0]) ** 2)
    return found


def test_means_are_over_all_frames_of_all_videos_and_nothing_is_dropped_silently(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", QUICK)
    rows, all_made, all_copied, model = report.rows(), {}, {}, fomm_tf.Animator.load(small_run)
    for name in ("one#a", "one#b", "black"):
        frames = list(video.open_video(drawn / "test" / name))
        true = as_float(frames)
        for gathered, made in ((all_made, rebuild(model, frames)), (all_copied, true[:1].repeat(len(true), 0))):
            for metric, values in numbers(made, true).items():
                gathered.setdefault(metric, []).extend(values)
    for metric, values in all_made.items():
        for who, each in (("model", values), ("copying", all_copied[metric])):
            row = rows[metric][who]
            assert row.value.value == pytest.approx(np.mean(each), rel=1e-5, abs=1e-7), (metric, who)
            assert (row.frames, row.left_out) == (len(each), 18 - len(each)), (metric, who)
            assert row.value.low <= row.value.value <= row.value.high
    assert rows["l1_share"]["model"].value.value == pytest.approx(np.mean(all_made["l1"]) / np.mean(all_copied["l1"]))
    assert rows["akd"]["copying"].videos == 2 and rows["l1"]["copying"].videos == 3
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "- black is not in AKD, pixels; AKD as the authors' script, pixels; MKR; AED" in text
    counts = [rows["mkr"][who].frames for who in ("model", "copying")]
    assert "3 videos, 18 frames | 0 |" in text and counts[0] == counts[1] == 15
    assert "other detectors than the paper's" in text and "| copying the source |" in text
    assert "Frames in which points were found: 15 true frames" in text


def test_people_of_the_training_part_are_told_from_others(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", evaluation.Settings(metrics=("l1",)))
    assert report.rows("known")["l1"]["model"].frames == 15 and report.rows("others")["l1"]["model"].frames == 3
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(found["groups"]) == {"known", "others"}
    share = found["overall"]["l1_share"]["model"]["value"]["value"]
    assert share == report.rows()["l1_share"]["model"].value.value
    assert [one["frames"] for one in found["videos"]] == [3, 11, 4]
    sheet = video.read_image(tmp_path / "out" / "sheet.png")
    assert sheet.shape == (3 * 3 * 32 + 2 * 4, 6 * 32, 3)
    first = video.read_image(drawn / "test" / "one#a" / "00000.png")
    np.testing.assert_array_equal(sheet[100:132, :32], first)  # the second strip's source, copied
    np.testing.assert_array_equal(sheet[132:164, :32], first)  # and its first driving frame


def test_a_corrupt_video_and_one_of_one_frame_are_named_and_the_rest_is_done(small_run, drawn, write_clip, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(drawn / "test", data)
    (data / "broken.mp4").write_bytes(b"nonsense" * 100)
    write_clip(data / "still", np.zeros([1, 32, 32, 3], np.uint8))
    with pytest.warns(UserWarning) as told:
        report = evaluation.evaluate(small_run, data, tmp_path / "out", QUICK)
    assert sorted(str(one.message).split("/")[-1].split(" ")[0] for one in told) == ["broken.mp4", "still"]
    assert report.rows()["l1"]["model"].frames == 18
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "3 videos, 18 frames; 2 of 5 could not be evaluated." in text
    assert "- broken could not be evaluated: " in text
    assert "still has one frame, which is the source: there is nothing to rebuild." in text
    skipped = json.loads((tmp_path / "out" / "report.json").read_text())["skipped"]
    reasons = {one["name"]: one["reason"] for one in skipped}
    assert set(reasons) == {"broken", "still"} and all(reasons.values())


def test_what_could_be_read_of_a_damaged_video_counts_and_the_report_says_so(small_run, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, [60, 32, 32, 3], np.uint8)
    with video.write_video(tmp_path / "data" / "cut.webm", 25) as writer:
        for frame in frames:
            writer.write(frame)
    path = tmp_path / "data" / "cut.webm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.warns(UserWarning, match=r"cut.webm is damaged or truncated: it could be read up to"):
        report = evaluation.evaluate(small_run, tmp_path / "data", tmp_path / "out", QUICK)
    assert 20 < report.judged[0].frames < 60
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"- cut counts with {report.judged[0].frames} frames: " in text


def test_metrics_that_a_task_has_not_are_left_alone(small_run, drawn, tmp_path):
    report = evaluation.evaluate(small_run, drawn, tmp_path / "out", evaluation.Settings(metrics=("l1", "motion")))
    assert report.about["metrics"] == ["l1"] and report.about["points"] is None
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving\none#b/00000.png,one#a\n")
    with pytest.raises(errors.UserError, match="animations without truth there is no l1"):
        evaluation.evaluate(small_run, drawn / "test", tmp_path / "out", evaluation.Settings(metrics=("l1",)), pairs)


def test_what_is_done_is_not_done_again_unless_what_it_depends_on_changes(small_run, drawn, tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(drawn / "test", data)
    done, do = [], work.work
    monkeypatch.setattr(work, "work", lambda job, *rest: (done.append(job.name), do(job, *rest))[1])

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


def test_any_folder_of_videos_does_and_of_the_run_s_own_those_it_was_not_trained_on(small_run, drawn, tmp_path):
    settings = evaluation.Settings(metrics=("l1",))
    report = evaluation.evaluate(small_run, drawn / "test", tmp_path / "all", settings)
    assert len(report.judged) == 3 and report.about["videos"].startswith("all clips of")
    run = checkpoint.load(small_run)
    run.config = config.override(run.config, [f"data.root={drawn / 'test'}", "data.test_share=0.5"])
    checkpoint.save(tmp_path / "run", run, "for tests")
    report = evaluation.evaluate(tmp_path / "run", drawn / "test", tmp_path / "own", settings)
    assert 0 < len(report.judged) < 3 and "was not trained on" in report.about["videos"]


def test_an_animation_is_judged_by_its_truth_or_by_identity_and_motion(small_run, drawn, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving,truth\none#b/00000.png,one#a,one#a\none#a,one#b,\n")
    settings = evaluation.Settings(metrics=("l1", "akd", "identity", "motion"), **OWN)
    report = evaluation.evaluate(small_run, drawn / "test", tmp_path / "out", settings, pairs)
    model = fomm_tf.Animator.load(small_run)
    driving = list(video.open_video(drawn / "test" / "one#a"))
    source = video.read_image(drawn / "test" / "one#b" / "00000.png")
    made = np.stack(list(model.animate(source, as_float(driving).astype(np.float32))))
    first = report.judged[0]
    assert first.tallies["model"]["l1"].mean == pytest.approx(np.abs(made - as_float(driving)).mean(), rel=1e-5)
    assert first.tallies["copying"]["l1"].mean == pytest.approx(np.abs(source / 255 - as_float(driving)).mean())
    to_source = [math.dist(*judges.embed_colour([video.to_uint8(frame), source])[0]) for frame in made]
    assert first.tallies["model"]["identity"].mean == pytest.approx(np.mean(to_source), abs=1e-6)
    assert first.tallies["copying"]["identity"].mean == 0
    # A source that does not move is as far from the driving motion as that moves; the first frame says nothing.
    assert first.tallies["copying"]["motion"].frames + first.tallies["copying"]["motion"].left_out == 10
    second = report.judged[1]
    assert second.frames == 4 and set(second.tallies["model"]) == {"identity", "motion"}
    assert "truth" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8").splitlines()[0]


def test_a_truth_that_is_too_short_is_a_reason(small_run, drawn, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving,truth\none#b/00000.png,one#a,one#b\none#b/00000.png,one#b,one#b\n")
    with pytest.warns(UserWarning, match="the true animation, has fewer frames"):
        report = evaluation.evaluate(
            small_run, drawn / "test", tmp_path / "out", evaluation.Settings(metrics=("l1",)), pairs
        )
    assert [one.frames for one in report.results] == [0, 4]


@pytest.mark.slow
def test_processes_find_what_one_does(small_run, drawn, tmp_path):
    one, two = (
        evaluation.evaluate(small_run, drawn, tmp_path / str(count), QUICK, at_once=count, progress=False)
        for count in (1, 2)
    )
    for mine, theirs in zip(one.results, two.results, strict=True):
        assert (mine.name, mine.frames, mine.found) == (theirs.name, theirs.frames, theirs.found)
        for metric, tally in mine.tallies["model"].items():
            assert tally == pytest.approx(theirs.tallies["model"][metric], rel=1e-6)


@pytest.mark.slow
def test_a_worker_that_dies_is_named_by_its_video(small_run, drawn, tmp_path):
    settings = evaluation.Settings(metrics=("akd",), detector="judges:die")
    with pytest.raises(errors.UserError, match=r"A worker died at .*black"):
        evaluation.evaluate(small_run, drawn, tmp_path / "out", settings, at_once=2)
    assert not list(pathlib.Path(tmp_path / "out").rglob("*.json"))
