"""Progress lines, TensorBoard files and history.csv of a run."""

import io
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import video
from fomm_tf.training import reporting, samples


def events(folder):
    """tag -> {step: value} of TensorBoard's files."""
    values = {}
    for path in sorted(folder.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                values.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return values


@pytest.fixture
def clock(monkeypatch):
    """The clock of the reporter, advanced by the test."""
    clock = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(reporting, "time", types.SimpleNamespace(perf_counter=lambda: clock.seconds))
    return clock


MEANS = {"perceptual": 12.0, "equivariance_value": 0.5, "measured_l1": 0.06, "measured_source_copy_l1": 0.08}


def test_progress_reporter_writes_a_line_without_terminal(clock):
    lines = []
    with reporting.ProgressReporter(done=0, total=101, batch_size=8, report=lines.append) as progress:
        clock.seconds += 30  # the first step is compiled
        progress.add_step(1)
        assert progress.log(1, {"perceptual": 12.3456, "gradient_norm_detector": 3.0}) is None
        clock.seconds += 0.5
        rate = progress.log(11, MEANS)
    assert lines == [
        "step 1 of 101: perceptual 12.35; compiled in 30 s",
        "step 11 of 101: loss 12.5, perceptual 12, equivariance_value 0.5; L1 0.750 of the source-copy baseline; "
        "160 images/s, 4 s left",
    ]
    assert rate == pytest.approx(8 * 10 / 0.5)


def test_progress_reporter_excludes_pauses_from_the_rate(clock):
    with reporting.ProgressReporter(done=0, total=100, batch_size=1, report=None) as progress:
        with progress.paused():
            clock.seconds += 30
        clock.seconds += 0.5
        assert progress.log(10, {}) == pytest.approx(10 / 0.5)


def test_loss_terms_sum_to_the_loss_of_the_generator():
    means = {"perceptual": 2.0, "gen_gan": 1.0, "disc_gan": 7.0, "gradient_norm_detector": 3.0, "measured_l1": 0.1}
    assert reporting.loss_terms(means) == {"loss": 3.0, "perceptual": 2.0, "gen_gan": 1.0, "disc_gan": 7.0}


def due_at(clock, cadence, seconds_per_step, count):
    """The steps after which it is due."""
    steps = []
    for step in range(1, count + 1):
        clock.seconds += seconds_per_step
        steps += [step] * cadence.is_due(step)
    return steps


def test_cadence_by_steps_or_minutes(clock):
    assert due_at(clock, reporting.Cadence(3, None), 1000, 9) == [3, 6, 9]
    assert due_at(clock, reporting.Cadence(None, 2.0), 40, 9) == [3, 6, 9]
    # The minutes count from the last time, whatever it was for.
    assert due_at(clock, reporting.Cadence(4, 2.0), 40, 12) == [3, 4, 7, 8, 11, 12]
    assert due_at(clock, reporting.Cadence(None, None), 1000, 9) == []


def test_cadence_early_comes_first_within_a_minute_and_then_less_often(clock):
    # The first step takes a minute.
    assert due_at(clock, reporting.Cadence(None, 5.0, early=True), 60, 25) == [1, 2, 4, 8, 13, 18, 23]


def test_progress_reporter_without_report_writes_nothing(capsys):
    with reporting.ProgressReporter(done=0, total=2, batch_size=1, report=None) as progress:
        progress.log(1, {"perceptual": 1.0})
        progress.write_line("hello")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (7000, "117 min"), (9000, "2.5 h")]
)
def test_duration_is_rounded(seconds, text):
    assert reporting.format_duration(seconds) == text


def test_tensorboard_logger_writes_scalars_images_and_png_files(tmp_path):
    logger = reporting.TensorBoardLogger(tmp_path)
    grid = np.random.default_rng(0).integers(0, 256, [8, 12, 3], np.uint8)
    logger.log_scalars(3, {"loss/perceptual": 1.5, "images_per_second": 9.0})
    logger.log_image(3, grid)
    logger.log_scalars(4, {"loss/perceptual": 1.25})
    logger.log_image(4, grid[::-1], keep=False)
    logger.log_video(4, [grid, grid[::-1]])
    values = events(tmp_path)
    assert values["loss/perceptual"] == {3: 1.5, 4: 1.25} and values["images_per_second"] == {3: 9.0}
    width, height, encoded = values["samples"][3]
    assert (int(width), int(height)) == (12, 8)
    assert np.array_equal(tf.io.decode_png(encoded), grid)
    width, height, encoded = values["animation"][4]
    assert (int(width), int(height)) == (12, 8) and tf.io.decode_gif(encoded).shape == (2, 8, 12, 3)
    pictures = tmp_path / "pictures"
    assert {path.name for path in pictures.iterdir()} == {"0000003.png", "latest.png", "latest.gif"}
    assert np.array_equal(video.read_image(pictures / "0000003.png"), grid)
    assert np.array_equal(video.read_image(pictures / "latest.png"), grid[::-1])


def test_tensorboard_shows_the_video_among_the_images(tmp_path):
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext

    logger = reporting.TensorBoardLogger(tmp_path)
    logger.log_video(4, [np.zeros([8, 12, 3], np.uint8)] * 2)
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    source = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    found = source.list_blob_sequences(RequestContext(), experiment_id="", plugin_name="images")
    assert [tag for tags in found.values() for tag in tags] == ["animation"]


def test_history_add_returns_whether_the_score_is_the_best(tmp_path):
    history = reporting.History(tmp_path / "history.csv", step=0)
    scores = [0.3, 0.2, 0.25, 0.2, 0.1]
    best = [history.add(10 * (i + 1), samples.Score(score, 0.4)) for i, score in enumerate(scores)]
    assert best == [True, True, False, False, True]
    lines = (tmp_path / "history.csv").read_text().split()
    assert lines[0] == "step,l1,copying" and lines[2] == "20,0.2,0.4" and len(lines) == 6


def test_history_drops_rows_after_the_resumed_step(tmp_path):
    path = tmp_path / "history.csv"
    history = reporting.History(path, step=0)
    for step, score in ((10, 0.3), (20, 0.2), (30, 0.1)):
        history.add(step, samples.Score(score, 0.4))
    resumed = reporting.History(path, step=20)
    assert resumed.add(30, samples.Score(0.15, 0.4))
    assert [line.split(",")[0] for line in path.read_text().split()[1:]] == ["10", "20", "30"]


def test_progress_reporter_shows_losses_beside_the_bar_on_a_terminal(clock, monkeypatch):
    terminal, lines = io.StringIO(), []
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with reporting.ProgressReporter(done=3, total=101, batch_size=8, report=lines.append) as progress:
        progress.add_step(4)
        clock.seconds += 0.5
        assert progress.log(14, MEANS) == pytest.approx(8 * 10 / 0.5)
        progress.write_line("a warning")
    bar = terminal.getvalue().replace("\r", "\n").splitlines()[-1]
    assert " 4/101 , loss 12.5, perceptual 12, " in bar and bar.endswith("baseline; 160 images/s, 4 s left")
    assert lines == ["a warning"]
