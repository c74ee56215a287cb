"""`fomm bench` as a command: its skip reason, its table, its exit codes."""

import pytest
import tensorflow as tf

from fomm_tf import cli, device_check, devices


def test_bench_without_gpu_says_why_and_succeeds(tmp_path, capsys):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU, where the command runs its checks")
    assert cli.main(["bench", "--device", "gpu", "--out", str(tmp_path / "table.md")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("skipped: ") and "GPU" in out and not err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["--device", "tpu"], ["--device", "cpu", "--batch-size", "0"]])
def test_bench_rejects_arguments(arguments, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("FAILED", 2)])
def test_bench_writes_the_table_and_ends_with_the_worst_status(status, code, tmp_path, monkeypatch, capsys):
    rows = [device_check.Row("a check", "float32", status, "0")]
    monkeypatch.setattr(device_check, "run", lambda *_: ({"device": "a CPU"}, rows))
    out = tmp_path / "new" / "table.md"
    assert cli.main(["bench", "--device", "cpu", "--out", str(out)]) == code
    assert f"| a check | float32 | {status} | 0 |" in out.read_text()
    printed, err = capsys.readouterr()
    assert out.read_text() in printed and ("a check, float32" in err) is (code == 2)


def test_bench_prints_problems_of_the_device_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device_check, "run", lambda *_: ({}, []))
    monkeypatch.setattr(devices, "find_problems", lambda: ["GPU: no kernels"])
    assert cli.main(["bench", "--device", "cpu", "--out", str(tmp_path / "table.md")]) == 0
    assert capsys.readouterr().out.startswith("GPU: no kernels\n")
