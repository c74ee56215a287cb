"""A static site that animates images in the visitor's browser: `fomm export --to web`.

    index.html, app.js, ...   the page, with `package/` and `model/` beside it
    package/                  the JavaScript package: `Pipeline`, its worker and types, and LiteRT.js in `runtime/`
    model/                    `pipeline.json` and the five stages as TFLite files
    example/                  a drawn image and the clip that moves it
    _headers                  response headers, in the format of several static hosts

Convention: LiteRT.js has no bool tensors, so that the switches of the `motion` stage are float32, 0 or 1.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, export, video
from fomm_tf.export import examples, stages, tflite

VARIANTS = export.VARIANTS["web"]
# The set of `fomm fetch` with LiteRT.js, and the names that its JavaScript modules get.
RUNTIME = "web"
_MODULES = {"index.js": "litert.js", "bundle.js": "wasm_utils.js"}
# Browsers resolve such a name only with an import map, which workers do not have.
_IMPORT = 'from "@litertjs/wasm-utils"', 'from "./wasm_utils.js"'
_EXAMPLE_FRAMES, _EXAMPLE_FPS = 75, 25


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    runtime: Mapping[str, pathlib.Path],
    variants: Sequence[str] = VARIANTS[:1],
    check: Callable[[pathlib.Path, stages.Stages], None] | None = None,
) -> pathlib.Path:
    """Writes a site for a run's model.

    Args:
      folder: the run directory.
      output: directory for the site; new or empty.
      runtime: the files of the set `RUNTIME` by name, from `fomm_tf.fetch.fetch`.
      variants: names from `VARIANTS`; the page uses the first one.
      check: called with the directory of the model's files and the stages that they were converted from, before the
        site is renamed to `output`.

    Returns:
      `output`.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    sources = pathlib.Path(__file__).parent
    with checkpoint.new_folder(output) as work:
        shutil.copytree(sources / "page", work, dirs_exist_ok=True)
        shutil.copytree(sources / "package", work / "package")
        _write_manifest(work / "package" / "package.json")
        _write_runtime(work / "package" / "runtime", runtime)
        (work / "model").mkdir()
        built = tflite.write_files(work / "model", folder, variants, switch_dtype=tf.float32)
        _write_example(work / "example", built.config.model.frame_size)
        if check is not None:
            check(work / "model", built)
    return pathlib.Path(output)


def _write_manifest(path: pathlib.Path) -> None:
    """Writes the version into `package.json`."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"version": fomm_tf.__version__}, indent=2) + "\n", encoding="utf-8")


def _write_runtime(folder: pathlib.Path, files: Mapping[str, pathlib.Path]) -> None:
    """Copies LiteRT.js; its WebAssembly is compressed, since many servers do not do so."""
    folder.mkdir()
    for name, path in files.items():
        if path.suffix == ".wasm":
            (folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            continue
        lines = path.read_text(encoding="utf-8").replace(*_IMPORT).splitlines(keepends=True)
        # The source maps are not copied.
        text = "".join(line for line in lines if not line.startswith("//# sourceMappingURL="))
        (folder / _MODULES.get(name, name)).write_text(text, encoding="utf-8")


def _write_example(folder: pathlib.Path, size: tuple[int, int]) -> None:
    folder.mkdir()
    source = examples.draw(size, 1, seed=3, character=5)[0]
    video.write_image(folder / "source.png", source)
    with video.write_video(folder / "driving.webm", _EXAMPLE_FPS) as writer:
        for frame in examples.draw(size, _EXAMPLE_FRAMES, seed=3, character=7):
            writer.write(frame)
