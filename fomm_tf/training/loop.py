"""The training loop: steps, logs, tests, checkpoints; it may be stopped at any moment and goes on as if nothing were.

Convention: step s, counted from 0, trains on batch s and under the deformations of s, whatever happened before: both
are functions of (seed, s). After it, s + 1 steps are done, and that is what logs and checkpoints say.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from fomm_tf import checkpoint, config
from fomm_tf.data import pairs
from fomm_tf.ops import tps
from fomm_tf.training import gallery, guard, interruption, journal, setup, strategies, validation
from fomm_tf.training import step as steps


def run(
    settings: config.Config | None,
    folder: pathlib.Path,
    *,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    command: str = "fomm_tf.training.loop.run",
    strategy: tf.distribute.Strategy | None = None,
    report: Callable[[str], object] = print,
) -> None:
    """Trains a run to its end.

    Args:
      settings: the config; with `resume`, None for that of the folder.
      folder: the run folder: new or empty, or with `resume` one that was begun.
      resume: go on from the folder's newest checkpoint; from the beginning if it has none yet.
      init_from: run folder whose weights to begin with.
      command: what started this, for README.txt.
      strategy: where to train; by default on all that TensorFlow finds.
      report: takes lines for the user.

    Raises:
      errors.UserError: for data, weights or settings that will not do, a loss that is no number, a full disk.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved.
    """
    strategy = strategy or strategies.pick()
    chief = strategies.is_chief(strategy)
    say = report if chief else lambda line: None
    if resume:
        settings = setup.reconcile(settings, folder, say)
    elif chief:
        checkpoint.refuse_existing(folder, "go on with it by --resume, or give another --run")
    begun = resume and (folder / "checkpoint").is_file()
    session = setup.prepare(settings, strategy, folder if begun else None, init_from, say)
    if chief:
        folder.mkdir(parents=True, exist_ok=True)
        begins = f"Begins with the weights of {init_from}.\n" if init_from else ""
        told = folder / "README.txt"
        story = told.read_text(encoding="utf-8") if told.is_file() else f"Trained by: {command}\n{begins}"
        checkpoint.describe(folder, session.settings, story)
    Loop(session, folder, report).run()


class Loop:
    """A session and where it writes to.

    Args:
      session: what trains.
      folder: the run folder, described already.
      report: takes lines for the user, if this process is the chief; else it says and writes nothing.
    """

    def __init__(self, session: setup.Session, folder: pathlib.Path, report: Callable[[str], object] = print) -> None:
        self._session, self._run, self._train = session, session.run, session.settings.train
        self._chief = strategies.is_chief(session.strategy)
        self._together = strategies.count_workers(session.strategy) > 1
        self._console = journal.Console(
            self._run.step, session.schedule.total, self._train.batch_size, report if self._chief else None
        )
        self._losses = guard.Losses(scaled=self._train.precision == "float16")
        self._factor = None
        if self._chief:
            self._board = journal.Board(folder)
            self._keeper = checkpoint.Keeper(folder, self._run, self._train.keep)
            self._history = journal.History(folder / "history.csv", self._run.step)
            self._gallery = gallery.Gallery(self._run.networks, session.test or session.train)
            self._validator = None
            if session.test is not None:
                self._validator = validation.Validator(self._run.networks, session.test, self._train.test_frames)

    def run(self) -> None:
        """Steps to the end of the schedule.

        Raises:
          errors.UserError: if a loss is no number or a checkpoint cannot be written; the last good one is there.
          KeyboardInterrupt: after a signal, when the run is saved.
        """
        take, batches, total = self._compile(), self._open_batches(), self._session.schedule.total
        with interruption.Interruption() as interrupted, self._console:
            while self._run.step < total:
                self._set_rates()
                losses = take(next(batches), tf.constant(self._run.step, tf.int64))
                done = self._run.step + 1
                self._run.step, self._run.epoch = done, done // self._session.schedule.epoch
                self._losses.add(done, losses)
                last = done == total
                logs = last or done % self._train.log_steps == 0
                saves = last or done % self._train.checkpoint_steps == 0
                stops = self._agree(interrupted.asked, logs) and not last
                if logs or saves or stops:
                    self._log()
                if (saves or stops) and self._chief:
                    self._save(tests=saves)
                if stops:
                    self._console.say(f"stopped and saved at step {done} of {total}; --resume goes on from there")
                    raise KeyboardInterrupt

    def _compile(self) -> Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]:
        strategy, train = self._session.strategy, self._train
        step = steps.TrainStep(self._run, self._session.objective, train.batch_size)
        names: list[str] = []

        def step_replica(batch: dict[str, tf.Tensor], transform: tps.Transform) -> tf.Tensor:
            losses = step(batch["source"], batch["driving"], transform)
            names[:] = losses
            # One vector, so that replicas exchange once.
            return tf.stack(list(losses.values()))

        if train.xla:
            step_replica = tf.function(step_replica, jit_compile=True, autograph=False)

        @tf.function(autograph=False)
        def take(batch: dict[str, tf.Tensor], number: tf.Tensor) -> dict[str, tf.Tensor]:
            # Drawn outside of XLA, which would draw other numbers from the same seed.
            transform = strategy.run(steps.draw_transform, args=(train, number))
            summed = strategy.reduce("SUM", strategy.run(step_replica, args=(batch, transform)), axis=None)
            return dict(zip(names, tf.unstack(summed, num=len(names)), strict=True))

        return take

    def _open_batches(self) -> Iterator[dict[str, tf.Tensor]]:
        session, train = self._session, self._train
        return iter(
            session.strategy.distribute_datasets_from_function(
                lambda context: pairs.make_dataset(
                    session.train, session.settings.data, train.batch_size, train.seed, self._run.step, context
                )
            )
        )

    def _set_rates(self) -> None:
        factor = self._session.schedule.factor(self._run.step)
        if factor != self._factor:
            self._factor = factor
            for name, optimizer in self._run.optimizers.items():
                optimizer.learning_rate.assign(getattr(self._train, f"learning_rate_{name}") * factor)

    def _agree(self, asked: bool, logs: bool) -> bool:
        """Whether to stop: with several processes all of them at the same step, or the rest would wait forever."""
        if not self._together:
            return asked
        if not logs:
            return False
        strategy = self._session.strategy
        mine = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(asked)))
        return bool(strategy.reduce("SUM", mine, axis=None) > 0)

    def _log(self) -> None:
        means = self._losses.take()
        rate = self._console.log(self._run.step, means)
        if self._chief:
            curves = {f"gradient/{name.removeprefix(steps.NORM)}": means[name] for name in means if steps.NORM in name}
            curves |= {f"loss/{name}": value for name, value in means.items() if steps.NORM not in name}
            for name, optimizer in self._run.optimizers.items():
                curves[f"learning_rate/{name}"] = float(optimizer.learning_rate.numpy())
            self._board.curves(self._run.step, curves | {"images_per_second": rate})

    def _save(self, tests: bool) -> None:
        with self._console.paused():
            score = self._validator() if tests and self._validator else None
            self._keeper.save()
            if score is not None and self._history.add(self._run.step, score):
                self._keeper.mark_best()
            if tests:
                self._board.picture(self._run.step, self._gallery.draw())
        if score is not None:
            share = score.l1 / score.copying
            self._board.curves(self._run.step, {"test/l1": score.l1, "test/l1_over_copying": share})
            self._console.say(
                f"step {self._run.step}: L1 {score.l1:.4f} on unseen clips, {share:.3f} of copying the source"
            )
