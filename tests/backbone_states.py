"""Random weights for the backbones, by torch's names: the same ones for the same seed."""

import numpy as np

# EfficientNet-Lite0's blocks: side of the kernel, channels that enter, inside, and that leave.
_EFFICIENTNET = (
    (3, 32, 32, 16),
    (3, 16, 96, 24),
    (3, 24, 144, 24),
    (5, 24, 144, 40),
    (5, 40, 240, 40),
    (3, 40, 240, 80),
    (3, 80, 480, 80),
    (3, 80, 480, 80),
    (5, 80, 480, 112),
    (5, 112, 672, 112),
    (5, 112, 672, 112),
    (5, 112, 672, 192),
    (5, 192, 1152, 192),
    (5, 192, 1152, 192),
    (5, 192, 1152, 192),
    (3, 192, 1152, 320),
)


def efficientnet(seed: int = 0) -> dict[str, np.ndarray]:
    """EfficientNet-Lite0 without its head; no statistic or scale of the normalizations is trivial."""
    random, state = np.random.RandomState(seed), {}

    def convolution(name, *shape):
        deviation = np.sqrt(2.0 / np.prod(shape[1:]))
        state[f"{name}.weight"] = (random.standard_normal(shape) * deviation).astype(np.float32)

    def norm(name, width):
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 1.0),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 2.0),
        ):
            state[f"{name}.{part}"] = random.uniform(low, high, width).astype(np.float32)

    convolution("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for number, (side, before, width, after) in enumerate(_EFFICIENTNET):
        block = f"_blocks.{number}"
        if width != before:
            convolution(f"{block}._expand_conv", width, before, 1, 1)
            norm(f"{block}._bn0", width)
        convolution(f"{block}._depthwise_conv", width, 1, side, side)
        norm(f"{block}._bn1", width)
        convolution(f"{block}._project_conv", after, width, 1, 1)
        norm(f"{block}._bn2", after)
    return state


def vgg19(seed: int = 0) -> dict[str, np.ndarray]:
    """torchvision's VGG-19 up to relu5_1."""
    random, state, position, channels = np.random.RandomState(seed), {}, 0, 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1)):
        for _ in range(count):
            kernel = random.standard_normal((width, channels, 3, 3)) * np.sqrt(2.0 / (9 * channels))
            state[f"features.{position}.weight"] = kernel.astype(np.float32)
            state[f"features.{position}.bias"] = (random.standard_normal(width) * 0.1).astype(np.float32)
            position, channels = position + 2, width
        position += 1
    return state


def images(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise in [0, 1], float32."""
    return np.random.RandomState(seed).random_sample(shape).astype(np.float32)
