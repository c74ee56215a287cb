"""The training loop: steps, reports, validations, checkpoints. It can be interrupted at any moment and resumes exactly.

Convention: step s, counted from 0, trains on batch s with the deformations of s, both functions of (seed, s). After
it, s + 1 steps are completed, which is the number in reports and checkpoints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from fomm_tf import checkpoint, config, files
from fomm_tf.training import cluster, planning, reporting, samples, schedules, setup
from fomm_tf.training import step as steps

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Steps after which failures are named, in long runs and in the shortest.
_FIRST_CHECK, _EARLIEST_CHECK = 1000, 100


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
      settings: the config; with `resume`, the stored one with changes, or None for none.
      folder: the run directory: new or empty, or, with `resume`, that of a started run.
      resume: continue from the newest checkpoint, or from the start if there is none yet.
      init_from: run directory whose weights to start from.
      command: the command that started this, for README.txt.
      strategy: the devices to train on; by default all that TensorFlow finds.
      report: receives lines for the user.

    Raises:
      errors.UserError: for data, weights or settings that cannot be used, a NaN or infinite loss, a full disk.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, once the run is saved, and when another worker is lost; its message
        says how to continue.
    """
    files.check_name(folder)
    with cluster.interrupt_without_workers(folder):
        _run(settings, folder, resume, init_from, command, strategy, report)


def _run(
    settings: config.Config | None,
    folder: pathlib.Path,
    resume: bool,
    init_from: pathlib.Path | None,
    command: str,
    strategy: tf.distribute.Strategy | None,
    report: Callable[[str], object],
) -> None:
    changes: dict[str, tuple[object, object]] = {}
    probe = None
    if settings is not None and (settings.train.dry_run or settings.train.learning_rate_test):
        probe = planning.dry_run if settings.train.dry_run else planning.try_learning_rates
    if resume:
        stored = checkpoint.read_config(folder)
        settings = setup.reconcile(stored, settings, folder)
        changes = config.differences(stored, settings)
    lines = [f"{key} is now {now}; it was {before}" for key, (before, now) in changes.items()]
    if resume and (end := schedules.describe_end(settings.train, folder)):
        # Before the strategy, which waits for the other workers: they may have ended.
        for line in (*lines, end):
            report(line)
        return
    strategy = strategy or setup.choose_strategy()
    chief = cluster.is_chief(strategy)
    report_once = report if chief else lambda line: None
    for line in lines:
        report_once(line)
    if chief and not resume and not probe:
        checkpoint.refuse_existing(folder, "continue it with `resume`, or give another `folder`")
    if not probe:
        report_once(f"{folder}: see pictures/latest.png, and curves and videos with: tensorboard --logdir {folder}")
    has_checkpoint = resume and (folder / "checkpoint").is_file()
    if resume and not has_checkpoint:
        report_once(f"{folder} has no checkpoint yet: starting at step 0")
        # Where it was to start from.
        init_from = settings.train.init_from and pathlib.Path(settings.train.init_from)
    session = setup.prepare(
        settings, strategy, folder if has_checkpoint else None, init_from, report_once, None if resume else folder
    )
    cluster.check_steps(strategy, session.run.step, folder)
    if init_from is not None:
        train = dataclasses.replace(session.settings.train, init_from=str(init_from.resolve()))
        session = dataclasses.replace(session, settings=dataclasses.replace(session.settings, train=train))
    if probe:
        probe(session, report_once)
        return
    if has_checkpoint:
        report_once(f"resuming {folder} at step {session.run.step} of {session.schedule.total}")
        _report_factor(stored, session, report_once)
    if chief:
        folder.mkdir(parents=True, exist_ok=True)
        _write_provenance(folder, session, command, init_from if not resume else None, changes)
    Loop(session, folder, report).run()


def _report_factor(stored: config.Config, session: setup.Session, report: Callable[[str], object]) -> None:
    """Reports if a changed schedule changes the learning rates of the next step."""
    step, schedule = session.run.step, session.schedule
    before, now = schedules.plan_schedule(stored.train, schedule.epoch).factor(step), schedule.factor(step)
    if before != now:
        report(f"the learning rates of step {step} are now {now:g} of their initial values; they were {before:g}")


def _write_provenance(
    folder: pathlib.Path,
    session: setup.Session,
    command: str,
    init_from: pathlib.Path | None,
    changes: Mapping[str, tuple[object, object]],
) -> None:
    """Writes config.yaml, and README.txt with the run's history: the commands, and the settings that each changed."""
    readme = folder / "README.txt"
    if readme.is_file():
        history = readme.read_text(encoding="utf-8")
        lines = [f"Resumed at step {session.run.step}: {command}"]
        lines += [f"  {key}: {now}, before {before}" for key, (before, now) in changes.items()]
    else:
        history, lines = "", [f"Trained by: {command}"]
        lines += [f"Started from the weights of {init_from}."] * (init_from is not None)
    addition = "".join(f"{line}\n" for line in lines)
    if not history.endswith(addition):  # it was resumed before, and made no step
        history += addition
    checkpoint.describe(folder, session.settings, history)


