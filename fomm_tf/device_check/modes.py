"""The ways to compute that are compared, and which of them a device has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from fomm_tf import devices
from fomm_tf.inference.engines import choice

# Tensor cores for TF32 and bfloat16, and for float16.
_AMPERE, _VOLTA = (8, 0), (7, 0)


class Mode(NamedTuple):
    """A way to compute.

    Attributes:
      name: in the table.
      precision: of the networks, one of `config.PRECISIONS`.
      tensor_float_32: whether a GPU may round the factors of float32 products to TF32; TensorFlow's default.
      xla: compile with XLA.
    """

    name: str
    precision: str = "float32"
    tensor_float_32: bool = False
    xla: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether all products are of float32 numbers."""
        return self.precision == "float32" and not self.tensor_float_32

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Allows or forbids TF32 in the block."""
        before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(self.tensor_float_32)
        try:
            yield
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(before)


FLOAT32 = Mode("float32")
MODES = (
    FLOAT32,
    Mode("TF32", tensor_float_32=True),
    Mode("float16", "float16", tensor_float_32=True),
    Mode("bfloat16", "bfloat16", tensor_float_32=True),
    Mode("XLA, float32", xla=True),
)


def explain_skip(mode: Mode, gpu: devices.Gpu | None, machine: choice.Machine) -> str | None:
    """Why a device does not have a mode; None if it does.

    Args:
      mode: the mode.
      gpu: the device; None for the CPU.
      machine: this machine.
    """
    if gpu is None:
        if mode.precision == "float32":
            return "the CPU has no TF32" if mode.tensor_float_32 else None
        return machine._replace(has_gpu=False).slowness("keras", mode.precision)
    needed = _VOLTA if mode.precision == "float16" else _AMPERE
    if mode.tensor_float_32 and gpu.capability is not None and gpu.capability < needed:
        return f"needs compute capability {_dotted(needed)}; got {_dotted(gpu.capability)}"
    return None


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
