"""SavedModels for TF-Serving: a versioned folder that appears when it is whole and has been checked."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import tensorflow as tf

from export import module
from fomm_tf import checkpoint


def write(
    model: module.Module, output: str | pathlib.Path, check: Callable[[pathlib.Path], None] | None = None
) -> pathlib.Path:
    """Writes the next version below a folder: `OUTPUT/1`, `OUTPUT/2`, ...

    Args:
      model: what to write.
      output: the model's folder, TF-Serving's `base_path`; made if need be.
      check: called with what was written before it gets its name; what it raises leaves nothing behind.

    Returns:
      The version's folder.

    Raises:
      errors.UserError: if the folder cannot be written.
    """
    output = pathlib.Path(output)
    versions = [int(path.name) for path in output.glob("*") if path.name.isdigit()]
    version = output / str(1 + max(versions, default=0))
    # Until it is whole its name begins with a dot: TF-Serving passes over names that are no number.
    with checkpoint.new_folder(version) as work:
        # The variables alone: Keras would write each layer's own call functions too.
        holder = tf.Module()
        holder.held = [variable for network in model.networks for variable in network.variables]
        tf.saved_model.save(holder, str(work), signatures=model.signatures)
        if check is not None:
            check(work)
    return version
