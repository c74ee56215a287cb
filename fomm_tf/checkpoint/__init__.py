"""The run directory: config.yaml, ckpt-* + checkpoint (TensorFlow object checkpoints), README.txt, `best/`.

Convention:
  * a checkpoint is named `ckpt-N` after its step, or after its epoch if it was converted;
  * a packaged model has `weights.npz` instead: float16, without discriminator and optimizers;
  * `best/`, of a run that was validated while it trained, is a run directory itself.
"""

from fomm_tf.checkpoint.restoring import (
    initialize,
    load,
    newest,
    read_count,
    resume,
    stored_parts,
    stored_shapes,
)
from fomm_tf.checkpoint.runs import Adam, Run, add_training_parts, build
from fomm_tf.checkpoint.saving import BEST, CheckpointManager, describe, new_folder, pack, refuse_existing, save
from fomm_tf.model_folders import BUNDLED, read_config

__all__ = [
    "BEST",
    "BUNDLED",
    "Adam",
    "CheckpointManager",
    "Run",
    "add_training_parts",
    "build",
    "describe",
    "initialize",
    "load",
    "new_folder",
    "newest",
    "pack",
    "read_config",
    "read_count",
    "refuse_existing",
    "resume",
    "save",
    "stored_parts",
    "stored_shapes",
]
