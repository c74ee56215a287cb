"""The fetched TensorFlow Lite models as functions of one image."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

import numpy as np

from fomm_tf import fetch

SET = "detectors"


def read(name: str) -> bytes:
    """Reads a file of `fomm fetch detectors`, which is fetched if the cache has not got it whole.

    TensorFlow Lite crashes on damaged models: none gets there whose sha256 is not right.

    Raises:
      UserError: if it can neither be found nor fetched.
    """
    return fetch.fetch(SET, report=functools.partial(print, file=sys.stderr))[name].read_bytes()


class LiteModel:
    """A model with one image as its input; not for several threads of the caller at a time.

    Args:
      name: the file.
      threads: that it may use.

    Attributes:
      side: of the square input, in pixels.

    Raises:
      UserError: see `read`.
    """

    def __init__(self, name: str, threads: int) -> None:
        import tensorflow as tf

        content = read(name)
        with _suppress_stderr():
            self._interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        (entry,) = self._interpreter.get_input_details()
        self._entry, self.side = entry["index"], int(entry["shape"][1])
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Runs it.

        Args:
          image: `[side, side, 3]` float32, in the model's range.

        Returns:
          The outputs without their batch axis, float32.
        """
        self._interpreter.set_tensor(self._entry, image[np.newaxis])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


@contextlib.contextmanager
def _suppress_stderr() -> Iterator[None]:
    """Discards what the process writes to stderr: TensorFlow Lite logs its delegates there, at any log level."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
