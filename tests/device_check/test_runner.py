"""The checks on the CPU: right results pass, wrong ones fail, and what raises does not stop the others."""

import pathlib

import pytest
import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.device_check import frames, modes, report, runner, steps

SETTINGS = config.load(pathlib.Path(__file__).parents[1] / "training" / "small.yaml")


@pytest.mark.slow
def test_parity_passes_in_float32_and_fails_with_other_weights(small_files, monkeypatch):
    parity = frames.Parity(small_files("run"))
    assert parity.check(modes.FLOAT32)[0] == report.PASSED
    load = frames.checkpoint.load

    def load_other(*arguments, **options):
        run = load(*arguments, **options)
        for weight in run.model.detector.trainable_weights:
            weight.assign(weight + 0.1)
        return run

    monkeypatch.setattr(frames.checkpoint, "load", load_other)
    assert parity.check(modes.FLOAT32)[0] == report.FAILED


@pytest.mark.slow
def test_training_losses_equal_float64():
    training = steps.Training(config.override(SETTINGS, ["train.loss_weights.generator_gan=1.0"]), 2)
    status, text = training.check(modes.FLOAT32, rounds=1)
    assert status == report.PASSED, text
    assert "disc_gan" in training._exact and "perceptual" in training._exact


def test_run_reports_what_raises_and_continues(monkeypatch):
    def fail():
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory\nmore")

    def refuse():
        raise errors.UserError("cannot")

    checks = [
        runner._Check("first", "float32", None, fail),
        runner._Check("second", "float32", None, refuse),
        runner._Check("third", "float32", "a reason", fail),
        runner._Check("fourth", "float32", None, lambda: (report.MEASURED, "1 ms")),
    ]
    monkeypatch.setattr(runner, "_list_checks", lambda *_: checks)
    lines = []
    _, rows = runner.run("cpu", runner.Options(SETTINGS, 2), lines.append)
    assert [row.status for row in rows] == [report.FAILED, report.FAILED, report.SKIPPED, report.MEASURED]
    assert "out of memory" in rows[0].result and "more" not in rows[0].result and "Traceback" in rows[0].traceback
    assert rows[1].result == "cannot" and not rows[1].traceback and len(lines) == 4


def test_every_skipped_check_has_a_reason():
    checks = runner._list_checks("cpu", None, runner.Options(SETTINGS, 2))
    skipped = {check.mode: check.skip for check in checks if check.skip}
    assert {"TF32", "float16"} <= skipped.keys() and all(skipped.values())


@pytest.mark.slow
@pytest.mark.conformance
def test_run_passes_every_check_of_a_small_model(small_files):
    options = runner.Options(SETTINGS, 2, rounds=2, folder=str(small_files("run")))
    facts, rows = runner.run("cpu", options, lambda _: None)
    assert not [row.describe() for row in rows if row.status == report.FAILED]
    checks = {row.check for row in rows if row.status != report.SKIPPED}
    assert {"parity with float64", "SavedModel", "matrix product", "animation", "training step"} <= checks
    assert "device" in facts
