"""The package as a whole: what an import costs, and what it prints."""

import subprocess
import sys
import time

import pytest

import fomm_tf


def run(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


def test_importing_the_package_loads_no_tensorflow_and_is_quick():
    code = (
        "import sys, time; begin = time.perf_counter(); import fomm_tf; print(time.perf_counter() - begin); "
        "assert not {'tensorflow', 'numpy', 'cv2', 'av'} & set(sys.modules)"
    )
    assert min(float(run(code).stdout) for _ in range(3)) < 0.2


def test_help_is_quick_and_loads_no_tensorflow():
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "fomm_tf", "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert all(command in done.stdout for command in ("animate", "convert", "info", "demo", "fetch"))
    assert min(seconds) < 0.5
    run("import sys; from fomm_tf import cli; cli._parser(); assert 'tensorflow' not in sys.modules")


def test_tensorflow_addons_end_of_life_notice_is_not_shown():
    done = run("import warnings; warnings.simplefilter('always'); import fomm_tf.ops.warp")
    assert "Addons" not in done.stderr


@pytest.mark.parametrize("name", fomm_tf.__all__)
def test_every_public_name_is_there(name):
    assert getattr(fomm_tf, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'animatr'"):
        _ = fomm_tf.animatr


def test_a_bug_keeps_its_traceback_and_exit_code_1():
    code = (
        "import sys; from fomm_tf import cli; from fomm_tf.cli import info\n"
        "def fail(path): raise ZeroDivisionError('a bug')\n"
        "info.describe = fail\nsys.exit(cli.main(['info', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr and "a bug" in done.stderr
