"""When the loop reports, saves, draws and stops, as chief and as another worker, with steps that do nothing."""

import signal
import types

import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config
from fomm_tf.training import loop, reporting, samples, schedules, setup
from fomm_tf.training import step as steps

LOSSES = {"perceptual": 1.0, steps.L1: 0.3, steps.SOURCE_COPY_L1: 0.4}


class FakeStrategy:
    """What the loop asks of a strategy; the votes of a second worker are given, one per exchange."""

    def __init__(self, worker=0, votes=None):
        self.votes = votes
        workers = {} if votes is None else {"worker": ["one:1", "two:1"]}
        self.cluster_resolver = types.SimpleNamespace(
            task_type="worker", task_id=worker, cluster_spec=lambda: types.SimpleNamespace(as_dict=lambda: workers)
        )

    def experimental_distribute_values_from_function(self, function):
        return function(None)

    def reduce(self, operation, value, axis):
        assert (operation, axis) == ("SUM", None)
        return value + self.votes.pop(0)

    def gather(self, value, axis):
        return tf.concat([value, [self.votes.pop(0)]], axis)


@pytest.fixture
def record(monkeypatch):
    """What the loop did, in order."""
    calls = []

    class FakeCheckpoints:
        def __init__(self, folder, run, keep):
            self._run = run

        def save(self):
            calls.append(("save", self._run.step))

        def mark_best(self):
            calls.append(("best", self._run.step))

    class FakeGrid:
        failures = ("the result is of one color",)

        def __init__(self, model, index):
            calls.append(("show", index))

        draw = animate = lambda self: None

    def log_scalars(self, step, values):
        calls.append(("log", step))

    monkeypatch.setattr(checkpoint, "CheckpointManager", FakeCheckpoints)
    monkeypatch.setattr(samples, "SampleGrid", FakeGrid)
    monkeypatch.setattr(samples, "Validator", lambda model, index, count: lambda: samples.Score(0.2, 0.4))
    monkeypatch.setattr(
        steps, "compile_step", lambda *_: lambda batch, number: {k: tf.constant(v) for k, v in LOSSES.items()}
    )
    monkeypatch.setattr(setup.Session, "open_batches", lambda self: iter(dict, None))
    for name, kind in (("log_image", "draw"), ("log_video", "animate")):
        monkeypatch.setattr(
            reporting.TensorBoardLogger, name, lambda self, step, *_, kind=kind: calls.append((kind, step))
        )
    monkeypatch.setattr(reporting.TensorBoardLogger, "log_scalars", log_scalars)
    return calls


def make_session(strategy, test=None, **changes):
    settings = config.Config(train=config.TrainConfig(lr_decay_fractions=(), **changes))
    run = types.SimpleNamespace(step=0, epoch=0, model=None, optimizers={})
    return setup.Session(settings, strategy, run, None, schedules.plan_schedule(settings.train, 2), "train", test)


def steps_of(record, kind):
    return [step for name, step in record if name == kind]


CADENCE = {"steps": 6, "log_steps": 4, "checkpoint_steps": 3, "checkpoint_minutes": None, "test_minutes": None}
CADENCE |= {"picture_steps": None, "picture_minutes": None}


def test_loop_reports_saves_and_draws_when_due(record, tmp_path):
    lines, session = [], make_session(FakeStrategy(), **CADENCE)
    loop.Loop(session, tmp_path, lines.append).run()
    # Steps 3 and 6 are saved; nothing is due after 1, 2 and 5.
    assert steps_of(record, "log") == [3, 4, 6] and [int(line.split()[1]) for line in lines] == [3, 4, 6]
    assert steps_of(record, "save") == steps_of(record, "draw") == [3, 6]
    assert steps_of(record, "animate") == [3, 6] and not steps_of(record, "best")
    assert steps_of(record, "show") == ["train"] and not (tmp_path / "history.csv").exists()
    assert (session.run.step, session.run.epoch) == (6, 3)


def test_loop_validates_and_draws_test_clips_if_there_are_any(record, tmp_path):
    lines = []
    loop.Loop(make_session(FakeStrategy(), "test", **CADENCE), tmp_path, lines.append).run()
    assert steps_of(record, "show") == ["test"] and steps_of(record, "best") == [3]
    assert "step 3: L1 0.2000 on unseen clips, 0.500 of the source-copy baseline" in lines
    assert [row.split(",")[0] for row in (tmp_path / "history.csv").read_text().splitlines()] == ["step", "3", "6"]


def test_loop_names_failures_of_pictures_once_a_model_can_have_learned(record, tmp_path):
    lines = []
    changes = CADENCE | {"steps": 120, "checkpoint_steps": 60, "log_steps": 60}
    loop.Loop(make_session(FakeStrategy(), **changes), tmp_path, lines.append).run()
    assert steps_of(record, "draw") == [60, 120]
    assert [line for line in lines if line.startswith("warning")] == [
        "warning: step 120: the result is of one color; see pictures/latest.png, and Failures in docs/training.md"
    ]


def test_other_worker_writes_nothing_and_stops_with_the_logs(record, tmp_path):
    lines = []
    # Two votes at step 4: to stop after a signal, and for patience.
    strategy = FakeStrategy(worker=1, votes=[1.0])
    session = make_session(strategy, "test", **CADENCE)
    with pytest.raises(KeyboardInterrupt, match=r"stopped and saved at step 4 of 6; continue with: fomm train --run "):
        loop.Loop(session, tmp_path, lines.append).run()
    assert not record and not lines and not list(tmp_path.iterdir()) and not strategy.votes


def test_workers_end_together_after_the_chief_s_last_checkpoint(record, tmp_path):
    strategy = FakeStrategy(worker=1, votes=[0.0, 0.0, 0.0, 0.0])
    loop.Loop(make_session(strategy, **CADENCE), tmp_path).run()
    # At steps 4 and 6: whether to stop; at 4 whether patience is exhausted; and once at the end.
    assert not strategy.votes and not record


def test_run_of_another_worker_leaves_the_directory_to_the_chief(record, tmp_path, monkeypatch):
    lines = []
    folder = tmp_path / "run"
    for worker in (1, 0):
        strategy = FakeStrategy(worker, votes=[0, *[0.0] * 4])
        session = make_session(strategy, **CADENCE)
        monkeypatch.setattr(setup, "prepare", lambda *_, session=session: session)
        loop.run(session.settings, folder, strategy=strategy, report=lines.append)
        assert folder.exists() == bool(lines) == bool(record) == (worker == 0)
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "README.txt"}


def test_second_signal_interrupts_the_step():
    before = [signal.getsignal(number) for number in loop._SIGNALS]
    with loop._note_signals() as received:
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in loop._SIGNALS] == before
