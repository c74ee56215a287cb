"""Which modes a device has. No GPU is used: those below are faked by their capability."""

import pytest
import tensorflow as tf

from fomm_tf import devices
from fomm_tf.device_check import modes
from fomm_tf.inference.engines import choice

PLAIN = choice.Machine("Plain", frozenset({"avx2"}), 2, False)
BF16 = choice.Machine("BF16", frozenset({"avx512f", "avx512_bf16"}), 2, False)


def available(gpu, machine=PLAIN):
    return [mode.name for mode in modes.MODES if modes.explain_skip(mode, gpu, machine) is None]


def test_cpu_has_bfloat16_only_with_its_instructions():
    assert available(None) == ["float32", "XLA, float32"]
    assert available(None, BF16) == ["float32", "bfloat16", "XLA, float32"]
    # A GPU in the same machine changes nothing.
    assert available(None, PLAIN._replace(has_gpu=True)) == ["float32", "XLA, float32"]


@pytest.mark.parametrize(
    ("capability", "missing"),
    [((9, 0), []), ((8, 0), []), ((7, 5), ["TF32", "bfloat16"]), ((6, 1), ["TF32", "float16", "bfloat16"]), (None, [])],
)
def test_faked_gpu_has_the_modes_of_its_tensor_cores(capability, missing):
    gpu = devices.Gpu("Faked", capability)
    assert available(gpu) == [mode.name for mode in modes.MODES if mode.name not in missing]


def test_scope_restores_tensor_float_32():
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    for mode in modes.MODES:
        with mode.scope():
            assert tf.config.experimental.tensor_float_32_execution_enabled() is mode.tensor_float_32
        assert tf.config.experimental.tensor_float_32_execution_enabled() is before
