"""Import rules that import-linter cannot express; the others are contracts in pyproject.toml, run by `make lint`."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = [path for package in ("fomm_tf", "export", "serving") for path in sorted((ROOT / package).rglob("*.py"))]
# TensorFlow takes seconds to load: these may load it on use only, inside a function.
WITHOUT_TENSORFLOW = (
    "fomm_tf",
    "fomm_tf.cli",
    "fomm_tf.detectors",
    "fomm_tf.experiments.ablation_runner",
    "fomm_tf.export",
    "fomm_tf.serving.client",
    "fomm_tf.visualize",
)


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_import_does_not_load_tensorflow(module):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_commands_are_imported_when_they_run_and_parsed_without_tensorflow():
    code = "import sys; from fomm_tf import cli; cli.parse(['faces', 'x.png']); print(*sys.modules); cli._parser(); "
    code += "sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fomm_tf.cli.animate" in done.stdout and "fomm_tf.cli.training" not in done.stdout


def test_imports_are_absolute():
    relative = [
        f"{path}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


@pytest.mark.parametrize("package", ["export", "serving"])
def test_export_and_serving_have_one_import_name(package):
    """A module that is imported as `export.x` and as `fomm_tf.export.x` would exist twice."""
    assert (ROOT / "fomm_tf" / package).resolve() == ROOT / package
    line = re.compile(rf"^\s*(from {package}[. ]|import {package}\b)", re.M)
    files = [*FILES, *(ROOT / "tests").rglob("*.py")]
    assert not [path for path in files if line.search(path.read_text(encoding="utf-8"))]


def test_no_module_is_named_utils():
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common")]
