"""Reads and writes PyTorch checkpoint files as NumPy arrays, without torch.

Convention:
  * a checkpoint is a dictionary of dictionaries, lists, tuples, numbers, strings, booleans, None and tensors;
    tensors are NumPy arrays of the dtype in the file (bfloat16, which NumPy lacks, becomes float32);
  * two containers are read: `zip` (torch since 1.6; also compressed with Deflate) and `legacy` (before: a stream of
    pickles, then raw storages). Only `zip`, not compressed, is written;
  * what training scripts leave beside tensors (`leftovers`) becomes None, NumPy scalars become numbers;
  * files are untrusted: only the names in `unpickling.NAMES` are resolved, no more memory is allocated than the size of
    the file justifies, opcodes, calls and nesting are limited while the pickle runs (a bomb of 2 MB takes about 0.1 s),
    and every failure to read is an `errors.UserError`.

Source: torch/serialization.py and torch/_weights_only_unpickler.py, whose list of opcodes this one follows.
"""

from fomm_tf.weights.containers import describe, load, save

__all__ = ["describe", "load", "save"]
