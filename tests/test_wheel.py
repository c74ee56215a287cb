"""The wheel: what it holds, and that its commands work outside of the checkout."""

import os
import pathlib
import re
import site
import subprocess
import sys
import tempfile
import venv
import zipfile

import pytest

from fomm_tf import video

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 1200
SOURCES = ("fomm_tf", "configs", "export", "serving", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
IMPORT_ALL = """
import importlib, pathlib, pkgutil, fomm_tf
from fomm_tf.export import tflite
for module in pkgutil.walk_packages(fomm_tf.__path__, "fomm_tf."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
tflite.copy_client_sources(pathlib.Path.cwd())
fomm_tf.Animator.bundled()
print(fomm_tf.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds the wheel from a copy of the tracked files: setuptools leaves its build directory in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", *SOURCES], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        source, target = ROOT / name, folder / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.readlink()) if source.is_symlink() else target.write_bytes(source.read_bytes())
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "tree")
    (path,) = folder.glob("*.whl")
    return path


class Environment:
    """A new virtual environment, and an empty directory to run commands in.

    Args:
      folder: where to create it.
    """

    def __init__(self, folder):
        venv.create(folder / "venv")
        self.python, self.folder = folder / "venv" / "bin" / "python", folder / "work"
        self.folder.mkdir()
        self._environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def start(self, program, *arguments, **options):
        line = [self.python.with_name(program), *map(str, arguments)]
        return subprocess.Popen(line, cwd=self.folder, env=self._environ, text=True, **options)

    def run(self, program, *arguments):
        """Returns the stdout of a command that must succeed."""
        process = self.start(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        printed, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors[-2000:]
        return printed


def pip(python, *arguments):
    line = [sys.executable, "-m", "pip", "--python", python, "-q", *arguments]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr or "Connection" in done.stderr:
        pytest.skip(f"the dependencies cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]


def frame_count(path):
    return sum(1 for _ in video.open_video(path))


@pytest.mark.slow
def test_wheel_contains_code_recipes_model_and_sources(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", *SOURCES], capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split())
    expected = {name for name in tracked if re.match(r"fomm_tf/.*\.py$", name)}
    expected |= {f"fomm_tf/{name}" for name in tracked if re.match(r"(export|serving)/|configs/.*\.yaml$", name)}
    expected |= {f"fomm_tf/assets/people-256/{name}" for name in ("config.yaml", "weights.npz", "README.txt")}
    expected |= {f"fomm_tf/experiments/assets/page.{suffix}" for suffix in ("html", "css", "js")}
    assert not expected - names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"fomm_tf"}


@pytest.mark.slow
def test_wheel_imports_and_loads_the_model_outside_of_the_checkout(wheel, tmp_path):
    """With the dependencies of the environment that runs the tests, but not its fomm_tf."""
    environment = Environment(tmp_path)
    pip(environment.python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    assert environment.run("python", "-c", IMPORT_ALL).strip() == str(packages / "fomm_tf" / "__init__.py")
    assert (environment.folder / "android" / "Fomm.kt").is_file() and (environment.folder / "pipeline.md").is_file()
    assert "vox-256 data.root=faces" in environment.run("fomm", "train", "--help")


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(3 * SECONDS)
def test_wheel_runs_every_command_in_a_fresh_environment(wheel):
    with tempfile.TemporaryDirectory() as folder:  # gigabytes, which pytest would keep
        environment = Environment(pathlib.Path(folder))
        install(wheel, environment)
        run_every_command(environment)


def install(wheel, environment):
    pip(environment.python, "install", f"{wheel}[export,serving]")
    if environment.start("python", "-c", "import cv2", stderr=subprocess.DEVNULL).wait():  # the system has no libGL
        pip(environment.python, "install", "--force-reinstall", "--no-deps", "opencv-python-headless<4.12")


def run_every_command(environment):
    def fomm(*arguments):
        return environment.run("fomm", *arguments)

    work, demo = environment.folder, pathlib.Path("outputs/demo")
    fomm("demo")
    clip = ["--source", demo / "source-1.png", "--driving", demo / "animated-1.mp4", "--duration", 0.4]
    fomm("animate", *clip, "--out", "animated.mp4")
    puppets = [f"data.puppets.{key}" for key in ("identities=4", "test_identities=1", "clips=1", "frames=4")]
    printed = fomm("train", "tiny", "train.steps=2", "train.batch_size=4", *puppets)
    assert "step 2 of 2: " in printed and (work / "runs" / "tiny" / "best" / "config.yaml").is_file()
    assert "Trained by: fomm train tiny" in (work / "runs" / "tiny" / "README.txt").read_text()
    fomm("train", "--run", "runs/tiny", "--resume")
    exports = {
        "saved_model": ([], "1/saved_model.pb"),
        "tflite": (["--variants", "dynamic"], "renderer-dynamic.tflite"),
        "onnx": (["--variants", "float32"], "animate-float32.onnx"),
    }
    for form, (options, file) in exports.items():
        fomm("export", "--run", "runs/tiny", "--to", form, *options, "--out", f"models/{form}")
        assert (work / "models" / form / file).is_file()
    options = ["--model", "models/saved_model", "--grpc-port", 0, "--rest-port", 0]
    server = environment.start("fomm", "serve", *options, stdout=subprocess.PIPE)
    try:
        ports = re.search(r"gRPC (\S+), REST http://(\S+?)/", server.stdout.readline())
        for protocol, address in zip(("grpc", "rest"), ports.groups(), strict=True):
            connection = ["--server", address, "--protocol", protocol]
            fomm("client", "animate", *connection, *clip, "--out", f"{protocol}.mp4")
    finally:
        server.terminate()
        assert server.wait(SECONDS) == 0
    counts = {name: frame_count(work / f"{name}.mp4") for name in ("animated", "grpc", "rest")}
    assert counts == dict.fromkeys(counts, 10)
