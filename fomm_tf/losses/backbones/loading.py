"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable

from fomm_tf import errors
from fomm_tf.losses.backbones import base, efficientnet, untrained, vgg19

NAMES = ("vgg19", "vgg19-keras", "efficientnet_lite0", "random")


def load(name: str, file: str | None = None, report: Callable[[str], object] = print) -> base.Backbone:
    """Makes a backbone (`train.backbone`, `train.backbone_file`).

    Args:
      name: one of `NAMES`.
      file: its weights. `vgg19` needs it; without it `vgg19-keras` and `efficientnet_lite0` fetch theirs once, and
        `random` has none.
      report: takes a line on what is fetched; Keras prints its own.

    Raises:
      errors.UserError: if there is no such backbone, or its file is missing, cannot be fetched or read, or is another
        network's.
    """
    match name:
        case "vgg19" if file is None:
            raise errors.UserError(
                "train.backbone vgg19 needs the file of torchvision's weights, vgg19-dcbb9e9d.pth, by "
                "train.backbone_file: torchvision.models.vgg19(weights='IMAGENET1K_V1') downloads it into torch's "
                "cache (by default ~/.cache/torch/hub/checkpoints). Or take vgg19-keras or efficientnet_lite0: they "
                "fetch theirs."
            )
        case "vgg19":
            return vgg19.Vgg19.load(file)
        case "vgg19-keras":
            return vgg19.KerasVgg19.load(file)
        case "efficientnet_lite0":
            return efficientnet.EfficientNetLite0.load(file, report)
        case "random" if file is not None:
            raise errors.UserError(
                f"train.backbone random has learnt nothing and takes no file; got {file}. Leave train.backbone_file "
                "out, or name the backbone that the file is of."
            )
        case "random":
            return untrained.Untrained()
    raise errors.UserError(f"There is no backbone called {name!r}; train.backbone is one of: {', '.join(NAMES)}.")