class Loop:
    """Trains a session and writes its run directory.

    Args:
      session: what trains.
      folder: the run directory, with config.yaml and README.txt.
      report: receives lines for the user if this process is the chief; others report and write nothing.
    """

    def __init__(self, session: setup.Session, folder: pathlib.Path, report: Callable[[str], object] = print) -> None:
        self._session, self._run, self._train = session, session.run, session.settings.train
        self._folder = folder
        self._chief = cluster.is_chief(session.strategy)
        self._progress = reporting.ProgressReporter(
            self._run.step, session.schedule.total, self._train.batch_size, report if self._chief else None
        )
        self._losses = steps.LossAccumulator(scaled=self._train.precision == "float16")
        if self._chief:
            self._tensorboard = reporting.TensorBoardLogger(folder)
            self._checkpoints = checkpoint.CheckpointManager(folder, self._run, self._train.keep)
            self._history = reporting.History(folder / "history.csv", self._run.step)
            self._samples = samples.SampleGrid(self._run.model, session.test or session.train)
            self._validator = None
            if session.test is not None:
                self._validator = samples.Validator(self._run.model, session.test, self._train.test_frames)

    def run(self) -> None:
        """Steps to the end of the schedule.

        Raises:
          errors.UserError: if a loss is NaN or infinite or a checkpoint cannot be written; the last good one remains.
          KeyboardInterrupt: after a signal, once the run is saved.
        """
        session, train, total = self._session, self._train, self._session.schedule.total
        batches = session.open_batches()
        train_step = steps.compile_step(self._run, session.objective, train, session.strategy)
        rates = schedules.LearningRates(self._run, train, session.schedule)
        minutely = reporting.Cadence(None, 1.0)
        checkpoints = reporting.Cadence(train.checkpoint_steps, train.checkpoint_minutes)
        tests = reporting.Cadence(train.test_steps or train.checkpoint_steps, train.test_minutes)
        pictures = reporting.Cadence(train.picture_steps, train.picture_minutes, early=True)
        with _note_signals() as signals, self._progress:
            if self._chief and train.patience is not None and not self._history:
                self._save(validate=True)
            while self._run.step < total:
                rates.apply(self._run.step)
                losses = train_step(next(batches), tf.constant(self._run.step, tf.int64))
                done = self._run.step + 1
                self._run.step, self._run.epoch = done, done // session.schedule.epoch
                self._losses.add(done, losses)
                self._progress.add_step(done)
                last = done == total
                logs = last or done % train.log_steps == 0
                test = tests.is_due(done) or last
                saves = checkpoints.is_due(done) or test
                draws = pictures.is_due(done) or test
                stops = self._agree(bool(signals), logs) and not last
                if minutely.is_due(done) or logs or saves or draws or stops:
                    self._log()
                if self._chief:
                    if saves or stops:
                        self._save(test)
                    if draws:
                        self._draw(keep=test or done == 1)
                if stops:
                    raise KeyboardInterrupt(
                        f"stopped and saved at step {done} of {total}; {cluster.say_resume(self._folder)}"
                    )
                if not last and self._agree(self._is_exhausted(), logs):
                    self._progress.write_line(f"ended early at step {done} of {total}, as train.patience asks")
                    break
        # No worker ends before the last checkpoint is written: if the chief is lost, it needs the others again.
        cluster.any_worker(session.strategy, False)
        if train.patience is not None and self._chief:
            self._progress.write_line(
                f"{self._history.describe()}; these weights are in {self._folder / checkpoint.BEST}"
            )

    def _is_exhausted(self) -> bool:
        return self._chief and self._history.is_exhausted(self._train.patience)

    def _agree(self, requested: bool, logs: bool) -> bool:
        """Whether to stop: several workers ask each other with the logs, and stop at the same step."""
        if cluster.count_workers(self._session.strategy) == 1:
            return requested
        return logs and cluster.any_worker(self._session.strategy, requested)

    def _log(self) -> None:
        means = self._losses.result()
        rate = self._progress.log(self._run.step, means)
        if not self._chief:
            return
        norm = steps.GRADIENT_NORM
        curves = {f"gradient/{name.removeprefix(norm)}": means[name] for name in means if norm in name}
        curves |= {f"loss/{name}": value for name, value in reporting.loss_terms(means).items()}
        curves["train/l1"] = means[steps.L1]
        curves["train/l1_over_source_copy"] = means[steps.L1] / max(means[steps.SOURCE_COPY_L1], 1e-9)
        for name, optimizer in self._run.optimizers.items():
            curves[f"learning_rate/{name}"] = float(optimizer.learning_rate.numpy())
        self._tensorboard.log_scalars(self._run.step, curves | ({} if rate is None else {"images_per_second": rate}))

    def _save(self, validate: bool) -> None:
        with self._progress.paused():
            score = self._validator() if validate and self._validator else None
            self._checkpoints.save()
            if score is not None and self._history.add(self._run.step, score):
                self._checkpoints.mark_best()
        if score is not None:
            share = score.l1 / score.source_copy_l1
            self._tensorboard.log_scalars(self._run.step, {"test/l1": score.l1, "test/l1_over_source_copy": share})
            self._progress.write_line(
                f"step {self._run.step}: L1 {score.l1:.4f} on unseen clips, {share:.3f} of the source-copy baseline"
            )

    def _draw(self, keep: bool) -> None:
        with self._progress.paused():
            self._tensorboard.log_image(self._run.step, self._samples.draw(), keep)
            if keep and self._run.step > 1:
                self._tensorboard.log_video(self._run.step, self._samples.animate())
        # Keypoints of a randomly initialized model are all near the center.
        if self._run.step >= max(_EARLIEST_CHECK, min(_FIRST_CHECK, self._session.schedule.total // 4)):
            for failure in self._samples.failures:
                self._progress.write_line(
                    f"warning: step {self._run.step}: {failure}; see pictures/latest.png, and Failures in "
                    "docs/training.md"
                )


@contextlib.contextmanager
def _note_signals() -> Iterator[list[int]]:
    """Yields a list that gets Ctrl-C and SIGTERM, so that the step completes; a second signal raises."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    in_main = threading.current_thread() is threading.main_thread()  # other threads get no signals
    previous = {number: signal.signal(number, note) for number in _SIGNALS if in_main}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
