"""Training on several machines, as processes on this one: a lost worker costs the steps since the last checkpoint."""

import json
import os
import pathlib
import socket
import time

import processes
import pytest

from fomm_tf import config

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.conformance]
WORKERS = 2


class Job:
    """Workers of one run that are started again when they fail, as a Kubernetes Job does.

    Each runs the command of `serving/kubernetes/training/job.yaml`: it resumes the run if there is one.
    """

    def __init__(self, config_file, folder):
        self._config_file, self._folder = config_file, folder
        sockets = [socket.socket() for _ in range(WORKERS)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        self._addresses = [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
        for opened in sockets:
            opened.close()
        self.endings = []
        self.workers = [self._start(index) for index in range(WORKERS)]

    def _start(self, index):
        task = {"cluster": {"worker": self._addresses}, "task": {"type": "worker", "index": index}}
        is_started = (self._folder / "config.yaml").is_file()
        arguments = ["--resume"] if is_started else [self._config_file]
        return processes.start(
            *("train.py", "--run", self._folder, *arguments),
            cwd=ROOT,
            env=os.environ | {"TF_CONFIG": json.dumps(task)},
        )

    def finish(self, killed=None):
        """Starts failed workers again until all have succeeded; kills one when the first checkpoint is written."""
        running = set(range(WORKERS))
        while running:
            if killed is not None and (self._folder / "checkpoint").is_file():
                self.workers[killed].kill()
                killed = None
            for index in sorted(running):
                code = self.workers[index].returncode
                if code == 0:
                    running.remove(index)
                elif code is not None:
                    stderr = self.workers[index].communicate()[1]
                    self.endings.append((index, code, stderr))
                    assert len(self.endings) <= 3 * WORKERS, self.endings
                    self.workers[index] = self._start(index)
            time.sleep(0.01)

    def kill(self):
        for worker in self.workers:
            worker.kill()


def train(config_file, folder, killed=None):
    """Trains to the end; returns how workers ended before they succeeded: (index, exit code, stderr)."""
    job = Job(config_file, folder)
    try:
        job.finish(killed)
    finally:
        job.kill()
    return job.endings


@pytest.fixture(scope="module")
def settings(make_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("workers") / "small.yaml"
    path.write_text(config.dump(make_config("train.steps=9")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train(settings, folder)
    return folder


@pytest.mark.parametrize("killed", [1, 0], ids=["worker", "chief"])
def test_job_with_killed_worker_equals_undisturbed_job(killed, settings, undisturbed, tmp_path):
    endings = train(settings, tmp_path / "run", killed)
    assert (killed, -9) in [(index, code) for index, code, _ in endings]
    (last, *_) = [stderr.splitlines()[-1] for index, code, stderr in endings if index != killed and code == 130]
    assert last.startswith("fomm: another worker has ended; continue with: fomm train --run")
    assert "Resumed at step 3" in (tmp_path / "run" / "README.txt").read_text()
    for name in ("ckpt-9.data-00000-of-00001", "history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (undisturbed / name).read_bytes()
