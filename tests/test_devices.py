"""Which GPUs a TensorFlow build has kernels for. No GPU is used: those below are faked by name and capability."""

import pytest
import tensorflow as tf

from fomm_tf import checkpoint, cli, devices

# `tf.sysconfig.get_build_info()` of the wheels.
TF_2_15 = ("sm_50", "sm_60", "sm_70", "sm_75", "compute_80")
TF_2_21 = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")
BINARY, PTX, NONE = devices.Kernels
FAKED = {(8, 6): "Faked 3090", (9, 0): "Faked H100", (12, 0): "Faked 5090", (3, 7): "Faked K80"}


@pytest.mark.parametrize(
    ("targets", "capability", "kernels"),
    [
        (TF_2_15, (5, 2), BINARY),
        (TF_2_15, (6, 1), BINARY),
        (TF_2_15, (7, 5), BINARY),
        (TF_2_15, (8, 9), BINARY),
        (TF_2_15, (9, 0), PTX),
        (TF_2_15, (12, 0), PTX),
        (TF_2_15, (3, 7), NONE),
        (TF_2_21, (5, 2), NONE),
        (TF_2_21, (7, 5), BINARY),
        (TF_2_21, (9, 0), BINARY),
        (TF_2_21, (10, 0), PTX),
        (("sm_86",), (8, 0), NONE),
        (("sm_80",), (9, 0), NONE),
        (("sm_90a",), (9, 0), NONE),
        ((), (8, 0), NONE),
    ],
)
def test_find_kernels_applies_the_compatibility_of_binaries_and_ptx(targets, capability, kernels):
    assert devices.find_kernels(capability, targets) is kernels


def test_find_kernels_understands_the_targets_of_the_installed_tensorflow():
    targets = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])
    for target in targets:
        number = int(target.split("_")[1])
        assert devices.find_kernels(divmod(number, 10), [target]) is BINARY


@pytest.fixture
def fake_gpu(monkeypatch):
    """Fakes one GPU of a capability, or none, and the driver; the kernels are those of the TF 2.15 wheel."""
    build = dict(tf.sysconfig.get_build_info()) | {"cuda_compute_capabilities": list(TF_2_15)}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)

    def fake(capability, driver=None):
        gpus = [devices.Gpu(FAKED[capability], capability)] if capability else []
        monkeypatch.setattr(devices, "list_gpus", lambda: gpus)
        monkeypatch.setattr(devices, "find_driver", lambda: driver)

    return fake


def test_find_problems_is_silent_about_a_faked_gpu_with_kernels(fake_gpu):
    fake_gpu((8, 6), "535.1")
    assert list(devices.find_problems()) == []


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        ((9, 0), ("Faked H100", "9.0", "PTX", "has them")),
        ((12, 0), ("Faked 5090", "12.0", "PTX", "PTX only too")),
        ((3, 7), ("Faked K80", "3.7", "none either")),
    ],
)
def test_find_problems_names_a_faked_gpu_without_kernels_and_what_helps(fake_gpu, capability, words):
    fake_gpu(capability, "535.1")
    (line,) = devices.find_problems()
    assert all(word in line for word in (*words, "docs/gpu.md")) and ("PTX," in line) is ("PTX" in words)


def test_find_problems_names_the_cuda_libraries_beside_a_faked_driver(fake_gpu, monkeypatch):
    fake_gpu(None, "535.1")
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    (line,) = devices.find_problems()
    assert "535.1" in line and f"tensorflow[and-cuda]=={tf.__version__}" in line
    assert "535.1" in devices.explain_missing_gpu()


def test_explain_missing_gpu_names_the_missing_driver(fake_gpu):
    fake_gpu(None)
    assert "driver" in devices.explain_missing_gpu() and list(devices.find_problems()) == []


def test_find_driver_is_none_without_nvidia_smi(monkeypatch):
    monkeypatch.setattr(devices, "_QUERY", ("no-such-program",))
    assert devices.find_driver() is None


def test_info_names_missing_kernels_of_a_faked_gpu(fake_gpu, capsys):
    fake_gpu((9, 0))
    assert cli.main(["info", str(checkpoint.BUNDLED)]) == 0
    device, problem = capsys.readouterr().out.splitlines()[-2:]
    assert device == "device: GPU (Faked H100)" and problem.startswith("Faked H100: ")


def test_find_problems_names_a_tensorflow_without_cuda_beside_a_faked_driver(fake_gpu, monkeypatch):
    fake_gpu(None, "535.1")
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    (line,) = devices.find_problems()
    assert "535.1" in line and "is built without CUDA; install the standard wheel for Linux" in line
