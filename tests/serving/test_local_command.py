"""`python -m serving local` with what it cannot serve; what it serves is in the other files."""

import shutil
import socket

import pytest

from serving import __main__ as command


def assert_refused(capsys, *options, words):
    assert command.main(["local", *map(str, options)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("serving: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["--model"]),
        (["--model", "nowhere"], ["nowhere is no folder", "python -m export"]),
        (["--model", ".", "--label", "stable"], ["--label", "stable=1"]),
        (["--model", ".", "--queue", "0"], ["--queue", "from 1 on"]),
        (["--model", ".", "--rest-port", "x"], ["--rest-port"]),
    ],
)
def test_arguments_that_will_not_do(capsys, options, words):
    assert_refused(capsys, *options, words=words)


def test_a_folder_without_a_version(capsys, tmp_path):
    free = ["--grpc-port", 0, "--rest-port", 0]
    assert_refused(capsys, "--model", tmp_path, *free, words=["holds no version", "python -m export"])


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_port_that_is_taken(capsys, tmp_path, protocol):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"--grpc-port": 0, "--rest-port": 0, f"--{protocol}-port": taken.getsockname()[1]}
        options = [part for pair in ports.items() for part in pair]
        assert_refused(capsys, "--model", tmp_path, *options, words=["127.0.0.1", "is taken", f"--{protocol}-port"])


def test_a_host_that_is_not_here(capsys, tmp_path):
    assert_refused(capsys, "--model", tmp_path, "--host", "203.0.113.1", words=["203.0.113.1"])


def test_a_damaged_version(capsys, cold, tmp_path):
    shutil.copytree(cold / "1", tmp_path / "1")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"?")
    free = ["--grpc-port", 0, "--rest-port", 0]
    assert_refused(capsys, "--model", tmp_path, *free, words=["cannot be loaded", "anew"])
