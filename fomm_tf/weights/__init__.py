"""PyTorch checkpoint files to numpy and back, without torch.

Convention:
  * a checkpoint is a dictionary of dictionaries, lists, tuples, numbers, strings, booleans, None and tensors;
    tensors are numpy arrays of the dtype in the file (bfloat16, which numpy lacks, is widened to float32);
  * two containers are read: `zip` (torch since 1.6) and `legacy` (before: a stream of pickles, then raw storages).
    Only `zip` is written;
  * a file from the internet is hostile: no name outside `unpickling.NAMES` is ever looked up, nothing is allocated
    that the file's own size does not cover, opcodes, calls and nesting are limited while the pickle runs (a bomb of
    2 MB takes about 0.1 s), and whatever goes wrong in reading is an `errors.UserError`.

Source: torch/serialization.py and torch/_weights_only_unpickler.py, whose opcode list is the model of ours.
"""

from fomm_tf.weights.files import describe, load, save

__all__ = ["describe", "load", "save"]
