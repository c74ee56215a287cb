"""The worker pool, with real processes."""

import functools
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest

from fomm_tf import errors, workers


def square(task, folder=None):
    workers.tick(2)
    if folder:
        (folder / str(task)).write_text(str(os.getpid()))
    return task * task


def fail(task):
    if task == 2:
        raise errors.UserError("two will not do; give another.")
    return task


def die(task):
    os._exit(9)


def speak(task):
    print(f"{task} one")
    print("err", file=sys.stderr)
    return 7


def collect(function, tasks, processes, **options):
    found = {}
    workers.run(function, tasks, processes, on_result=found.__setitem__, progress=False, **options)
    return found


def test_run_gives_every_result_in_this_process_and_in_workers(tmp_path):
    expected = {task: task * task for task in range(5)}
    assert collect(square, list(range(5)), 0) == expected
    assert collect(functools.partial(square, folder=tmp_path), list(range(5)), 2) == expected
    processes = {path.read_text() for path in tmp_path.iterdir()}
    assert len(processes) <= 2 and str(os.getpid()) not in processes


def test_run_raises_what_a_task_raises():
    with pytest.raises(errors.UserError, match="two will not do"):
        collect(fail, [1, 2, 3], 2)


def test_run_names_the_tasks_of_a_worker_that_died():
    with pytest.raises(errors.UserError, match="A worker process died at clip a: out of memory"):
        collect(die, ["a", "b"], 1, name=lambda task: f"clip {task}")


def test_run_forwards_the_lines_that_a_task_prints(capfd):
    lines = []
    assert collect(speak, ["a"], 1, on_line=lines.append) == {"a": 7}
    assert lines == ["a one", "err"] and capfd.readouterr().out == ""


COMMAND = """
import pathlib, sys, threading
from fomm_tf import console, workers

def tick_forever(task):
    pathlib.Path(sys.argv[2], "running").touch()
    while True:
        workers.tick()
        threading.Event().wait(0.01)

def save_when_interrupted(task):
    print("ready", flush=True)
    try:
        threading.Event().wait(100)
    finally:
        print("saved", flush=True)

if __name__ == "__main__":
    if sys.argv[1] == "tick":
        run = lambda: workers.run(tick_forever, [1, 2, 3], 2)
    else:
        run = lambda: workers.run(save_when_interrupted, [1], 1, on_line=lambda line: print(line, flush=True))
    sys.exit(console.run("command", run))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a command that runs workers, in a session of its own."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    processes = []

    def run(kind):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path])}
        command = [sys.executable, str(script), kind, str(tmp_path)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        processes.append(subprocess.Popen(command, start_new_session=True, **options))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()


def wait_for(path):
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_ticking_tasks_and_leaves_no_worker(start, tmp_path, number):
    process = start("tick")
    wait_for(tmp_path / "running")
    process.send_signal(number)
    # Their end of the pipe closes when the workers end.
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130 and complaint.splitlines()[-1].startswith("command: interrupted"), complaint
    assert "Traceback" not in complaint


def test_a_signal_interrupts_a_task_that_forwards_lines_and_waits_for_it_to_save(start):
    process = start("save")
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C, which workers must not get
    output, complaint = process.communicate(timeout=60)
    assert process.returncode == 130 and output == "saved\n", complaint


def test_workers_end_with_a_command_that_is_killed(start, tmp_path):
    process = start("tick")
    wait_for(tmp_path / "running")
    process.kill()
    process.communicate(timeout=60)  # returns when the last worker has closed the pipe


def test_tick_does_nothing_without_workers():
    workers.tick()
    assert workers._shared is None


def test_run_of_no_tasks_starts_no_process(monkeypatch):
    monkeypatch.setattr(workers, "_run_pool", None)
    assert collect(square, [], 2) == {}


def test_a_second_interrupt_kills_the_workers(monkeypatch):
    """The first one waits until they have saved."""
    pool, shared, children = mock.Mock(), mock.Mock(), [mock.Mock(), mock.Mock()]
    pool.shutdown.side_effect = KeyboardInterrupt
    monkeypatch.setattr(workers.multiprocessing, "active_children", lambda: children)
    with pytest.raises(KeyboardInterrupt):
        workers._shut_down(pool, shared)
    shared.stop.set.assert_called_once_with()
    assert all(child.kill.call_count == 1 for child in children)
