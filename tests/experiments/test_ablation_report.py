"""Means over seeds and differences with confidence intervals, against loops over videos; the report."""

import json

import numpy as np
import pytest
from drawn_reports import draw_reports, overall_of

from fomm_tf.experiments import ablation_report, ablation_runner


def test_mean_over_seeds_of_means_over_frames():
    runs = [draw_reports(seed, shift=0.01 * seed) for seed in range(3)]
    each = [overall_of(reports["reconstruction"]["videos"], "l1") for reports in runs]
    found = ablation_report.mean(runs, "l1")
    assert found.seeds == pytest.approx(each) and found.value == pytest.approx(np.mean(each))
    assert (found.low, found.high) == pytest.approx((min(each), max(each)))
    assert ablation_report.mean(runs, "l1", ablation_report.SOURCE_COPY).value == pytest.approx(0.3)
    assert ablation_report.mean(runs, "animation_l1").value == pytest.approx(
        np.mean([overall_of(reports["animation"]["videos"], "l1") for reports in runs])
    )


def test_compare_pairs_seeds_and_videos():
    runs = [draw_reports(seed, shift=0.01) for seed in range(3)]
    full = [draw_reports(seed + 10) for seed in range(3)]
    for name, sign in (("l1", 1), ("psnr", -1), ("animation_l1", 1)):
        found = ablation_report.compare(runs, full, name)
        assert found.value == pytest.approx(
            ablation_report.mean(runs, name).value - ablation_report.mean(full, name).value
        )
        # Videos differ among each other by ten times the shift: unpaired, the interval would hold 0.
        assert 0.008 < sign * found.value < 0.012 and found.low < found.value < found.high
        assert found.high - found.low < 0.004
        assert (found.worse, found.seeds) == (3, 3)
    nothing = ablation_report.compare(full, full, "l1")
    assert (nothing.value, nothing.low, nothing.high, nothing.worse) == (0, 0, 0, 0)


def test_compare_interval_matches_a_loop_over_resampled_videos():
    runs, full = ([draw_reports(seed, shift) for seed in range(2)] for shift in (0.002, 0.0))
    generator, found = np.random.default_rng(1), []
    for _ in range(2000):
        drawn = generator.integers(0, 12, 12)
        ends = []
        for which in (runs, full):
            videos = [[reports["reconstruction"]["videos"][number] for number in drawn] for reports in which]
            ends.append(np.mean([overall_of(chosen, "l1") for chosen in videos]))
        found.append(ends[0] - ends[1])
    actual = ablation_report.compare(runs, full, "l1")
    assert (actual.low, actual.high) == pytest.approx(tuple(np.percentile(found, [2.5, 97.5])), abs=1e-4)


def test_measured_omits_columns_without_a_value():
    assert ablation_report.measured([draw_reports(0)]) == ["l1", "psnr", "ssim", "animation_l1"]
    assert ablation_report.measured([draw_reports(0), draw_reports(1, found=False)]) == [
        "l1",
        "psnr",
        "animation_l1",
    ]
    without = {"reconstruction": draw_reports(0)["reconstruction"]}
    assert ablation_report.measured([without]) == ["l1", "psnr", "ssim"]


def make_report(found, wanted):
    about = ablation_report.About("python -m ...", "ablation-64", 100, (0, 1), wanted, "data/x", "data/x/pairs.csv")
    return ablation_report.Report(about, found)


def test_report_has_the_paper_s_tables():
    found = {
        name: {seed: draw_reports(seed + number, shift) for seed in (0, 1)}
        for number, (name, shift) in enumerate((("baseline", 0.02), ("pyramid-occlusion", 0.01), ("full", 0.0)))
    }
    report = make_report(found, wanted=6)
    text, contents = report.markdown(), json.loads(report.json())
    assert "so far" not in text
    l1 = ablation_report.mean(list(found["full"].values()), "l1")
    assert f"| Full | {l1.value:.4f} ({l1.low:.4f} to {l1.high:.4f}) |" in text
    for line in ("| source-copy baseline | 0.3000 |", "| zeroth order (Pyr.+O) |", "| first order (Full) |"):
        assert line in text
    assert "| Pyr.+O | `model.jacobian=false` |" in text and "| Full | nothing |" in text
    assert "worse in 2 of 2" in text and "**" not in text
    assert contents["variants"]["full"]["means"]["l1"]["value"] == l1.value
    assert contents["variants"]["full"]["minus_full"] == {}
    assert contents["variants"]["baseline"]["minus_full"]["l1"]["value"] == pytest.approx(0.02, abs=0.005)


def test_report_of_unfinished_runs():
    text = make_report({"baseline": {0: draw_reports(0)}}, wanted=6).markdown()
    assert "**1 of 6 runs so far.**" in text and "Against Full" not in text and "Table 3" not in text
    assert "nan" not in text


def test_report_without_pairs_or_a_common_seed_leaves_their_parts_out():
    runs = [{seed: {"reconstruction": draw_reports(number)["reconstruction"]}} for number, seed in enumerate((1, 0, 0))]
    found = dict(zip(("baseline", "pyramid", "full"), runs, strict=True))
    report = make_report(found, wanted=6)
    text, contents = report.markdown(), json.loads(report.json())
    assert "nimation L1" not in text and contents["variants"]["baseline"]["minus_full"] == {}
    compared = text.partition("## Against Full")[2].partition("## ")[0]
    assert "| Pyr. |" in compared and "| Baseline |" not in compared


def test_videos_without_a_metric_are_left_out():
    """A pair to animate need not have ground truth."""
    reports = draw_reports(0, videos=4)
    kept = reports["animation"]["videos"][:3]
    del reports["animation"]["videos"][3]["model"]["l1"]
    assert ablation_report.mean([reports], "animation_l1").value == pytest.approx(overall_of(kept, "l1"))
    assert ablation_report.compare([reports], [reports], "animation_l1").value == 0
    assert ablation_runner.median_video(reports["animation"]) == "clip1"
    for result in kept:
        del result["model"]["l1"]
    assert ablation_runner.median_video(reports["animation"]) == "clip2"
