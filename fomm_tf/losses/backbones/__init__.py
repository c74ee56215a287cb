"""The networks whose features the perceptual loss compares.

Convention:
  * a backbone maps images `[B, H, W, 3]` in [0, 1] to the features of five depths; its weights never train;
  * it computes in float32, and in float64 for images of that; half precision is widened, since the features of some
    networks go beyond what float16 holds;
  * the paper's weights of 10 a layer belong to torchvision's VGG-19. The features of the others are of other sizes, far
    larger ones in part: where `Backbone.relative` says so, each layer is to be divided by its mean size on real frames
    (`measure`, `Scaled`) for such weights to mean the same.

Names, as in `train.backbone`:
  * `vgg19`: torchvision's, from the user's file: what the paper and the reference train with;
  * `vgg19-keras`: the same architecture with the weights of Keras, which fetches them;
  * `efficientnet_lite0`: small and quick, from a published package, which is fetched;
  * `random`: has learnt nothing; for tests.
"""

from fomm_tf.losses.backbones.base import Backbone
from fomm_tf.losses.backbones.efficientnet import EfficientNetLite0
from fomm_tf.losses.backbones.loading import NAMES, load
from fomm_tf.losses.backbones.scaling import Scaled, measure
from fomm_tf.losses.backbones.untrained import Untrained
from fomm_tf.losses.backbones.vgg19 import KerasVgg19, Vgg19

__all__ = ["NAMES", "Backbone", "EfficientNetLite0", "KerasVgg19", "Scaled", "Untrained", "Vgg19", "load", "measure"]
