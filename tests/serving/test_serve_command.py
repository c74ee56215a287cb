"""`fomm serve` with invalid arguments, ports and models."""

import socket
import types
from unittest import mock

import counter_model
import pytest

from fomm_tf import cli, errors
from fomm_tf.cli import animate, serving


def assert_user_error(capsys, *options, words):
    assert cli.main(["serve", *map(str, options)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [line for line in printed.err.splitlines() if line != "fomm: loading"]
    assert line.startswith("fomm: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["--model"]),
        (
            ["--model", "nowhere", "--grpc-port", "0", "--rest-port", "0"],
            ["--model: nowhere is not a directory", "fomm export"],
        ),
        (["--model", ".", "--label", "stable"], ["--label", "stable=1"]),
        (["--model", ".", "--queue", "0"], ["--queue", "at least 1"]),
        (["--model", ".", "--rest-port", "x"], ["--rest-port"]),
        (["--model", ".", "--rest-port", "99999"], ["--rest-port", "65535"]),
        (["--model", ".", "--grpc-port", "0", "--rest-port", "0", "--host", "no.such.host"], ["--host", "is unknown"]),
        (["--model", ".", "--timeout", "nan"], ["--timeout"]),
        (["--model", ".", "--cert", "a.pem"], ["--cert", "--key"]),
        (["--model", ".", "--token-file", "nowhere"], ["--token-file", "nowhere"]),
    ],
)
def test_serve_rejects_invalid_arguments(capsys, options, words):
    assert_user_error(capsys, *options, words=words)


def test_serve_rejects_a_directory_without_a_version(capsys, tmp_path):
    free = ["--grpc-port", 0, "--rest-port", 0]
    assert_user_error(capsys, "--model", tmp_path, *free, words=["contains no version", "fomm export"])


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_serve_rejects_a_port_in_use(capsys, tmp_path, protocol):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = {"--grpc-port": 0, "--rest-port": 0, f"--{protocol}-port": listener.getsockname()[1]}
        options = [part for pair in ports.items() for part in pair]
        assert_user_error(
            capsys, "--model", tmp_path, *options, words=["cannot listen on 127.0.0.1", f"--{protocol}-port"]
        )


def test_serve_rejects_a_foreign_host(capsys, tmp_path):
    assert_user_error(capsys, "--model", tmp_path, "--host", "203.0.113.1", words=["203.0.113.1"])


def test_serve_rejects_a_damaged_version(capsys, tmp_path):
    counter_model.write(tmp_path / "1")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"?")
    free = ["--grpc-port", 0, "--rest-port", 0]
    assert_user_error(capsys, "--model", tmp_path, *free, words=["cannot be loaded", "export it again"])


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ([], "without --token-file and --cert and --key, anyone there can use the model or read along"),
        (["--token-file", "token"], "without --cert and --key, anyone"),
        (["--quiet"], None),
        (["--host", "127.0.0.1"], None),
    ],
)
def test_serve_warns_when_strangers_can_reach_it(capsys, tmp_path, monkeypatch, options, missing):
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    free = ["--grpc-port", "0", "--rest-port", "0", "--host", "0.0.0.0"]
    assert cli.main(["serve", "--model", "missing", *free, *options]) == 2
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warned) == (missing is not None)
    assert not warned or (missing in warned[0] and "0.0.0.0 can be reached from other machines" in warned[0])


@pytest.mark.parametrize("text", ["", " \n", "two words", "bell\x07"], ids=["empty", "blank", "words", "control"])
def test_read_token_rejects_what_no_header_can_hold(tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(errors.UserError, match="token must hold one token, printable and without spaces"):
        serving.read_token(str(tmp_path / "token"))


def test_read_token_strips_the_end_of_the_line(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert serving.read_token(str(tmp_path / "token")) == "secret"


def test_serve_rejects_files_that_are_no_certificate(capsys, tmp_path):
    (tmp_path / "text.pem").write_text("text")
    pair = ["--cert", tmp_path / "text.pem", "--key", tmp_path / "missing.pem"]
    words = [f"--cert {tmp_path}/text.pem and --key {tmp_path}/missing.pem are not a certificate and its key"]
    assert_user_error(capsys, "--model", tmp_path, *pair, words=words)


@pytest.mark.parametrize(("value", "copies"), [("yes", True), ("1", True), ("no", False), ("false", False)])
def test_prepare_animation_reads_switches(monkeypatch, value, copies):
    opened = []
    model = types.SimpleNamespace(engine=types.SimpleNamespace(weights_sha256=lambda: ""))
    monkeypatch.setattr(animate, "open_pair", lambda arguments, *_: opened.append(arguments) or mock.Mock())
    serving.prepare_animation(model, {"audio": value}, "a.png", "b.mp4", "c.mp4")
    assert [arguments.audio for arguments in opened] == [copies]


def test_prepare_animation_rejects_other_values_of_switches():
    with pytest.raises(errors.UserError, match="audio: got 'maybe'; expected yes or no"):
        serving.prepare_animation(None, {"audio": "maybe"}, "a.png", "b.mp4", "c.mp4")
