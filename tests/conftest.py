"""Set-up for all tests: a quiet TensorFlow with two logical CPU devices, so that replicas can be tested."""

import ctypes
import fcntl
import functools
import gc
import json
import logging
import os
import pathlib
import sys

import hypothesis
import processes
import pytest

# The same examples each run, however busy the machine is.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A process with a gRPC client forks to start another one: gRPC would wake up in between, and complain on its stderr.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

_EXPORTS = """
import gc, json, sys, tensorflow
from fomm_tf import cli
gc.freeze()
sys.exit(max(cli.main(["export", *line]) for line in json.loads(sys.argv[1])))
"""


def pytest_configure(config):
    if getattr(config.option, "numprocesses", None):
        return  # tests run in the workers of pytest-xdist alone
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def pytest_runtest_setup(item):
    # TensorFlow asks oneDNN for bfloat16 kernels wherever the CPU has them, and aborts when oneDNN may not use them.
    # A CPU of that instruction set runs other kernels.
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT") not in ("DEFAULT", "ALL")
    if limited and item.get_closest_marker("bfloat16_kernels") and _cpu_has_bfloat16():
        pytest.skip("ONEDNN_MAX_CPU_ISA hides this CPU's bfloat16 instructions from oneDNN, but not from TensorFlow")


def _cpu_has_bfloat16():
    cpu = pathlib.Path("/proc/cpuinfo")
    return cpu.exists() and "avx512_bf16" in cpu.read_text(encoding="utf-8")


def pytest_collection_finish():
    """Modules and tests stay; to look for garbage among them each time is a tenth of the time that tracing takes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _release_memory(request):
    """What a module cached and traced goes with it, back to the system: a worker would grow to many gigabytes."""
    yield
    import tensorflow as tf
    from tensorflow.python.framework import ops as tf_ops

    for value in vars(request.module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    # Of each custom gradient in a graph, TensorFlow keeps the function, and so the graph, as long as the process lasts.
    gradients = tf_ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]
    tf.keras.backend.clear_session()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def two_replicas():
    """The only strategy of two replicas in this process: TensorFlow confuses the exchanges of two such strategies."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def export():
    """Runs `fomm export` once, or line by line, in a process that takes the memory of its graphs along.

    Gives its stdout.
    """

    def run(*lines):
        lines = [[str(part) for part in line] for line in lines]
        start = ["-m", "fomm_tf", "export", *lines[0]] if len(lines) == 1 else ["-c", _EXPORTS, json.dumps(lines)]
        done = processes.run(*start)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def export_once(export, tmp_path_factory):
    """Runs `fomm export` under a name, once for all workers; gives its output directory and what it printed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @functools.cache
    def make(name, *line):
        place, printed = shared / name, shared / f"{name}.txt"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not printed.exists():
                printed.write_text(export([*line, "--out", place]))
        return place, printed.read_text()

    return make


@pytest.fixture(scope="session")
def small_files(export_once, tmp_path_factory):
    """A model of random weights for frames of 32 x 32, as a `run` or as `fomm export` writes it in float32."""
    from fomm_tf import checkpoint, config

    folder = tmp_path_factory.mktemp("small") / "run"
    settings = config.load(pathlib.Path(__file__).parent / "training" / "small.yaml")

    def make(form):
        if not folder.exists():
            import model_list
            import tensorflow as tf

            tf.keras.utils.set_random_seed(1)
            run = checkpoint.build(settings)
            model_list.shake([variable for network in run.model.layers for variable in network.weights], 0.05)
            checkpoint.save(folder, run, "for tests")
        variants = [] if form == "saved_model" else ["--variants", "float32"]
        line = ["--run", folder, "--to", form, *variants, "--no-verify"]
        return folder if form == "run" else export_once(f"small-{form}", *line)[0]

    return make


@pytest.fixture(scope="session")
def bundled_files(export_once):
    """The bundled model as `fomm export --to FORM` writes it, and what that printed."""
    return lambda form: export_once(f"bundled-{form}", "--to", form)
