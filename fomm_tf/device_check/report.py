"""The results as one Markdown table, with what they depend on: to paste into an issue."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import tensorflow as tf

import fomm_tf
from fomm_tf import devices
from fomm_tf.export import loading
from fomm_tf.inference.engines import choice

PASSED, FAILED, SKIPPED, MEASURED = "passed", "FAILED", "skipped", "measured"


class Row(NamedTuple):
    """The result of a check in a mode.

    Attributes:
      check: its name.
      mode: name of the mode.
      status: `PASSED`, `FAILED`, `SKIPPED` or `MEASURED`.
      result: what was measured, or why not.
      traceback: of a check that raised, else empty.
    """

    check: str
    mode: str
    status: str
    result: str
    traceback: str = ""

    def describe(self) -> str:
        """One line of text."""
        return f"{self.check}, {self.mode}: {self.status}: {self.result}"


def describe_machine(gpu: devices.Gpu | None) -> dict[str, str]:
    """What the results depend on: device, driver, versions.

    Args:
      gpu: the device; None for the CPU.
    """
    machine, build = choice.current_machine(), tf.sysconfig.get_build_info()
    cpu = f"{machine.processor}, {machine.cores} cores"
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16") if name in machine.flags]
    facts = {"device": f"{cpu} ({', '.join(known) or 'no known vector instructions'})"}
    if gpu is not None:
        capability = "unknown" if gpu.capability is None else ".".join(map(str, gpu.capability))
        facts = {
            "device": f"{gpu.name}, compute capability {capability}, kernels: {devices.find_own_kernels(gpu).value}",
            "host": cpu,
            "driver": devices.find_driver() or "unknown",
        }
    targets = " ".join(build.get("cuda_compute_capabilities", ())) or "none"
    facts["TensorFlow"] = (
        f"{tf.__version__}, built for CUDA {build.get('cuda_version', 'none')}, cuDNN "
        f"{build.get('cudnn_version', 'none')}, {targets}"
    )
    commit = loading.find_commit()
    facts["fomm-tf"] = f"{fomm_tf.__version__}{f', commit {commit}' if commit else ''}"
    facts["system"] = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    facts["date"] = datetime.date.today().isoformat()
    return facts


def as_markdown(facts: Mapping[str, str], rows: Iterable[Row]) -> str:
    """The table, followed by the tracebacks of failed checks."""
    rows = list(rows)
    lines = ["| | mode | status | result |", "|---|---|---|---|"]
    lines += [f"| {name} | | | {_cell(value)} |" for name, value in facts.items()]
    lines += [f"| {row.check} | {row.mode} | {row.status} | {_cell(row.result)} |" for row in rows]
    for row in rows:
        if row.traceback:
            title = f"{row.check}, {row.mode}"
            lines += ["", f"<details><summary>{title}</summary>", "", "```text", row.traceback.rstrip(), "```", ""]
            lines += ["</details>"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
