"""The run folder: config.yaml, ckpt-* + checkpoint (TensorFlow object checkpoints), README.txt, `best/`.

Convention:
  * a checkpoint is called `ckpt-N` after its step, or after its epoch if it was converted;
  * a folder to pass on has `weights.npz` instead, float16 and without what only training needs;
  * `best/`, where a run has been tested while it trained, is a run folder itself.
"""

from fomm_tf.checkpoint.packed import BUNDLED
from fomm_tf.checkpoint.reading import load, newest, read_config, read_count, stored_parts, stored_shapes
from fomm_tf.checkpoint.run import NETWORKS, Run, build
from fomm_tf.checkpoint.starting import initialise, resume
from fomm_tf.checkpoint.writing import BEST, Keeper, describe, new_folder, pack, refuse_existing, save

__all__ = [
    "BEST",
    "BUNDLED",
    "NETWORKS",
    "Keeper",
    "Run",
    "build",
    "describe",
    "initialise",
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
