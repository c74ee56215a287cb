"""Trained models by name, by run directory, or by a checkpoint of the PyTorch reference implementation."""

from __future__ import annotations

import pathlib

from fomm_tf import checkpoint, errors, torch_import, weights
from fomm_tf.models import execution

_ASSETS = pathlib.Path(__file__).parent / "assets"


def bundled() -> dict[str, pathlib.Path]:
    """Name -> run directory of each model that is part of the installed package."""
    return {path.parent.name: path.parent for path in sorted(_ASSETS.glob("*/config.yaml"))}


def load(
    preset: str | pathlib.Path,
    precision: str = "float32",
    reference_config: str | None = None,
    align_corners: bool = True,
) -> checkpoint.Run:
    """Loads a trained model; the arguments are those of `FirstOrderMotionModel.from_preset`.

    Raises:
      errors.UserError: if there is no such model, or it cannot be read.
    """
    path = bundled().get(str(preset), pathlib.Path(preset))
    if not path.exists():
        raise errors.UserError(
            f"preset: {str(preset)!r} is neither a bundled model nor an existing path; expected one of "
            f"{', '.join(bundled())}, a run directory or a reference checkpoint."
        )
    if path.is_dir():
        return checkpoint.load(path, precision=precision)
    with execution.mixed_precision_scope(precision):
        return torch_import.import_checkpoint(weights.load(path), reference_config, align_corners, str(path))
