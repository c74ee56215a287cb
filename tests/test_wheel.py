"""What `pip install` would bring: the package, its command and its recipes, and nothing else."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_recipes(tmp_path):
    # A copy, since setuptools leaves its build folder in the tree.
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "fomm_tf",
        "configs",
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ]
    for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split():
        target = tmp_path / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        target.symlink_to(source.readlink()) if source.is_symlink() else target.write_bytes(source.read_bytes())
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*wheel, str(tmp_path / "tree")], check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(archive).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fomm_tf").rglob("*.py")}
    recipes = {f"fomm_tf/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    model = {f"fomm_tf/assets/puppets-128/{name}" for name in ("config.yaml", "weights.npz", "README.txt")}
    page = {f"fomm_tf/experiments/assets/page.{suffix}" for suffix in ("html", "css", "js")}
    assert sources | recipes | model | page <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"fomm_tf"}
