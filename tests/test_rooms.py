"""The rooms of the project: who may import whom. The README's map says the same in words."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fomm_tf"

# Each room's doors; every room may import `errors` and itself.
MAY_IMPORT = {
    "errors": set(),
    "opencv": set(),
    "console": set(),
    "config": set(),
    "ops": set(),
    "video": {"opencv"},
    "weights": set(),
    "optimizer": set(),
    # `from_preset` alone, when it is called: presets are built on the run directory, which is built on the models.
    "models": {"ops", "config", "presets"},
    "presets": {"checkpoint", "config", "models", "torch_import", "weights"},
    "losses": {"models", "ops", "config", "weights", "fetch"},
    "training": {"checkpoint", "config", "ops", "models", "losses", "data", "visualize", "video"},
    "data": {"video", "config", "ops", "detectors", "opencv", "console"},
    "visualize": {"ops", "opencv"},
    "checkpoint": {"config", "models", "optimizer", "weights"},
    "torch_import": {"weights", "checkpoint", "config", "models", "optimizer"},
    "inference": {
        *("checkpoint", "config", "console", "ops", "models", "losses", "video", "data", "detectors", "visualize"),
    },
    "fetch": set(),
    "study": {"video"},
    "figures": {"video", "visualize", "inference", "config", "models"},
    "ablation": {"training", "inference", "config", "data", "console", "video", "figures"},
    "detectors": {"fetch", "opencv"},
    "demo": {"video", "visualize", "inference", "data", "checkpoint"},
    "cli": {
        *("console", "weights", "checkpoint", "torch_import", "demo", "fetch", "inference", "video", "config", "data"),
        *("study", "figures"),
    },
    "__init__": set(),
    "__main__": {"cli"},
}
# Packages that one room alone may import, and rooms that must not load TensorFlow.
ONLY = {
    "tensorflow_addons": {"ops/warp.py"},
    "av": {"video"},
    "PIL": {"video"},
    "cv2": {"opencv"},
    "tqdm": {"inference", "data", "training", "ablation", "cli"},
}
WITHOUT_TENSORFLOW = {
    "errors",
    "opencv",
    "console",
    "config",
    "video",
    "weights",
    "visualize",
    "fetch",
    "detectors",
    "study",
    "ablation",
    "cli",
    "__init__",
    "__main__",
}


def files():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path, top_only=False):
    """The modules that a file imports, in full: `from fomm_tf import ops` counts as fomm_tf.ops."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if not top_only else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_through_its_doors(path):
    room = room_of(path)
    assert room in MAY_IMPORT, f"{room} is a new room: say here, and in the README's map, whom it may import"
    allowed = MAY_IMPORT[room] | {room, "errors", "__version__"}
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "fomm_tf" and len(parts) > 1:
            assert parts[1] in allowed, f"{room} may not import {module}"
        if parts[0] in ONLY:
            place = path.relative_to(PACKAGE).as_posix()
            assert room in ONLY[parts[0]] or place in ONLY[parts[0]], f"{place} may not import {parts[0]}"


@pytest.mark.parametrize("path", sorted((ROOT / "export").glob("*.py")), ids=lambda path: path.name)
def test_the_export_knows_neither_training_nor_inference(path):
    allowed = {"checkpoint", "config", "console", "data", "errors", "models", "ops", "video"}
    for module in imports_of(path):
        parts = module.split(".")
        assert parts[0] != "fomm_tf" or parts[1] in allowed, f"export may not import {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "serving").rglob("*.py")), ids=lambda path: path.name)
def test_serving_knows_videos_and_how_commands_end(path):
    for module in imports_of(path):
        parts = module.split(".")
        assert parts[0] != "fomm_tf" or parts[1] in {"console", "errors", "video"}, f"serving may not import {module}"
        assert parts[0] != "export", f"serving may not import {module}"


@pytest.mark.parametrize("room", sorted(WITHOUT_TENSORFLOW))
def test_a_room_without_tensorflow_does_not_import_it(room):
    paths = [path for path in files() if room_of(path) == room]
    assert paths
    for path in paths:
        assert not any(module.split(".")[0] == "tensorflow" for module in imports_of(path, top_only=True)), path


def test_no_file_is_called_utils():
    assert not [path for path in ROOT.rglob("utils.py") if ".venv" not in str(path)]


def test_every_room_of_the_table_exists():
    missing = [room for room in MAY_IMPORT if not (PACKAGE / room).is_dir() and not (PACKAGE / f"{room}.py").is_file()]
    assert not missing
