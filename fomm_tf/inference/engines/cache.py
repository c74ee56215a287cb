"""The cache of engines: a run's files for ai-edge-litert and onnxruntime, exported once.

    CACHE/engines/HASH/ENGINE-PRECISION/     what `fomm export` writes
    CACHE/engines/HASH/timings-MACHINE.json  see `fomm_tf.inference.engines.choice`

HASH stands for the run's weights and config, and the version of this package. Any part may be deleted.
"""

from __future__ import annotations

import pathlib
import sys
import warnings

import fomm_tf
from fomm_tf import errors, fetch, files, model_folders
from fomm_tf.inference.engines import stages


def folder(run: model_folders.ModelFolder) -> pathlib.Path:
    """The cache directory of a run, which may not exist yet.

    Raises:
      errors.UserError: if the run has no weights, or the cache has no place.
    """
    key = files.digest(model_folders.run_digest(run.path), fomm_tf.__version__).hex()[:32]
    return fetch.cache_folder() / "engines" / key


def export(run: model_folders.ModelFolder, engine: str, precision: str) -> pathlib.Path:
    """Returns the directory of a run's files for an engine; exports them if they are not in the cache.

    Raises:
      errors.UserError: if the run cannot be read, a package for the export is missing, or the cache cannot be written.
    """
    target = folder(run) / f"{engine}-{precision}"
    if (target / model_folders.PIPELINE).is_file():
        return target
    print(f"exporting {run.path} for {engine} in {precision}, once", file=sys.stderr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if engine == "litert":
                from fomm_tf.export import tflite

                tflite.write(run.path, target, [precision])
            else:
                from fomm_tf.export import onnx

                onnx.write(run.path, target, [precision], whole=False)
    except ModuleNotFoundError as error:
        raise stages.missing(engine) from error
    except errors.UserError:
        # Another process may have been faster.
        if not (target / model_folders.PIPELINE).is_file():
            raise
    return target
