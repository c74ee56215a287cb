"""`fomm export` with invalid arguments; its output is tested with each format."""

import pytest

from fomm_tf import cli

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["--to", "caffe", "--out", "x"], "invalid choice: 'caffe'"),
        (["--to", "saved_model"], "--out is missing: --to needs an output directory"),
        ([], "one of the arguments --to --check is required"),
        (["--check", "nowhere"], "nowhere is not a version that"),
        (["--run", "nowhere", "--to", "saved_model", "--out", "x"], "nowhere"),
        (
            ["--to", "tflite", "--out", "x", "--variants", "int4"],
            "--variants: got int4; expected some of float32, float16, dynamic, int8 for tflite",
        ),
        (
            ["--to", "onnx", "--out", "x", "--variants", "float16", "int8"],
            "--variants: got int8; expected some of float32, float16 for onnx",
        ),
        (
            ["--to", "saved_model", "--out", "x", "--variants", "int8"],
            "--variants: got int8; expected none for saved_model",
        ),
        (
            ["--to", "web", "--out", "x", "--variants", "int8"],
            "--variants: got int8; expected some of float32, float16, dynamic for web",
        ),
        (["--to", "tflite", "--out", "x", "--batch", "-1"], "--batch must be at least 1, or 0 for any; got -1"),
        (["--run", "nowhere", "--to", "tflite", "--out", "x"], "nowhere"),
        (["--run", "nowhere", "--to", "onnx", "--out", "x"], "nowhere"),
    ],
)
def test_export_command_reports_mistakes_in_one_line(line, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *line]) == 2
    message = capsys.readouterr().err.strip()
    assert expected in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []
