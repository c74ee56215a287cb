"""Progress lines, TensorBoard files and history.csv of a run."""

import types

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import video
from fomm_tf.training import reporting, validation


def events(folder):
    """tag -> {step: value} of TensorBoard's files."""
    found = {}
    for path in sorted(folder.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the reporter sees; they pass when the test says so."""
    clock = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(reporting, "time", types.SimpleNamespace(perf_counter=lambda: clock.seconds))
    return clock


def test_progress_reporter_writes_a_line_without_terminal(clock):
    lines = []
    with reporting.ProgressReporter(done=0, total=100, batch_size=8, report=lines.append) as progress:
        clock.seconds += 0.5
        rate = progress.log(10, {"perceptual": 12.3456, "gradient_norm_detector": 3.0})
    (line,) = lines
    assert line == "step 10 of 100: perceptual 12.35; 160 images/s, 4 s left"
    assert rate == pytest.approx(8 * 10 / 0.5)


def test_progress_reporter_excludes_pauses_from_the_rate(clock):
    with reporting.ProgressReporter(done=0, total=100, batch_size=1, report=None) as progress:
        with progress.paused():
            clock.seconds += 30
        clock.seconds += 0.5
        assert progress.log(10, {}) == pytest.approx(10 / 0.5)


def test_progress_reporter_without_report_writes_nothing(capsys):
    with reporting.ProgressReporter(done=0, total=2, batch_size=1, report=None) as progress:
        progress.log(1, {"perceptual": 1.0})
        progress.write_line("hello")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (7000, "117 min"), (9000, "2.5 h")]
)
def test_duration_is_rounded(seconds, text):
    assert reporting._duration(seconds) == text


def test_tensorboard_logger_writes_scalars_images_and_png_files(tmp_path):
    logger = reporting.TensorBoardLogger(tmp_path)
    grid = np.random.default_rng(0).integers(0, 256, [8, 12, 3], np.uint8)
    logger.log_scalars(3, {"loss/perceptual": 1.5, "images_per_second": 9.0})
    logger.log_image(3, grid)
    logger.log_scalars(4, {"loss/perceptual": 1.25})
    found = events(tmp_path)
    assert found["loss/perceptual"] == {3: 1.5, 4: 1.25} and found["images_per_second"] == {3: 9.0}
    width, height, encoded = found["pictures"][3]
    assert (int(width), int(height)) == (12, 8)
    assert np.array_equal(tf.io.decode_png(encoded), grid)
    assert np.array_equal(video.read_image(tmp_path / "pictures" / "0000003.png"), grid)


def test_history_add_returns_whether_the_score_is_the_best(tmp_path):
    history = reporting.History(tmp_path / "history.csv", step=0)
    scores = [0.3, 0.2, 0.25, 0.2, 0.1]
    best = [history.add(10 * (i + 1), validation.Score(score, 0.4)) for i, score in enumerate(scores)]
    assert best == [True, True, False, False, True]
    lines = (tmp_path / "history.csv").read_text().split()
    assert lines[0] == "step,l1,copying" and lines[2] == "20,0.2,0.4" and len(lines) == 6


def test_history_drops_rows_after_the_resumed_step(tmp_path):
    path = tmp_path / "history.csv"
    history = reporting.History(path, step=0)
    for step, score in ((10, 0.3), (20, 0.2), (30, 0.1)):
        history.add(step, validation.Score(score, 0.4))
    resumed = reporting.History(path, step=20)
    assert resumed.add(30, validation.Score(0.15, 0.4))
    assert [line.split(",")[0] for line in path.read_text().split()[1:]] == ["10", "20", "30"]
