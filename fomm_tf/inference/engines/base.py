"""What every engine does: detect keypoints, encode a source once, render driving poses. Loads no TensorFlow."""

from __future__ import annotations

import abc

import numpy as np

from fomm_tf.structures import EncodedSource, Keypoints, Rendering

AUTO = "auto"
# What each engine can compute in. Those of exported files are the variants of `fomm export`: `dynamic` stores 8-bit
# weights and quantizes activations while it runs, `int8` is calibrated when it is exported.
PRECISIONS = {
    "keras": ("float32", "float16", "bfloat16"),
    "litert": ("float32", "float16", "dynamic", "int8"),
    "onnxruntime": ("float32", "float16"),
}


class Engine(abc.ABC):
    """Runs a model's networks on frames of the model's size, float32 in [0, 1].

    Attributes:
      name: a key of `PRECISIONS`, or `saved_model`.
      precision: what the networks compute in.
      has_details: whether `render` fills all fields that `details` asks for.
    """

    name: str
    precision: str
    has_details = True

    @abc.abstractmethod
    def detect(self, frames: np.ndarray) -> Keypoints:
        """Finds the keypoints of N frames, `[N, H, W, 3]`."""

    @abc.abstractmethod
    def encode_source(self, image: np.ndarray) -> EncodedSource:
        """Computes what depends only on the source, `[1, H, W, 3]`, or on the sources of N driving frames."""

    @abc.abstractmethod
    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Generates the source in the pose of N driving frames."""

    @abc.abstractmethod
    def weights_sha256(self) -> str:
        """Identifies the weights; equal for a run and for what was exported from it."""

    @abc.abstractmethod
    def device(self) -> str:
        """What the engine runs on, in words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.precision}>"
