"""The verdict on exported files, calibration clips, and the commit in their metadata; nothing is exported."""

import json
import pathlib
import subprocess
import types

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, errors, models, video
from fomm_tf.export import cross_layer_equalization, examples, loading, report, web
from fomm_tf.models import folding


def variant(worst=5e-5, psnr=60.0):
    return report.Variant(1000, {"detector.value": 1e-6, "generator.prediction": worst}, psnr, 0.01, {"detector": 1.0})


@pytest.fixture
def check(monkeypatch, tmp_path, capsys):
    """Checks variants with these measurements; returns what is printed."""

    (tmp_path / "pipeline.json").write_text('{"name": "a model", "stages": ["detector"]}')
    monkeypatch.setattr(report.stages, "NAMES", ("detector",))

    def run(**variants):
        monkeypatch.setattr(report, "measure", lambda folder, built: variants)
        report.check(tmp_path, None)
        assert (tmp_path / "report.md").is_file()
        return capsys.readouterr().out

    return run


def test_check_names_variants_of_low_psnr(check):
    printed = check(float32=variant(), float16=variant(psnr=44.0), dynamic=variant(psnr=35.0), int8=variant(psnr=29.94))
    assert [line for line in printed.splitlines() if "review" in line] == [
        "float16: PSNR is 44.0 dB; expected at least 45; review the output images.",
        "int8: PSNR is 29.9 dB; expected at least 30; review the output images.",
    ]
    assert "review" not in check(float32=variant(psnr=10.0), dynamic=variant())
    assert "dynamic: PSNR is nan dB" in check(float32=variant(), dynamic=variant(psnr=float("nan")))


def test_check_rejects_float32_files_that_differ_and_no_others(check, tmp_path):
    check(dynamic=variant(worst=0.5))
    for worst in (2e-4, float("nan")):
        (tmp_path / "report.md").unlink()
        with pytest.raises(errors.UserError, match=r"^generator\.prediction: differs by (0\.0002|nan) from the Keras"):
            check(float32=variant(worst), dynamic=variant())
        assert "| generator.prediction | " in (tmp_path / "report.md").read_text()


def test_measure_keeps_what_is_nan(monkeypatch, tmp_path):
    """Of the calls of a stage, the worst counts."""
    (tmp_path / "pipeline.json").write_text(json.dumps({"variants": {"float32": {"detector": "pipeline.json"}}}))
    answers = iter([1.0, float("nan"), 1.0, *[1.0] * report._ROUNDS])

    def animate(source, clip):
        return [np.full((4, 4, 3), 0.5, np.float32)] * 2

    calls = [("detector", {}, {"value": np.ones(1)})] * 3
    exact = types.SimpleNamespace(calls=calls, animate=animate)
    chain = types.SimpleNamespace(
        run=lambda stage, inputs: {"value": np.float32([next(answers)])},
        animate=lambda source, clip: [np.full((4, 4, 3), value, np.float32) for value in (0.5, np.nan)],
    )
    monkeypatch.setattr(report.stages, "NAMES", ("detector",))
    monkeypatch.setattr(report.examples, "draw", lambda *_: np.zeros((8, 4, 4, 3), np.uint8))
    monkeypatch.setattr(report.pipeline, "KerasPipeline", lambda built: exact)
    monkeypatch.setattr(report.runner, "Pipeline", lambda *_: chain)
    built = types.SimpleNamespace(config=config.Config(), functions=())
    measured = report.measure(tmp_path, built)["float32"]
    assert (
        measured.find_worst()[0] == "detector.value"
        and np.isnan([measured.worst["detector.value"], measured.psnr]).all()
    )


def test_calibration_reads_test_clips_or_draws_some(tmp_path):
    settings = config.override(config.Config(), ["model.frame_size=[128,128]", f"data.root={tmp_path / 'data'}"])
    drawn = examples.calibration(settings, clips=2, count=3)
    assert len(drawn) == 2 and not np.array_equal(*drawn)
    for split, value in (("train", 10), ("test", 20), ("test", 30), ("test", 40)):
        for number in range(5):
            frame = np.full((128, 128, 3), value + number, np.uint8)
            video.write_image(tmp_path / "data" / split / str(value) / f"{number}.png", frame)
    read = examples.calibration(settings, clips=2, count=3)
    # The first and the last clip; the first, the middle and the last frame of each.
    assert [np.unique(np.rint(clip * 255)).tolist() for clip in read] == [[20, 22, 24], [40, 42, 44]]
    for clip in (*drawn, *read):
        assert clip.shape == (3, 128, 128, 3) and clip.dtype == np.float32 and 0 <= clip.min() <= clip.max() <= 1


def test_find_commit_is_of_a_checkout_only(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "fomm_tf" / "export" / "loading.py"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, "abc-dirty\n"))
    assert loading.find_commit() is None
    (tmp_path / ".git").mkdir()
    assert loading.find_commit() == "abc-dirty"

    def fail(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", fail)
    assert loading.find_commit() is None


@pytest.mark.parametrize("name", ["tiny", "warp-skips"])
def test_equalized_decoder_has_the_same_outputs_and_evener_channels(name):
    model = models.FirstOrderMotionModel(model_list.MODELS[name])
    generator = model.generator
    model_list.shake(generator.weights, 0.05)
    folding.fold_batch_norms(model)
    source = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2])
    # A residual block whose channels are far from alike.
    generator.bottleneck[-1].conv2.kernel.assign(
        generator.bottleneck[-1].conv2.kernel * 10.0 ** tf.linspace(-1.0, 1.0, 32)
    )
    features = generator.encode(source)
    expected = generator.decode(features)

    def spread():
        hidden = generator.unpack(features)[-1]
        for block in generator.bottleneck:
            hidden = block(hidden)
        ranges = tf.reduce_max(tf.abs(hidden), axis=[0, 1, 2])
        return float(tf.reduce_max(ranges) / tf.reduce_min(ranges))

    before = spread()
    cross_layer_equalization.equalize_decoder(generator, features)
    np.testing.assert_allclose(generator.decode(features), expected, atol=1e-5)
    assert spread() < before**0.6


@pytest.mark.parametrize("checks", [True, False])
def test_site_appears_once_it_is_checked(checks, tmp_path, monkeypatch):
    built, calls = types.SimpleNamespace(config=config.Config()), []
    monkeypatch.setattr(web.tflite, "write_files", lambda folder, run, variants, switch_dtype: built)
    monkeypatch.setattr(web, "_write_example", lambda *_: None)
    monkeypatch.setattr(web, "_write_runtime", lambda *_: None)
    monkeypatch.setattr(web, "_write_manifest", lambda *_: None)

    def check(folder: pathlib.Path, stages):
        calls.append((folder.name, stages, folder.is_dir(), (tmp_path / "site").exists()))

    assert web.write("run", tmp_path / "site", {}, check=check if checks else None) == tmp_path / "site"
    assert calls == ([("model", built, True, False)] if checks else [])
    assert (tmp_path / "site" / "index.html").is_file()
