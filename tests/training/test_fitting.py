"""`FirstOrderMotionModel.compile` and `fit`: the same steps as `fomm train`, callbacks, saving."""

import csv
import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, config, errors
from fomm_tf.data import frames
from fomm_tf.models import execution
from fomm_tf.training import fitting, loop, samples, setup

pytestmark = pytest.mark.slow
STEPS = 20


@pytest.fixture(scope="module")
def settings(make_config):
    # The learning rates decay at half of the steps.
    return make_config(f"train.steps={STEPS}", "train.loss_weights.generator_gan=1", "train.checkpoint_steps=1000")


@pytest.fixture(scope="module")
def session(settings):
    return setup.prepare(settings, tf.distribute.MirroredStrategy(["CPU:0"]), None, None, lambda line: None)


def state_of(run):
    """All variables of networks and optimizers."""
    variables = [
        variable for part in (run.parts(), run.optimizers) for each in part.values() for variable in each.variables
    ]
    return [variable.numpy() for variable in variables]


def assert_same(one, other):
    assert len(one) == len(other) and all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def compiled(settings, session):
    """A compiled model, whose step is traced once, and what resets it to the state of the session at step 0."""
    model = fomm_tf.FirstOrderMotionModel(settings.model)
    model.compile(settings)
    run, initial = model._trainer.run, state_of(session.run)

    def reset():
        variables = [each for part in (run.parts(), run.optimizers) for each in part.values()]
        for variable, value in zip((v for each in variables for v in each.variables), initial, strict=True):
            variable.assign(value)
        run.step, model._trainer._rates = 0, None
        return model

    return reset


@pytest.fixture(scope="module")
def dataset(settings):
    return fomm_tf.training_dataset(settings.data.root, (32, 32), 4, seed=settings.train.seed)


class Fitted(NamedTuple):
    history: tf.keras.callbacks.History
    folder: pathlib.Path
    lines: list
    state: list
    score: samples.Score
    prediction: np.ndarray


