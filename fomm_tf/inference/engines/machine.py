"""What this machine can run fast, by the instructions of its CPU."""

from __future__ import annotations

import functools
import os
import pathlib
import platform
from typing import NamedTuple

from fomm_tf import workers

# Flags of x86 and Arm CPUs, as Linux names them.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
# Measured with the networks of vox-256 at 256 x 256 on 2 cores: time relative to float32 in the same engine.
_SLOWDOWN_BFLOAT16, _SLOWDOWN_8_BITS = 3.8, 1.2
_SLOWDOWN_FLOAT16 = {"keras": 9.9, "saved_model": 9.9, "onnxruntime": 9.9}  # TODO measure


class Machine(NamedTuple):
    """The hardware that engines run on.

    Attributes:
      processor: its name.
      flags: of the CPU; empty if they are unknown.
      cores: that this process may use.
      has_gpu: whether an NVIDIA GPU is there.
    """

    processor: str
    flags: frozenset[str]
    cores: int
    has_gpu: bool

    def slowness(self, engine: str, precision: str) -> str | None:
        """Why a precision is slower than float32 here, with the measured factor; None if it is not known to be."""
        if precision == "bfloat16" and not self.has_gpu and self.flags and not self.flags & _BFLOAT16:
            return f"this CPU has no BF16 instructions: {_SLOWDOWN_BFLOAT16} times the time of float32"
        if precision == "float16" and not self.has_gpu and engine in _SLOWDOWN_FLOAT16:
            return f"CPUs emulate it: {_SLOWDOWN_FLOAT16[engine]} times the time of float32"
        if precision in ("dynamic", "int8") and self.flags and not self.flags & _DOT_PRODUCTS:
            return f"this CPU has no VNNI instructions: {_SLOWDOWN_8_BITS} times the time of float32"
        return None


@functools.cache
def current() -> Machine:
    """This machine."""
    name, flags = platform.processor() or platform.machine(), frozenset()
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.exists():
        lines = [line.partition(":") for line in cpu.read_text(encoding="utf-8", errors="replace").splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        name = facts.get("model name", name)
        flags = frozenset((facts.get("flags") or facts.get("Features") or "").split())
    # Settings that keep oneDNN, and so TensorFlow, from these instructions.
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT") not in ("DEFAULT", "ALL")
    if limited or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        flags -= _BFLOAT16
    has_gpu = pathlib.Path("/proc/driver/nvidia/version").exists()
    return Machine(name, flags, workers.available_cores(), has_gpu)
