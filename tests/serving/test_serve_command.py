"""`fomm serve` with invalid arguments, ports and models."""

import socket

import counter_model
import pytest

from fomm_tf import cli


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
