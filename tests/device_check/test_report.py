"""The table of `fomm bench`."""

from fomm_tf import devices
from fomm_tf.device_check import report

ROWS = [
    report.Row("parity", "float32", report.PASSED, "a|b\nc"),
    report.Row("XLA", "float32", report.FAILED, "no", "Traceback: why\n"),
]


def test_as_markdown_is_one_table_with_tracebacks_below():
    text = report.as_markdown({"device": "a CPU"}, ROWS)
    table, _, rest = text.partition("\n\n")
    lines = table.splitlines()
    assert len(lines) == 2 + 1 + 2 and "a\\|b c" in lines[3]
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}
    assert "Traceback: why" in rest and rest.count("<details>") == rest.count("</details>") == 1


def test_describe_machine_names_cpu_and_versions():
    facts = report.describe_machine(None)
    assert {"device", "TensorFlow", "fomm-tf", "date"} <= facts.keys() and "driver" not in facts
    assert "CUDA" in facts["TensorFlow"] and "cuDNN" in facts["TensorFlow"]


def test_describe_machine_names_capability_kernels_and_driver_of_a_faked_gpu(monkeypatch):
    monkeypatch.setattr(devices, "find_driver", lambda: "535.1")
    facts = report.describe_machine(devices.Gpu("Faked", (8, 6)))
    assert facts["device"].startswith("Faked, compute capability 8.6") and facts["driver"] == "535.1"
