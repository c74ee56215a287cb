"""The networks whose features the perceptual loss compares.

Convention:
  * a backbone maps images `[B, H, W, 3]` in [0, 1] to the features of five layers; its weights are frozen;
  * it computes in float32, and in float64 for float64 images; half precision is converted to float32, since the
    features of some networks exceed the range of float16;
  * the paper's weights of 10 per layer are for torchvision's VGG-19. Features of other networks have other magnitudes:
    where `Backbone.relative` is true, divide each layer by its mean magnitude on real frames (`measure`, `Scaled`).

Names, as in `train.backbone`:
  * `vgg19`: torchvision's, from the user's file: what the paper and the reference train with;
  * `vgg19-keras`: the same architecture with the weights of Keras, which Keras downloads;
  * `efficientnet_lite0`: small and fast, from a published package, which is downloaded;
  * `random`: randomly initialized; for tests.
"""

from __future__ import annotations

from collections.abc import Callable

from fomm_tf import config, errors
from fomm_tf.losses.backbones.base import Backbone, RandomBackbone, Scaled, measure
from fomm_tf.losses.backbones.pretrained import EfficientNetLite0, KerasVgg19, Vgg19

__all__ = ["NAMES", "Backbone", "EfficientNetLite0", "KerasVgg19", "Scaled", "Vgg19", "load", "load_for", "measure"]

NAMES = ("vgg19", "vgg19-keras", "efficientnet_lite0", "random")


def load(name: str, file: str | None = None, report: Callable[[str], object] = print) -> Backbone:
    """Loads a backbone (`train.backbone`, `train.backbone_file`).

    Args:
      name: one of `NAMES`.
      file: its weights. `vgg19` requires it; without it `vgg19-keras` and `efficientnet_lite0` download theirs once;
        `random` has none.
      report: takes lines about downloads; Keras prints its own.

    Raises:
      errors.UserError: if there is no such backbone, or its file is missing, cannot be downloaded or read, or belongs
        to another network.
    """
    if name not in NAMES:
        raise errors.UserError(f"train.backbone must be one of {', '.join(NAMES)}; got {name!r}.")
    if name == "vgg19" and file is None:
        raise errors.UserError(
            "train.backbone vgg19 needs torchvision's weights, vgg19-dcbb9e9d.pth, in train.backbone_file: "
            "torchvision.models.vgg19(weights='IMAGENET1K_V1') downloads them into torch's cache (by default "
            "~/.cache/torch/hub/checkpoints). Or use vgg19-keras or efficientnet_lite0, which are downloaded."
        )
    if name == "random":
        if file is not None:
            raise errors.UserError(
                f"train.backbone random is randomly initialized and has no file; got {file}. Omit "
                "train.backbone_file, or name the backbone that the file belongs to."
            )
        return RandomBackbone()
    if name == "efficientnet_lite0":
        return EfficientNetLite0.load(file, report)
    return (Vgg19 if name == "vgg19" else KerasVgg19).load(file)


def load_for(train: config.TrainConfig, report: Callable[[str], object] = print) -> Backbone | None:
    """Loads the backbone of a training, see `load`; None if no weight of the perceptual loss is other than 0."""
    return load(train.backbone, train.backbone_file, report) if any(train.loss_weights.perceptual) else None
