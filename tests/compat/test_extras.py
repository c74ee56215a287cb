"""Each extra of setup.cfg, installed alone into a fresh environment, brings what its modules import."""

import configparser
import subprocess

import environments
import pytest

# Modules that need each extra; `dev` and `all` are for the tests themselves.
PURPOSES = {
    "app": ("fomm_tf.app.page", "fomm_tf.app.server", "fomm_tf.app.webcam"),
    "beam": ("fomm_tf.scale.animation", "fomm_tf.scale.evaluation", "fomm_tf.scale.preparation"),
    "docs": ("material", "mkdocs.commands.build", "mkdocstrings"),
    "export": (
        "fomm_tf.export.saved_model",
        "fomm_tf.export.tflite",
        "fomm_tf.export.onnx",
        "fomm_tf.export.runner",
        "fomm_tf.export.report",
    ),
    "heic": ("pillow_heif",),
    "people": ("embreex.rtcore_scene", "fomm_tf.data.people.__main__"),
    "serving": (
        "fomm_tf.serving.client",
        "fomm_tf.serving.animation",
        "fomm_tf.serving.grpc_transport",
        "fomm_tf.serving.rest_transport",
        "fomm_tf.serving.local.server",
    ),
    "storage": ("fsspec", "fomm_tf.data.storage"),
}


def extras() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(environments.ROOT / "setup.cfg")
    return set(parser["options.extras_require"])


def test_every_extra_has_a_purpose():
    assert extras() - {"dev", "all"} == PURPOSES.keys()


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("extra", PURPOSES)
def test_extra_alone_imports_its_modules(extra):
    python = environments.python(f".venv-extra-{extra}")
    code = "".join(f"import {module}\n" for module in PURPOSES[extra])
    done = subprocess.run([python, "-c", code], cwd=environments.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
