"""The reference's checkpoints <-> run folders (see `weights` for the files themselves)."""

from fomm_tf.torch_import.convert import export_checkpoint, import_checkpoint, pick_config, restore_state

__all__ = ["export_checkpoint", "import_checkpoint", "pick_config", "restore_state"]
