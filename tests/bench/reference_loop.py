"""The networks of the reference in PyTorch, and its loop over driving frames, for `engines.py`; needs torch and numpy.

Written from the description of the architecture and the names of the tensors in its checkpoints. The loop does what the
reference's does: for each driving frame the detector, then the whole generator: source encoder and dense motion too,
and the source warped at full size. Batch 1, float32.

`python reference_loop.py FOLDER THREADS` reads `model.json`, `weights.npz` and `frames.npy` (`[1 + N, H, W, 3]` uint8,
source and driving frames) from FOLDER, writes `predictions.npy`, and then answers each line on stdin by the wall and
CPU seconds of a pass over the driving frames.
"""

import itertools
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Downsample(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.step, self.channels = round(1 / scale), channels
        self.size = 2 * round(4 * (1 / scale - 1) / 2) + 1  # four standard deviations to each side
        self.register_buffer("weight", torch.zeros(channels, 1, self.size, self.size))

    def forward(self, x):
        return functional.conv2d(x, self.weight, padding=self.size // 2, groups=self.channels)[
            :, :, :: self.step, :: self.step
        ]


class Block(nn.Module):
    """Convolution, normalization, ReLU; before it nearest upsampling, after it average pooling, or neither."""

    def __init__(self, channels, features, size=3, up=False, down=False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, features, size, padding=size // 2), nn.BatchNorm2d(features)
        self.up, self.down = up, down

    def forward(self, x):
        x = functional.interpolate(x, scale_factor=2) if self.up else x
        x = functional.relu(self.norm(self.conv(x)))
        return functional.avg_pool2d(x, 2) if self.down else x


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x):
        branch = self.conv1(functional.relu(self.norm1(x)))
        return x + self.conv2(functional.relu(self.norm2(branch)))


class Hourglass(nn.Module):
    def __init__(self, channels, block_expansion, max_features, num_blocks):
        super().__init__()
        widths = [min(max_features, block_expansion * 2**index) for index in range(num_blocks + 1)]
        inputs = [channels, *widths[1:]]
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.down_blocks = nn.ModuleList(
            Block(inputs[index], widths[index + 1], down=True) for index in range(num_blocks)
        )
        self.decoder.up_blocks = nn.ModuleList(
            Block(widths[index] * (1 if index == num_blocks else 2), widths[index - 1], up=True)
            for index in range(num_blocks, 0, -1)
        )
        self.features = block_expansion + channels

    def forward(self, x):
        skips = [x]
        for block in self.encoder.down_blocks:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.decoder.up_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return x


def grid(height, width):
    """Positions (x, y), -1 to 1: `[H, W, 2]`."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y], dim=-1)


def warp(x, positions):
    return functional.grid_sample(x, positions, align_corners=True)


class Detector(nn.Module):
    def __init__(self, num_keypoints, detector):
        super().__init__()
        self.down = Downsample(3, detector["scale"])
        sizes = {name: detector[name] for name in ("block_expansion", "max_features", "num_blocks")}
        self.predictor, self.temperature = Hourglass(3, **sizes), detector["temperature"]
        self.kp = nn.Conv2d(self.predictor.features, num_keypoints, 7, padding=detector["pad"])
        self.jacobian = nn.Conv2d(self.predictor.features, 4 * num_keypoints, 7, padding=detector["pad"])

    def forward(self, frame):
        features = self.predictor(self.down(frame))
        logits = self.kp(features)
        count, height, width = logits.shape[1:]
        heatmaps = torch.softmax(logits.flatten(2) / self.temperature, dim=2).view(1, count, height, width)
        value = (heatmaps[..., None] * grid(height, width)).sum(dim=(2, 3))
        jacobians = self.jacobian(features).view(1, count, 4, height, width)
        return value, (heatmaps[:, :, None] * jacobians).sum(dim=(3, 4)).view(1, count, 2, 2)


class DenseMotion(nn.Module):
    def __init__(self, num_keypoints, dense_motion, scale):
        super().__init__()
        self.down, self.variance = Downsample(3, scale), dense_motion["heatmap_variance"]
        sizes = {name: dense_motion[name] for name in ("block_expansion", "max_features", "num_blocks")}
        self.hourglass = Hourglass(4 * (num_keypoints + 1), **sizes)
        self.mask = nn.Conv2d(self.hourglass.features, num_keypoints + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.features, 1, 7, padding=3)

    def forward(self, source, source_keypoints, keypoints):
        source = self.down(source)
        height, width = source.shape[2:]
        places = grid(height, width)

        def gaussians(value):
            distance = places - value[:, :, None, None]
            return torch.exp(-0.5 * distance.square().sum(-1) / self.variance)

        heatmaps = gaussians(keypoints[0]) - gaussians(source_keypoints[0])
        heatmaps = torch.cat([torch.zeros_like(heatmaps[:, :1]), heatmaps], dim=1)
        jacobian = source_keypoints[1] @ torch.inverse(keypoints[1])
        moved = places - keypoints[0][:, :, None, None]
        moved = (jacobian[:, :, None, None] @ moved[..., None])[..., 0] + source_keypoints[0][:, :, None, None]
        motions = torch.cat([places[None, None], moved], dim=1)[0]
        sources = warp(source.repeat(len(motions), 1, 1, 1), motions)
        features = self.hourglass(torch.cat([heatmaps[0][:, None], sources], dim=1).view(1, -1, height, width))
        masks = torch.softmax(self.mask(features), dim=1)
        deformation = (masks[0][..., None] * motions).sum(dim=0)[None]
        return deformation, torch.sigmoid(self.occlusion(features))


def resized(x, size):
    return functional.interpolate(x, size=size, mode="bilinear") if x.shape[2:] != size else x


class Generator(nn.Module):
    def __init__(self, num_keypoints, generator, dense_motion, scale):
        super().__init__()
        widths = [
            min(generator["max_features"], generator["block_expansion"] * 2**index)
            for index in range(generator["num_down_blocks"] + 1)
        ]
        self.dense_motion_network = DenseMotion(num_keypoints, dense_motion, scale)
        self.first = Block(3, widths[0], size=7)
        pairs = list(itertools.pairwise(widths))
        self.down_blocks = nn.ModuleList(Block(*pair, down=True) for pair in pairs)
        self.bottleneck = nn.Sequential()
        for index in range(generator["num_residual_blocks"]):
            self.bottleneck.add_module(f"r{index}", Residual(widths[-1]))
        self.up_blocks = nn.ModuleList(Block(*pair[::-1], up=True) for pair in reversed(pairs))
        self.final = nn.Conv2d(widths[0], 3, 7, padding=3)

    def forward(self, source, source_keypoints, keypoints):
        features = self.first(source)
        for block in self.down_blocks:
            features = block(features)
        deformation, occlusion = self.dense_motion_network(source, source_keypoints, keypoints)
        deformation = deformation.permute(0, 3, 1, 2)

        def deform(x):
            return warp(x, resized(deformation, x.shape[2:]).permute(0, 2, 3, 1))

        features = deform(features) * resized(occlusion, features.shape[2:])
        features = self.bottleneck(features)
        for block in self.up_blocks:
            features = block(features)
        return torch.sigmoid(self.final(features)), deform(source)


def relative(source, driving, initial):
    return driving[0] - initial[0] + source[0], driving[1] @ torch.inverse(initial[1]) @ source[1]


def animate(detector, generator, source, frames, source_keypoints, initial):
    """The reference's loop: predictions `[N, H, W, 3]`."""
    predictions = []
    for frame in frames:
        keypoints = relative(source_keypoints, detector(frame[None]), initial)
        prediction, _ = generator(source, source_keypoints, keypoints)
        predictions.append(prediction.permute(0, 2, 3, 1).numpy()[0])
    return np.stack(predictions)


def main():
    folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    sizes = json.loads((folder / "model.json").read_text())
    detector = Detector(sizes["num_keypoints"], sizes["keypoint_detector"]).eval()
    names = ("num_keypoints", "generator", "dense_motion")
    generator = Generator(*(sizes[name] for name in names), sizes["motion_scale"]).eval()
    weights = {name: torch.from_numpy(value) for name, value in np.load(folder / "weights.npz").items()}
    for name, network in (("kp_detector", detector), ("generator", generator)):
        start = f"{name}/"
        network.load_state_dict({key[len(start) :]: value for key, value in weights.items() if key.startswith(start)})
    pixels = np.load(folder / "frames.npy") / np.float32(255)
    source, frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).split([1, len(pixels) - 1])
    given = detector, generator, source, frames, detector(source), detector(frames[:1])
    np.save(folder / "predictions.npy", animate(*given))
    print(f"PyTorch {torch.__version__}", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter(), time.process_time()
        animate(*given)
        print(time.perf_counter() - begin[0], time.process_time() - begin[1], flush=True)


if __name__ == "__main__":
    main()
