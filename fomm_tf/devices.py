"""The devices that TensorFlow finds, and whether it has kernels for a GPU.

Convention: a compute capability is (major, minor). The targets of a TensorFlow build are those of its build info:
`sm_75` is machine code for 7.5, which also runs on later minor versions of the same major one; `compute_80` is that for
8.0, and PTX, which the driver compiles for any later GPU when it is first used.
"""

from __future__ import annotations

import enum
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tensorflow as tf

# The newest TensorFlow that this project is tested with, and its targets: `tf.sysconfig.get_build_info()`.
_NEWER, _NEWER_TARGETS = "2.21", ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")
_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_SECONDS = 20


class Kernels(enum.Enum):
    """What a TensorFlow build has for a GPU; each is better than the next one."""

    BINARY = "machine code"
    PTX = "PTX only"
    NONE = "none"


class Gpu(NamedTuple):
    """A GPU that TensorFlow lists.

    Attributes:
      name: the product's.
      capability: its compute capability; None if TensorFlow does not know it.
    """

    name: str
    capability: tuple[int, int] | None


def list_gpus() -> list[Gpu]:
    """The GPUs that TensorFlow lists, also those that it has no kernels for."""
    details = [(gpu, tf.config.experimental.get_device_details(gpu)) for gpu in tf.config.list_physical_devices("GPU")]
    return [Gpu(detail.get("device_name", gpu.name), detail.get("compute_capability")) for gpu, detail in details]


def describe() -> str:
    """The device that TensorFlow uses, in words."""
    gpus = list_gpus()
    return f"GPU ({', '.join(gpu.name for gpu in gpus)})" if gpus else "CPU (TensorFlow finds no GPU)"


def find_kernels(capability: tuple[int, int], targets: Iterable[str]) -> Kernels:
    """What a build has for a GPU.

    Args:
      capability: of the GPU.
      targets: `cuda_compute_capabilities` of the build.
    """
    has_ptx = False
    for target in targets:
        # Targets with a letter, such as `sm_90a`, are for that very GPU and add nothing that the others lack.
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)", target)
        if match is None:
            continue
        major, minor = int(match[2]), int(match[3])
        if major == capability[0] and minor <= capability[1]:
            return Kernels.BINARY
        has_ptx |= match[1] == "compute" and (major, minor) <= capability
    return Kernels.PTX if has_ptx else Kernels.NONE


def find_own_kernels(gpu: Gpu) -> Kernels:
    """What the installed TensorFlow has for a GPU; machine code is assumed if nothing is known."""
    targets = tf.sysconfig.get_build_info().get("cuda_compute_capabilities")
    return find_kernels(gpu.capability, targets) if targets and gpu.capability else Kernels.BINARY


def find_problems() -> Iterator[str]:
    """Lines about GPUs that TensorFlow cannot use, or not at once."""
    gpus = list_gpus()
    for gpu in gpus:
        kernels = find_own_kernels(gpu)
        if kernels is not Kernels.BINARY:
            yield _describe_missing_kernels(gpu, kernels)
    if not gpus and (driver := find_driver()):
        yield f"GPU: {_explain_missing_gpu(driver)}"


def explain_missing_gpu() -> str:
    """Why TensorFlow finds no GPU, and what to do."""
    driver = find_driver()
    if driver is None:
        return "TensorFlow finds no GPU, and no NVIDIA driver is installed (nvidia-smi does not run)"
    return _explain_missing_gpu(driver)


def find_driver() -> str | None:
    """The version of NVIDIA's driver; None if nvidia-smi does not run."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def _explain_missing_gpu(driver: str) -> str:
    start, version = f"the NVIDIA driver {driver} is installed, but TensorFlow", tf.__version__
    if not tf.test.is_built_with_cuda():
        return f"{start} {version} is built without CUDA; install the standard wheel for Linux"
    return (
        f"{start} {version} finds no GPU; install its CUDA libraries: "
        f'pip install "tensorflow[and-cuda]=={version}" (see docs/gpu.md)'
    )


def _describe_missing_kernels(gpu: Gpu, kernels: Kernels) -> str:
    major, minor = gpu.capability
    text = f"{gpu.name}: TensorFlow {tf.__version__} has no kernels for compute capability {major}.{minor}"
    if kernels is Kernels.PTX:
        text += ", only PTX, which the driver compiles at the first start: that may take half an hour, or fail"
    newer = find_kernels(gpu.capability, _NEWER_TARGETS)
    if newer is Kernels.BINARY:
        return f"{text}; TensorFlow {_NEWER} with tf-keras has them: see docs/gpu.md"
    return (
        f"{text}; TensorFlow {_NEWER} has {'PTX only too' if newer is Kernels.PTX else 'none either'}: see docs/gpu.md"
    )
