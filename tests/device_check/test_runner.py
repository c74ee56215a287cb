"""The checks on the CPU: right results pass, wrong ones fail, and what raises does not stop the others."""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, devices, errors, structures
from fomm_tf.device_check import frames, modes, report, runner, steps, timing

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


@pytest.fixture
def parity(monkeypatch):
    """A parity whose model returns what float64 returns, shifted; it is set by the test."""
    clip = np.full([3, 8, 8, 3], 0.5, np.float32)

    def animate(shift, clip):
        keypoints = structures.Keypoints(tf.fill([2, 4, 2], 0.25 + shift.position), shift.jacobian)
        images = tf.convert_to_tensor(clip[1:])
        return keypoints, structures.Rendering(images + shift.color, images)

    monkeypatch.setattr(frames, "_animate", animate)
    made = frames.Parity.__new__(frames.Parity)
    made._folder, made._clip = "run", clip
    made._keypoints, made._rendering = animate(types.SimpleNamespace(position=0.0, color=0.0, jacobian=tf.eye(2)), clip)

    def shift(**values):
        model = types.SimpleNamespace(**{"position": 0.0, "color": 0.0, "jacobian": None} | values)
        monkeypatch.setattr(frames.checkpoint, "load", lambda *_, **__: types.SimpleNamespace(model=model))
        return made

    return shift


@pytest.mark.parametrize(
    ("shift", "exact", "rounded"),
    [
        ({}, True, True),
        ({"position": 5e-5, "color": 1e-3}, True, True),
        ({"position": 2e-4}, False, True),
        ({"color": 3e-3}, False, True),
        ({"color": 0.1}, False, False),
    ],
)
def test_parity_of_exact_modes_is_of_each_number_and_of_others_by_psnr(shift, exact, rounded, parity):
    for mode in modes.MODES:
        status, text = parity(**shift).check(mode)
        assert status == (report.PASSED if (exact if mode.is_exact else rounded) else report.FAILED)
        assert ("limit: keypoints 1e-04" in text) == mode.is_exact and "Jacobians" not in text
    assert "Jacobians 2.0e+00; " in parity(jacobian=3 * tf.eye(2)).check(modes.FLOAT32)[1]


@pytest.mark.parametrize(
    ("missing", "providers", "device", "reason"),
    [
        ({"onnx", "tf2onnx"}, [], "cpu", "tf2onnx"),
        ((), ["CPUExecutionProvider"], "cpu", None),
        ((), ["CPUExecutionProvider"], "gpu", "onnxruntime runs on the CPU only; install onnxruntime-gpu"),
        ((), ["CUDAExecutionProvider", "CPUExecutionProvider"], "gpu", None),
    ],
)
def test_onnx_is_skipped_without_its_packages_or_the_gpu_s_provider(missing, providers, device, reason, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else name)
    fake = types.SimpleNamespace(get_available_providers=lambda: providers)
    monkeypatch.setitem(sys.modules, "onnxruntime", None if missing else fake)
    explained = frames.explain_no_onnx(device)
    assert explained is None if reason is None else reason in explained


def test_run_on_a_gpu_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr(devices, "list_gpus", list)
    monkeypatch.setattr(devices, "explain_missing_gpu", lambda: "no driver")
    with pytest.raises(errors.UserError, match=r"^no driver\.$"):
        runner.run("gpu", runner.Options(SETTINGS, 2), pytest.fail)


@pytest.mark.parametrize(
    ("device", "batch", "half"), [("gpu", 8, 4), ("gpu", 2, 1), ("gpu", 1, None), ("cpu", 8, None)]
)
def test_training_is_also_checked_with_half_of_the_pairs_on_a_gpu(device, batch, half, monkeypatch):
    sizes = []

    def make(settings, size):
        return types.SimpleNamespace(check=lambda mode, rounds: sizes.append((size, mode.name)))

    monkeypatch.setattr(steps, "Training", make)
    gpu = devices.Gpu("Faked", (9, 0)) if device == "gpu" else None
    checks = [each for each in runner._list_checks(device, gpu, runner.Options(SETTINGS, batch)) if "step" in each.name]
    for check in checks:
        check.run()
    assert sizes == [*((batch, mode.name) for mode in modes.MODES), *([(half, "float32")] if half else [])]
    assert [check.name for check in checks[5:]] == ([f"training step, batch {half}"] if half else [])


def test_measure_reports_the_peak_of_a_gpu_since_its_reset(monkeypatch):
    calls = []
    gpu = types.SimpleNamespace(
        reset_memory_stats=lambda name: calls.append(("reset", name)),
        get_memory_info=lambda name: calls.append(("read", name)) or {"peak": 3 << 29},
    )
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["/device:GPU:0"])
    monkeypatch.setattr(tf.config, "experimental", gpu)
    _, measured = timing.measure(lambda: calls.append("call") or tf.constant(1.0), 2)
    assert calls == [("reset", "GPU:0"), "call", "call", "call", ("read", "GPU:0")]
    assert measured.describe(1, "step").endswith("; at most 1.50 GiB")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    result, measured = timing.measure(lambda: {"loss": tf.constant(2.0)}, 1)
    assert result == {"loss": 2.0} and measured.peak is None and "GiB" not in measured.describe(1, "step")


@pytest.mark.parametrize("mode", modes.MODES, ids=lambda mode: mode.name)
def test_training_step_scales_losses_in_float16_only(mode, monkeypatch):
    def compile_step(run, objective, train, strategy):
        is_scaled = {isinstance(each, steps.steps.LossScaleOptimizer) for each in run.optimizers.values()}
        assert is_scaled == {mode.precision == "float16"} and train.xla == mode.xla
        assert run.model.compute_dtype == mode.precision
        return lambda batch, number: {"perceptual": tf.constant(1.04)}

    monkeypatch.setattr(steps.steps, "compile_step", compile_step)
    training = steps.Training.__new__(steps.Training)
    training._settings, training._adversarial, training._batch = SETTINGS, False, {}
    training._exact = {"perceptual": 1.0}
    training._copy_weights = training._objective = lambda run: None
    status, text = training.check(mode, 1)
    assert status == (report.FAILED if mode.is_exact else report.PASSED) and "losses differ by 4.0e-02" in text


@pytest.mark.parametrize("weight", [0, 1])
def test_exact_losses_are_the_discriminator_s_too_if_it_is_trained(weight, monkeypatch):
    def objective(self, run):
        return types.SimpleNamespace(
            forward=lambda source, driving, transform: source,
            generator_losses=lambda driving, forward, transform: {
                "gen": tf.abs(driving - forward),
                "tps": transform.theta,
            },
            discriminator_losses=lambda driving, forward: {"disc_gan": driving + forward},
        )

    monkeypatch.setattr(steps.Training, "_objective", objective)
    training = steps.Training(config.override(SETTINGS, [f"train.loss_weights.generator_gan={weight}"]), 1)
    source, driving = np.float64(np.random.default_rng(0).random([2, 1, 32, 32, 3], np.float32))
    expected = {"gen": np.abs(driving - source).mean(), "tps": training._exact["tps"]}
    if weight:
        expected["disc_gan"] = (driving + source).mean()
    assert training._exact == pytest.approx(expected, rel=1e-12)
