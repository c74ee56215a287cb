"""`fomm app` as a process: its mistakes, its start, and what it leaves behind."""

import signal
import socket
import urllib.request

import processes
import pytest

from fomm_tf import cli, errors
from fomm_tf.app import models


def run(capsys, *arguments):
    code = cli.main(["app", *arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--run", "missing"], "missing is not a run directory: it does not exist"),
        (["--auth", "user"], "expected USER:PASSWORD"),
        (["--port", "70000"], "expected a port from 0 to 65535"),
        (["--host", "no.such.host.invalid"], "--host: no.such.host.invalid is unknown"),
        (["--max-seconds", "0"], "expected a whole number of at least 1"),
    ],
)
def test_app_command_reports_mistakes(capsys, arguments, line):
    code, complaint = run(capsys, *arguments)
    assert code == 2 and line in complaint and len(complaint.splitlines()) == 1


def test_app_command_reports_a_taken_port(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, complaint = run(capsys, "--port", str(taken.getsockname()[1]))
    assert code == 2 and "choose another --port or --host" in complaint


@pytest.mark.parametrize(
    ("options", "warns"),
    [
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--auth", "ann:secret"], False),
        (["--host", "0.0.0.0", "--quiet"], False),
        ([], False),
    ],
)
def test_app_command_warns_when_strangers_can_use_the_page(capsys, monkeypatch, options, warns):
    def stop(*_):
        raise errors.UserError("stopped before the model is loaded")

    monkeypatch.setattr(models, "ModelPool", stop)
    code, complaint = run(capsys, "--port", "0", *options)
    assert code == 2 and complaint.endswith("fomm: stopped before the model is loaded\n")
    assert ("0.0.0.0 can be reached from other machines: without --auth, anyone" in complaint) is warns


@pytest.mark.slow
def test_app_command_serves_until_a_signal_and_leaves_nothing(tmp_path, monkeypatch):
    for name in ("FOMM_TF_CACHE", "HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "work").mkdir()
    process = processes.start("-m", "fomm_tf", "app", "--port", "0", "--host", "0.0.0.0", cwd=tmp_path / "work")
    address = process.stdout.readline().split()[1].replace("0.0.0.0", "127.0.0.1")
    with urllib.request.urlopen(address) as answer:
        assert b"gradio" in answer.read()
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate()
    assert process.returncode == 0, complaint
    warning = (
        "fomm: warning: 0.0.0.0 can be reached from other machines: without --auth, anyone there can use the page."
    )
    assert complaint.splitlines() == [warning]
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "keras.json"]
    assert left == []
