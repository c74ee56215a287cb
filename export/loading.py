"""A run for export: restored, its normalizations folded, and described."""

from __future__ import annotations

import pathlib
import subprocess

import yaml

from fomm_tf import checkpoint
from fomm_tf import config as configs
from fomm_tf.models import folding


def load(folder: str | pathlib.Path, precision: str = "float32") -> tuple[checkpoint.Run, dict[str, object]]:
    """Restores a run and folds its normalizations into the convolutions.

    Args:
      folder: the run directory.
      precision: what the networks compute in, one of `config.PRECISIONS`.

    Returns:
      The run, and its metadata: name, step, hash of the weights before folding, commit, sizes, precision and config.

    Raises:
      errors.UserError: if `folder` is not a run directory or its checkpoint does not match its config.
    """
    run = checkpoint.load(folder, precision=precision)
    weights = run.model.weights_sha256()
    folding.fold_batch_norms(run.model)
    model = run.config.model
    metadata = {
        "name": pathlib.Path(folder).resolve().name,
        "step": run.step,
        "weights_sha256": weights,
        "commit": find_commit(),
        "frame_size": list(model.frame_size),
        "num_keypoints": model.num_keypoints,
        "precision": precision,
        "config": {name: yaml.safe_load(configs.dump(run.config))[name] for name in ("model", "animate")},
    }
    return run, metadata


def find_commit() -> str | None:
    """The checkout's commit, with `-dirty` if files differ from it; None for an installed wheel."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    line = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
