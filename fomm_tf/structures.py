"""Values that travel between the networks: keypoints, an encoded source, a rendering. No TensorFlow is loaded for them.

Their arrays are tensors in the Keras model, and NumPy arrays in engines without TensorFlow; `numpy.asarray` takes both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fomm_tf import errors

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    Array = tf.Tensor | np.ndarray

# Bounds of the arithmetic on keypoints, in TensorFlow and in NumPy: of a determinant to divide by, of the entries of a
# Jacobian, and of the area of a hull to scale by; rounding in float32 gives collinear points one of up to 2e-7.
MIN_DETERMINANT, MAX_ENTRY, MIN_HULL_AREA = 1e-8, 1e9, 1e-6


class Keypoints(NamedTuple):
    """The first-order description of a frame: K points and the motion around each.

    Attributes:
      value: `[N, K, 2]` float32, T_{X<-R}(p_k) as (x, y).
      jacobian: `[N, K, 2, 2]` float32, dT_{X<-R}/dp at p_k; None in the zeroth-order model.
    """

    value: Array
    jacobian: Array | None

    def frame(self, number: int) -> Keypoints:
        """The keypoints of one frame: `[K, 2]` and `[K, 2, 2]`."""
        return self.map(lambda part: part[number])

    def map(self, function: Callable[[Array], Array]) -> Keypoints:
        """Applies a function to values and Jacobians, if there are Jacobians."""
        return Keypoints(*(None if part is None else function(part) for part in self))

    def named(self, prefix: str = "") -> dict[str, Array]:
        """Tensors under the names of exported signatures: `prefix` + `value` and, if there are any, `jacobian`."""
        return {prefix + name: part for name, part in self._asdict().items() if part is not None}

    @classmethod
    def from_named(cls, tensors: Mapping[str, Array], prefix: str = "") -> Keypoints:
        """The inverse of `named`; other tensors are ignored."""
        return cls(tensors[f"{prefix}value"], tensors.get(f"{prefix}jacobian"))

    def check(self, num_keypoints: int, jacobian: bool) -> None:
        """Checks that keypoints are those of a model with `num_keypoints`, and have Jacobians if it does.

        Raises:
          errors.UserError: if they are not.
        """
        shape = self.value.shape
        if len(shape) != 3 or tuple(shape[1:]) != (num_keypoints, 2):
            raise errors.UserError(
                f"keypoints.value must be [N, {num_keypoints}, 2] for this model; got shape {list(shape)}."
            )
        if (self.jacobian is None) == jacobian:
            needs = "needs keypoints with" if jacobian else "takes keypoints without"
            raise errors.UserError(f"This model {needs} Jacobians.")


class EncodedSource(NamedTuple):
    """Everything that depends only on the source image.

    Attributes:
      image: `[B, H, W, 3]` float in [0, 1].
      features: `[B, h, w, C]`, the generator's.
      keypoints: of the source.
      lowres: `[B, h', w', 3]`, the image at the dense motion network's size.
    """

    image: Array
    features: Array
    keypoints: Keypoints
    lowres: Array


class Rendering(NamedTuple):
    """N generated frames; the fields after the second are None unless `details=True`.

    Attributes:
      prediction: `[N, H, W, 3]` float32 in [0, 1].
      deformed: `[N, H, W, 3]`, the source warped, without inpainting; None in engines that do not compute it.
      occlusion: `[N, h, w, 1]`, 1 = visible; None in a model without occlusion map.
      deformation: `[N, h, w, 2]`, (x, y) in the source (Eq. 7).
      mask: `[N, h, w, K + 1]`, the weight of each local motion; the background's is the first.
      sparse_deformed: `[N, K + 1, h, w, 3]`, the source under each local motion.
    """

    prediction: Array
    deformed: Array | None = None
    occlusion: Array | None = None
    deformation: Array | None = None
    mask: Array | None = None
    sparse_deformed: Array | None = None
