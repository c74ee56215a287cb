"""The package as a whole: what an import costs, and what it prints."""

import pathlib
import resource
import statistics
import subprocess
import sys

import pytest

import fomm_tf

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


def cost(*arguments):
    """CPU time of Python with these arguments, in starts of Python with nothing to do; medians, by turns."""
    seconds = {arguments: [], ("-c", "pass"): []}
    for _ in range(7):
        for line, taken in seconds.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *line], stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    asked, nothing = map(statistics.median, seconds.values())
    return asked / nothing


def packages_loaded_by(code):
    """Those that are not Python's own and that not every start loads."""
    lines = ["import sys; before = set(sys.modules)", code, "print(*set(sys.modules) - before, file=sys.stderr)"]
    names = {name.partition(".")[0] for name in run("\n".join(lines)).stderr.split()}
    return {
        name
        for name in names - set(sys.stdlib_module_names)
        if not name.startswith(("__mp_main__", "_cython_", "cython_runtime"))
    }


def test_package_import_loads_no_other_package_and_costs_little():
    """Where this was written, 1.3 starts of Python."""
    assert packages_loaded_by("import fomm_tf") == {"fomm_tf"}
    assert cost("-c", "import fomm_tf") < 5


def test_help_loads_no_tensorflow_and_costs_little():
    """Where this was written, 11 starts of Python; those of TensorFlow alone cost more than a hundred."""
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


def test_tensorflow_addons_end_of_life_notice_is_not_shown():
    done = run("import warnings; warnings.simplefilter('always'); import fomm_tf.ops.warp")
    assert "Addons" not in done.stderr


@pytest.mark.parametrize("name", fomm_tf.__all__)
def test_package_has_every_public_name(name):
    assert getattr(fomm_tf, name) is not None


def test_package_rejects_an_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'animatr'"):
        _ = fomm_tf.animatr


def test_command_keeps_the_traceback_of_a_bug_and_exits_with_1():
    code = (
        "import sys; from fomm_tf import cli; from fomm_tf.cli import info\n"
        "def fail(path): raise ZeroDivisionError('a bug')\n"
        "info.describe = fail\nsys.exit(cli.main(['info', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr and "a bug" in done.stderr
