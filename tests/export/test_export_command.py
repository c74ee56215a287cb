"""`python -m export` with invalid arguments; its output is tested with each format."""

import pytest

from export import __main__ as command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--to", "caffe", "--out", "x"], "invalid choice: 'caffe'"),
        (["--to", "saved_model"], "--to needs --out"),
        ([], "one of the arguments --to --check is required"),
        (["--check", "nowhere"], "nowhere is not a version that"),
        (["--run", "nowhere", "--to", "saved_model", "--out", "x"], "nowhere"),
        (
            ["--to", "tflite", "--out", "x", "--variants", "int4"],
            "--variants has int4; of tflite choose from float32, float",
        ),
        (
            ["--to", "onnx", "--out", "x", "--variants", "float16", "int8"],
            "--variants has int8; of onnx choose from float3",
        ),
        (
            ["--to", "saved_model", "--out", "x", "--variants", "int8"],
            "--variants has int8; of saved_model there are none",
        ),
        (["--to", "tflite", "--out", "x", "--batch", "-1"], "--batch is -1"),
        (["--run", "nowhere", "--to", "tflite", "--out", "x"], "nowhere"),
        (["--run", "nowhere", "--to", "onnx", "--out", "x"], "nowhere"),
    ],
)
def test_export_command_reports_mistakes_in_one_line(line, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(line) == 2
    message = capsys.readouterr().err.strip()
    assert complaint in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []
