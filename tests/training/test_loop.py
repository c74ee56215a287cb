"""The training loop: resuming, replicas and workers, precision, interruption, errors."""

import json
import os
import pathlib
import shutil
import signal
import socket

import numpy as np
import processes
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors
from fomm_tf.losses import backbones
from fomm_tf.training import loop, schedules

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def train(settings, folder, strategy, **changes):
    lines = []
    loop.run(settings, folder, strategy=strategy, report=lines.append, **changes)
    return lines


def data_of(folder, step):
    return (folder / f"ckpt-{step}.data-00000-of-00001").read_bytes()


def spawn(config_file, folder, *options, **environment):
    arguments = ["train.py", config_file, "--run", folder, *options]
    return processes.start(*arguments, cwd=ROOT, env=os.environ | environment)


def read_until(process, start):
    """Reads lines up to the first that starts with `start`."""
    for line in process.stdout:
        if line.startswith(start):
            return line
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def plain(make_config, tmp_path_factory):
    """The directory of a run, and its report."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    return folder, train(make_config(), folder, strategy, command="python train.py small.yaml")


def test_resume_after_kill_is_bit_identical(write_config, tmp_path):
    terms = ("train.loss_weights.generator_gan=1", "train.lr_decay_fractions=[]")
    run, straight = tmp_path / "run", tmp_path / "straight"
    # Longer than six steps, so that it is killed during training; without decay its first six steps are the same.
    killed = spawn(write_config(*terms, "train.steps=100000", "train.keep=1000000"), run)
    read_until(killed, "step 6: L1")
    killed.kill()
    killed.wait()
    shutil.copytree(run, straight)
    for path in run.glob("ckpt-*"):
        if int(path.stem.removeprefix("ckpt-")) > 3:
            path.unlink()
    names = ('model_checkpoint_path: "ckpt-3"', 'all_model_checkpoint_paths: "ckpt-3"')
    (run / "checkpoint").write_text("\n".join(names) + "\n")
    resumed = spawn(write_config(*terms), run, "--resume")
    assert resumed.wait(timeout=300) == 0, resumed.stderr.read()
    assert data_of(run, 6) == data_of(straight, 6)
    rows = (run / "history.csv").read_text().splitlines()
    assert len(rows) == 3 and rows == (straight / "history.csv").read_text().splitlines()[:3]


def test_run_directory_holds_the_documented_files(plain):
    folder, lines = plain
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert names == {
        *("README", "best", "checkpoint", "ckpt-3", "ckpt-6"),
        *("config", "events", "history", "pictures"),
    }
    assert "python train.py small.yaml" in (folder / "README.txt").read_text()
    loaded = checkpoint.load(folder, training=True)
    assert (loaded.step, loaded.epoch) == (6, 6) and int(loaded.optimizers["detector"].iterations) == 6
    assert loaded.config.train.feature_scales is not None
    # The learning rate after its decay at half of the steps.
    assert float(loaded.optimizers["generator"].learning_rate) == pytest.approx(2e-5)
    assert checkpoint.load(folder / "best").step in (3, 6)
    pictures = {path.name for path in (folder / "pictures").iterdir()}
    assert pictures == {"0000001.png", "0000003.png", "0000006.png", "latest.png", "latest.gif"}
    assert lines[0] == f"{folder}: see pictures/latest.png, and curves and videos with: tensorboard --logdir {folder}"
    assert any(line.startswith("step 6 of 6: loss ") for line in lines)


def test_sigterm_saves_and_ends_cleanly(write_config, make_config, one_replica, tmp_path):
    endless = write_config("train.steps=100000", "train.checkpoint_steps=100000", "train.lr_decay_fractions=[]")
    process = spawn(endless, tmp_path / "run")
    read_until(process, "step 2 of")
    process.send_signal(signal.SIGTERM)
    output, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "stopped" not in output
    step = checkpoint.read_count(tmp_path / "run", "step")
    resume = f"fomm train --run {tmp_path / 'run'} --resume"
    assert stderr == f"fomm: stopped and saved at step {step} of 100000; continue with: {resume}\n"
    settings = make_config(f"train.steps={step + 1}", "train.lr_decay_fractions=[]", "train.batch_size=2")
    lines = train(settings, tmp_path / "run", one_replica, resume=True)
    assert "train.batch_size is now 2; it was 4" in lines
    assert checkpoint.read_count(tmp_path / "run", "step") == step + 1
    assert f"Resumed at step {step}: " in (tmp_path / "run" / "README.txt").read_text()


def test_nan_gradient_stops_the_run_and_keeps_the_last_checkpoint(make_config, one_replica, tmp_path, monkeypatch):
    honest = backbones.load
    with one_replica.scope():
        poison = tf.Variable(0.0, trainable=False)

    def load(*arguments):
        backbone = honest(*arguments)

        @tf.custom_gradient
        def spoil(tap):
            return tap, lambda upstream: upstream + tf.where(poison > 0, np.nan, 0.0)

        class Poisoned:
            relative = False

            def __call__(self, images):
                return [spoil(tap) for tap in backbone(images)]

        return Poisoned()

    monkeypatch.setattr(backbones, "load", load)

    def report(line):
        if line.startswith("step 4 of"):
            poison.assign(1.0)

    with pytest.raises(errors.UserError) as caught:
        loop.run(make_config(), tmp_path / "run", strategy=one_replica, report=report)
    message = str(caught.value)
    assert message.startswith("the gradient of the generator is nan at step 5") and "`resume`" in message
    assert checkpoint.load(tmp_path / "run").step == 3


def test_run_rejects_used_directory_and_keeps_it(make_config, one_replica, tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(errors.UserError, match="already exists; continue it with `resume`, or give another `folder`"):
        train(make_config(), tmp_path, one_replica)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_resume_rejects_another_model(plain, make_config, one_replica, tmp_path):
    shutil.copytree(plain[0], tmp_path / "run")
    with pytest.raises(errors.UserError, match=r"cannot be resumed with another model: model\.num_keypoints is 3"):
        train(make_config("model.num_keypoints=4"), tmp_path / "run", one_replica, resume=True)


def test_adversarial_fine_tuning_starts_from_a_plain_run(plain, make_config, one_replica, tmp_path):
    settings = make_config("train.steps=1", "train.loss_weights.generator_gan=1", "train.learning_rate_detector=0")
    lines = train(settings, tmp_path / "adv", one_replica, init_from=plain[0])
    assert any("has no discriminator: randomly initialized" in line for line in lines)
    before, after = (checkpoint.load(folder).model for folder in (plain[0], tmp_path / "adv"))
    for resumed, original in zip(after.detector.trainable_weights, before.detector.trainable_weights, strict=True):
        np.testing.assert_array_equal(resumed, original)
    assert not np.array_equal(after.generator.final.kernel, before.generator.final.kernel)


@pytest.mark.parametrize(
    "precision", [pytest.param("bfloat16", marks=[pytest.mark.conformance, pytest.mark.bfloat16_kernels]), "float16"]
)
def test_mixed_precision_equals_float32_up_to_rounding(precision, plain, make_config, one_replica, tmp_path):
    settings = make_config("train.steps=2", "train.lr_decay_fractions=[]", f"train.precision={precision}")
    mixed = train(settings, tmp_path / "mixed", one_replica)

    def perceptual(lines):
        (line,) = (line for line in lines if line.startswith("step 1 of"))
        return float(line.split("perceptual ")[1].split(",")[0])

    assert perceptual(mixed) == pytest.approx(perceptual(plain[1]), rel=0.02)
    assert checkpoint.load(tmp_path / "mixed").step == 2


@pytest.mark.conformance
def test_xla_equals_plain_kernels(make_config, one_replica, tmp_path):
    changes = ["train.steps=1", "train.lr_decay_fractions=[]", "train.pyramid_scales=[1.0]"]
    train(make_config(*changes), tmp_path / "plain", one_replica)
    train(make_config(*changes, "train.xla=true"), tmp_path / "xla", one_replica)
    one, other = (checkpoint.load(tmp_path / name).model.generator for name in ("plain", "xla"))
    np.testing.assert_allclose(one.final.kernel, other.final.kernel, atol=5e-5)


# Replicas and workers -----------------------------------------------------------------------------------------------

DESCENT = (
    *("train.loss_weights.generator_gan=1", "train.steps=3", "train.lr_decay_fractions=[]"),
    *(f"train.learning_rate_{name}=1e-6" for name in ("generator", "detector", "discriminator")),
)


def run_gradient_descent(file, out, devices=1, **environment):
    arguments = ["tests/training/gradient_descent.py", file, out, devices]
    return processes.start(*arguments, cwd=ROOT, env=os.environ | environment)


def result(process, out):
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr[-2000:]
    return json.loads((out / "history.json").read_text()), list(np.load(out / "weights.npz").values())


def assert_same(actual, expected):
    """Losses and updated weights to 1e-5 relative."""
    assert len(actual[0]) == 3
    for mine, theirs in zip(actual[0], expected[0], strict=True):
        for name, value in theirs.items():
            if not name.startswith("gradient_norm"):
                assert mine[name] == pytest.approx(value, rel=1e-5), name
    for mine, theirs in zip(actual[1], expected[1], strict=True):
        norm = np.linalg.norm(np.float64(theirs))
        # Variables that start from 0 (heads of Jacobians, offsets of norms) are sums of gradients, for which float32
        # allows 1e-3 (here five times that); all others are dominated by their initial values.
        tolerance = 1e-5 if norm > 1e-2 else 5e-3
        assert np.linalg.norm(np.float64(mine) - np.float64(theirs)) <= tolerance * norm + 1e-7


@pytest.fixture(scope="module")
def alone(make_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    (folder / "small.yaml").write_text(config.dump(make_config(*DESCENT)), encoding="utf-8")
    return result(run_gradient_descent(folder / "small.yaml", folder / "out"), folder / "out")


@pytest.mark.parametrize("recompute", ["false", pytest.param("true", marks=pytest.mark.conformance)])
def test_two_replicas_equal_one(recompute, alone, write_config, tmp_path):
    file = write_config(*DESCENT, f"train.recompute={recompute}")
    assert_same(result(run_gradient_descent(file, tmp_path / "out", devices=2), tmp_path / "out"), alone)


@pytest.mark.conformance
def test_two_workers_equal_one(alone, write_config, tmp_path):
    file = write_config(*DESCENT)
    sockets = [socket.socket() for _ in range(2)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(run_gradient_descent(file, tmp_path / f"worker{index}", TF_CONFIG=json.dumps(task)))
    for index, worker in enumerate(workers):
        assert_same(result(worker, tmp_path / f"worker{index}"), alone)


def test_config_of_the_tests_is_valid():
    assert schedules.plan_schedule(config.load(ROOT / "tests" / "training" / "small.yaml").train, 1).total == 6
