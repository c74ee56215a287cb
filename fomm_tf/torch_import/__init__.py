"""Converts checkpoints of the PyTorch reference to runs and back (`fomm_tf.weights` reads and writes the files)."""

from fomm_tf.torch_import.checkpoints import (
    choose_config,
    export_checkpoint,
    import_checkpoint,
    restore_state,
)
from fomm_tf.torch_import.layouts import find_networks

__all__ = ["choose_config", "export_checkpoint", "find_networks", "import_checkpoint", "restore_state"]
