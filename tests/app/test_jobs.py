"""Jobs: their order, bounds, errors and files."""

import errno
import threading
import warnings

import pytest

from fomm_tf import errors
from fomm_tf.app import jobs

SECONDS = 60  # no event takes so long, unless it fails


@pytest.fixture
def queue(tmp_path):
    queue = jobs.JobQueue(tmp_path, 3)
    yield queue
    queue.close()
    assert not list(tmp_path.iterdir())


class Gate:
    """Work that waits until it is opened."""

    def __init__(self):
        self.started, self.opened, self.count, self.most = threading.Event(), threading.Event(), 0, 0

    def __call__(self, job):
        self.count += 1
        self.most = max(self.most, self.count)
        self.started.set()
        while not self.opened.wait(0.01):
            job.check()
        self.count -= 1


def test_queue_runs_one_job_of_a_model_at_a_time(queue):
    gate, other = Gate(), Gate()
    first, second = (queue.submit(owner, "model", gate) for owner in "ab")
    third = queue.submit("c", "another", other)
    assert gate.started.wait(SECONDS) and other.started.wait(SECONDS)
    assert [job.state for job in (first, second, third)] == ["running", "queued", "running"]
    assert [queue.waiting_before(job) for job in (first, second, third)] == [0, 1, 0]
    gate.opened.set(), other.opened.set()
    assert all(job.finished.wait(SECONDS) for job in (first, second, third))
    assert gate.most == 1 and second.state == "done"
    for job in (first, second, third):
        queue.release(job)


def test_queue_refuses_more_jobs_than_its_bound(queue):
    gate = Gate()
    for owner in "abc":
        queue.submit(owner, "model", gate)
    with pytest.raises(errors.UserError, match="The limit of 3 jobs is reached"):
        queue.submit("d", "model", gate)
    gate.opened.set()


def test_queue_refuses_a_second_job_of_a_visitor(queue):
    gate = Gate()
    queue.submit("a", "model", gate)
    with pytest.raises(errors.UserError, match="Another job of this page is running"):
        queue.submit("a", "another", gate)
    gate.opened.set()


def test_cancel_ends_running_and_waiting_jobs_of_their_owner(queue):
    gate = Gate()
    running, waiting = queue.submit("a", "model", gate), queue.submit("b", "model", gate)
    assert gate.started.wait(SECONDS)
    queue.cancel("b")
    assert waiting.finished.wait(SECONDS) and waiting.state == "cancelled" and running.state == "running"
    queue.cancel("a")
    assert running.finished.wait(SECONDS) and running.state == "cancelled"


def test_release_deletes_files_after_the_end_of_the_job(queue):
    gate = Gate()
    job = queue.submit("a", "model", gate)
    (job.folder / "file").touch()
    assert gate.started.wait(SECONDS)
    queue.release(job)
    assert job.finished.wait(SECONDS)
    job.future.exception(SECONDS)
    queue.close()
    assert not job.folder.exists()


def test_failed_job_has_one_line_without_its_folder(queue):
    def run(job):
        raise errors.UserError(f"{job.folder}/source/a.png is not an image.")

    job = queue.submit("a", "model", run)
    assert job.finished.wait(SECONDS)
    assert (job.state, job.error) == ("failed", "a.png is not an image.")


def test_failed_job_shows_no_details_of_a_bug(queue, caplog):
    job = queue.submit("a", "model", lambda job: 1 / 0)
    assert job.finished.wait(SECONDS)
    assert job.error == "Internal error; the log of the server has the details."
    assert "ZeroDivisionError" in caplog.text


def test_warnings_of_a_job_become_notes(queue):
    with jobs.warnings_as_notes(), warnings.catch_warnings():
        warnings.simplefilter("always")
        with jobs.warnings_as_notes():
            job = queue.submit("a", "model", lambda job: warnings.warn("no face is found", stacklevel=1))
            assert job.finished.wait(SECONDS)
    assert job.notes == ["no face is found"]


def test_progress_names_frames_rate_and_time_left(tmp_path):
    job = jobs.Job("a", "model", tmp_path)
    assert job.progress() == "starting"
    job.frames, job.total = 10, 20
    assert job.progress().startswith("10 of 20 frames, ") and job.progress().endswith(" s left")
    job.total = None
    assert "left" not in job.progress()


def test_job_fails_with_a_line_when_the_disk_is_full(queue, caplog):
    def run(job):
        raise OSError(errno.ENOSPC, "No space left on device")

    job = queue.submit("a", "model", run)
    assert job.finished.wait(SECONDS)
    assert (job.state, job.error) == ("failed", "The disk of the server is full; try again later.")
    assert not caplog.records


def test_job_logs_other_errors_of_files(queue, caplog):
    def run(job):
        raise PermissionError("secret.txt")

    job = queue.submit("a", "model", run)
    assert job.finished.wait(SECONDS)
    assert (job.state, job.error) == ("failed", "Internal error; the log of the server has the details.")
    assert "PermissionError: secret.txt" in caplog.text


def test_warnings_outside_of_jobs_are_shown_as_before(queue, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(str(message)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with jobs.warnings_as_notes():
            warnings.warn("by the server itself", stacklevel=1)
    assert shown == ["by the server itself"]
