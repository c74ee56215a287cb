"""What a model is read from: inputs that no command may replace."""

from __future__ import annotations

import pathlib

_PATTERNS = ("config.yaml", "checkpoint", "ckpt-*", "best", "weights.npz", "README.txt")


def list_model_files(folder: str | None) -> list[pathlib.Path]:
    """The files and directories of a run directory that loading it may read; other files may be added beside them.

    Args:
      folder: the run directory; None for the bundled model, whose files are not listed.
    """
    if folder is None:
        return []
    return [path for pattern in _PATTERNS for path in pathlib.Path(folder).glob(pattern)]
