"""Import time, loaded packages, public names and error output of the package."""

import importlib.util
import os
import pathlib
import resource
import runpy
import statistics
import subprocess
import sys

import pytest

import fomm_tf

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


def cost(*arguments):
    """CPU time of Python with these arguments, relative to an empty program; medians of alternating runs."""
    seconds = {arguments: [], ("-c", "pass"): []}
    for _ in range(7):
        for line, durations in seconds.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *line], stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            durations.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    measured, empty = map(statistics.median, seconds.values())
    return measured / empty


def packages_loaded_by(code):
    """Packages that the code loads, without the standard library."""
    lines = ["import sys; before = set(sys.modules)", code, "print(*set(sys.modules) - before, file=sys.stderr)"]
    names = {name.partition(".")[0] for name in run("\n".join(lines)).stderr.split()}
    return {
        name
        for name in names - set(sys.stdlib_module_names)
        if not name.startswith(("__mp_main__", "_cython_", "cython_runtime"))
    }


def test_import_is_fast_and_loads_no_other_package():
    """Measured: 1.3 times the start of Python."""
    assert packages_loaded_by("import fomm_tf") == {"fomm_tf"}
    assert cost("-c", "import fomm_tf") < 5


def test_help_is_fast_and_does_not_load_tensorflow():
    """Measured: 11 times the start of Python; importing TensorFlow takes more than 100 times."""
    done = subprocess.run([sys.executable, "-m", "fomm_tf", "--help"], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("animate", "train", "export", "serve", "client", "demo"))
    loaded = packages_loaded_by(
        "import contextlib, fomm_tf.cli\nwith contextlib.suppress(SystemExit): fomm_tf.cli.main(['--help'])"
    )
    assert "fomm_tf" in loaded and loaded <= {"fomm_tf", "numpy", "av", "PIL", "yaml"}
    assert cost("-m", "fomm_tf", "--help") < 40


@pytest.mark.parametrize(
    ("start", "command"), [(["train.py"], "train"), (["-m", "export"], "export"), (["-m", "serving"], "serve")]
)
def test_checkout_entry_points_run_fomm_commands(start, command):
    line = [sys.executable, *start, "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: fomm {command} [-h]")


def test_warp_hides_end_of_life_notice_of_tensorflow_addons():
    done = run("import warnings; warnings.simplefilter('always'); import fomm_tf.ops.warp")
    assert "Addons" not in done.stderr


@pytest.mark.parametrize("name", fomm_tf.__all__)
def test_public_name_exists(name):
    assert getattr(fomm_tf, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'animatr'"):
        _ = fomm_tf.animatr


def test_bug_keeps_its_traceback_and_exit_code_1():
    code = (
        "import sys; from fomm_tf import cli; from fomm_tf.cli import convert\n"
        "def fail(path): raise ZeroDivisionError('a bug')\n"
        "convert.describe = fail\nsys.exit(cli.main(['info', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr and "a bug" in done.stderr


@pytest.mark.parametrize(
    ("packages", "expected"),
    [({"tf_keras"}, "1"), ({"tf_keras", "tensorflow_addons"}, None), ({"tensorflow_addons"}, None), (set(), None)],
)
def test_import_selects_keras_2_where_its_package_is_installed(packages, expected, monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "")  # for the end of the test
    monkeypatch.delenv("TF_USE_LEGACY_KERAS")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in packages or None)
    runpy.run_path(fomm_tf.__file__)
    assert os.environ.get("TF_USE_LEGACY_KERAS") == expected