@pytest.fixture(scope="module")
def fitted(settings, compiled, dataset, tmp_path_factory):
    """The results of 20 steps in 4 epochs, the files of the callbacks, and the saved model."""
    folder, model, lines = tmp_path_factory.mktemp("fitted"), compiled(), []
    callbacks = [
        tf.keras.callbacks.CSVLogger(folder / "log.csv"),
        tf.keras.callbacks.TensorBoard(folder / "board"),
        tf.keras.callbacks.ModelCheckpoint(
            folder / "{epoch}.weights.h5", monitor="val_l1", save_best_only=True, save_weights_only=True
        ),
        tf.keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: lines.append((batch, dict(logs)))),
        tf.keras.callbacks.TerminateOnNaN(),
    ]
    test = fomm_tf.test_dataset(settings.data.root, (32, 32), count=4)
    options = {"epochs": 4, "steps_per_epoch": STEPS // 4, "validation_data": test, "verbose": 0}
    history = model.fit(dataset, callbacks=callbacks, **options)
    model.save(folder / "model.keras")
    for name in ("model.weights.h5", "checkpoint"):
        model.save_weights(folder / name)
    score = samples.Validator(model, frames.load(settings.data.root, "test", (32, 32)), 4)()
    prediction = model(next(iter(dataset))).prediction.numpy()
    return Fitted(history, folder, lines, state_of(model._trainer.run), score, prediction)


def test_fit_and_fomm_train_give_the_same_bits(fitted, session, tmp_path):
    (tmp_path / "run").mkdir()
    checkpoint.describe(tmp_path / "run", session.settings, "")
    initial = state_of(session.run)
    loop.Loop(session, tmp_path / "run", lambda line: None).run()
    assert not np.array_equal(initial[0], fitted.state[0])
    assert_same(state_of(session.run), fitted.state)


def test_fit_returns_means_of_each_epoch(fitted):
    results = fitted.history.history
    names = {"loss", "perceptual", "l1", "l1_over_source_copy", "gen_gan", "val_l1", "val_l1_over_source_copy"}
    assert names <= set(results) and all(len(values) == 4 for values in results.values())
    assert [batch for batch, _ in fitted.lines] == [*range(STEPS // 4)] * 4
    last = fitted.lines[-1][1]
    assert last["loss"] == pytest.approx(results["loss"][-1])
    terms = [last[name] for name in last if name not in ("loss", "l1", "l1_over_source_copy", "disc_gan")]
    assert last["loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_evaluate_equals_the_validation_of_fomm_train(fitted):
    results, score = fitted.history.history, fitted.score
    assert results["val_l1"][-1] == pytest.approx(score.l1, rel=1e-5)
    assert results["val_l1_over_source_copy"][-1] == pytest.approx(score.l1 / score.source_copy_l1, rel=1e-5)


def test_standard_callbacks_write_their_files(fitted):
    results = fitted.history.history
    with (fitted.folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_l1"]) for row in rows] == pytest.approx(results["val_l1"])
    assert list((fitted.folder / "board").rglob("events.*"))
    best = 1 + int(np.argmin(results["val_l1"]))
    assert max(int(path.name[0]) for path in fitted.folder.glob("[0-9].weights.h5")) == best


@pytest.mark.parametrize("name", ["model.weights.h5", "checkpoint"])
def test_weights_round_trip_is_exact(name, fitted, settings):
    model = fomm_tf.FirstOrderMotionModel(settings.model)
    model.load_weights(fitted.folder / name)
    weights = [weight for network in model.layers for weight in (v.numpy() for v in network.variables)]
    assert_same(weights, fitted.state[: len(weights)])


def test_keras_file_round_trip_is_exact(fitted, settings, dataset):
    loaded = tf.keras.models.load_model(fitted.folder / "model.keras")
    assert type(loaded) is fomm_tf.FirstOrderMotionModel and loaded.config == settings.model
    assert np.array_equal(loaded(next(iter(dataset))).prediction, fitted.prediction)
    assert loaded._trainer.run.step == STEPS and loaded._trainer.train.feature_scales is not None
    # The discriminator, which no animation needs, is in checkpoints only.
    networks = len(loaded.variables)
    optimizers = sum(len(optimizer.variables) for optimizer in loaded.optimizers.values())
    state = state_of(loaded._trainer.run)
    assert_same(state[:networks], fitted.state[:networks])
    assert_same(state[-optimizers:], fitted.state[-optimizers:])


def test_keras_file_of_a_model_that_is_not_compiled(settings, tmp_path):
    model = fomm_tf.FirstOrderMotionModel(settings.model)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.weights_sha256() == model.weights_sha256() and loaded._trainer is None


def test_backup_and_restore_continues_bit_for_bit(fitted, compiled, dataset, tmp_path):
    def interrupt(epoch, logs):
        if epoch == 3:
            raise InterruptedError

    def run(*callbacks):
        callbacks = [tf.keras.callbacks.BackupAndRestore(tmp_path / "backup"), *callbacks]
        model = compiled()
        model.fit(dataset, epochs=4, steps_per_epoch=STEPS // 4, callbacks=callbacks, verbose=0)
        return model._trainer.run

    with pytest.raises(InterruptedError):
        run(tf.keras.callbacks.LambdaCallback(on_epoch_begin=interrupt))
    epochs = []
    resumed = run(tf.keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch)))
    assert epochs == [3]
    assert_same(state_of(resumed), fitted.state)


def test_learning_rate_callbacks_scale_all_optimizers(compiled, dataset):
    model = compiled()
    schedule = tf.keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * (0.5 if epoch else 1.0))
    stop = tf.keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=1e9)
    model.fit(dataset, epochs=5, steps_per_epoch=1, callbacks=[schedule, stop], verbose=0)
    assert model._trainer.run.step == 2  # no epoch improves by that much
    rates = [float(optimizer.learning_rate) for optimizer in model.optimizers.values()]
    assert rates == pytest.approx([1e-4] * 3)


def test_fit_continues_the_sequence_of_batches(fitted, compiled, dataset):
    model = compiled()
    for _ in range(2):
        model.fit(dataset, epochs=1, steps_per_epoch=STEPS // 2, verbose=0)
    assert_same(state_of(model._trainer.run), fitted.state)


def test_fit_on_two_replicas_has_the_losses_of_one(fitted, compiled, settings, dataset, two_replicas):
    weights = [variable.numpy() for part in compiled()._trainer.run.parts().values() for variable in part.variables]
    with two_replicas.scope():
        model = fomm_tf.FirstOrderMotionModel(settings.model)
        model.compile(settings)
    variables = [variable for part in model._trainer.run.parts().values() for variable in part.variables]
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)
    history = model.fit(dataset, epochs=1, steps_per_epoch=1, verbose=0).history
    for name, value in fitted.lines[0][1].items():
        assert history[name] == [pytest.approx(value, rel=1e-4)], name


def test_summary_lists_the_networks(settings, capsys):
    model = fomm_tf.FirstOrderMotionModel(settings.model)
    model.summary()
    text = capsys.readouterr().out
    assert all(name in text for name in ("detector", "dense_motion", "generator"))
    assert f"{model.count_params()}" in text.replace(",", "")


def test_compile_takes_recipes_and_rejects_unknown_ones(settings):
    assert fitting.choose_settings("tiny", {}).backbone == "efficientnet_lite0"
    chosen = fitting.choose_settings(None, {"learning_rate": 1e-5, "learning_rate_detector": 0.0})
    assert (chosen.learning_rate_generator, chosen.learning_rate_detector) == (1e-5, 0.0)
    with pytest.raises(errors.UserError, match="Cannot read the config absent"):
        fitting.choose_settings("absent", {})
    with pytest.raises(errors.UserError, match=r"train\.batch_size must be at least 1"):
        fitting.choose_settings(None, {"batch_size": 0})
    with pytest.raises(RuntimeError, match="compile"):
        fomm_tf.FirstOrderMotionModel(settings.model).fit(None)


def test_compile_of_a_preset_uses_its_recipe():
    model = fomm_tf.FirstOrderMotionModel.from_preset("people-256")
    model.compile()
    assert model._trainer.train == checkpoint.read_config(checkpoint.BUNDLED).train
    assert model._trainer.train != config.TrainConfig()


def test_compile_in_float16_scales_the_losses(settings):
    with execution.mixed_precision_scope("float16"):
        model = fomm_tf.FirstOrderMotionModel(settings.model)
    for each in (model, fomm_tf.FirstOrderMotionModel(settings.model)):
        each.compile(settings)
        optimizers = each._trainer.run.optimizers.values()
        is_scaled = [isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer) for optimizer in optimizers]
        assert is_scaled == [each is model] * 3


@pytest.mark.parametrize(
    ("change", "has_features", "scales"),
    [
        ({"feature_scales": (1.0, 2.0, 3.0, 4.0, 5.0)}, True, (1.0, 2.0, 3.0, 4.0, 5.0)),
        ({"loss_weights": config.LossWeightsConfig(perceptual=(0.0,) * 5)}, False, None),
    ],
)
def test_fit_measures_no_features_whose_scales_are_given_or_unused(change, has_features, scales, settings, monkeypatch):
    used = []
    monkeypatch.setattr(fitting, "Objective", lambda run, model, discriminator, features: used.append(features))
    monkeypatch.setattr(fitting.steps, "compile_step", lambda *_: None)
    trainer = fitting.Trainer(
        fomm_tf.FirstOrderMotionModel(settings.model), dataclasses.replace(settings.train, **change)
    )
    trainer.start(None, 1)
    assert trainer.train.feature_scales == scales and (used[0] is not None) == has_features
    if has_features:
        images = tf.random.stateless_uniform([1, 32, 32, 3], [0, 0])
        plain = fitting.backbones.RandomBackbone()(images)
        for scale, features, unscaled in zip(scales, used[0](images), plain, strict=True):
            np.testing.assert_allclose(features * scale, unscaled, rtol=1e-6)
