"""An engine with a known answer, in NumPy: keypoints are those of a bright disc, and a rendering moves the source."""

import threading

import numpy as np

from fomm_tf import config, video
from fomm_tf.inference import animator, engines
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

SIDE = 64
_POINTS = np.array([[0, 0], [0.3, 0], [0, -0.3]])


class DiscEngine(engines.Engine):
    """Detects, encodes and renders.

    Attributes:
      may_render: renderings wait until it is set, or `passes` lets a batch through.
      calls: how many frames were rendered.
      threads: how many threads are in a call; the highest number is `most_threads`.
    """

    name, precision = "keras", "float32"

    def __init__(self):
        self.may_render = threading.Event()
        self.may_render.set()
        self.passes = threading.Semaphore(0)
        self.calls = self.threads = self.most_threads = 0

    def detect(self, frames):
        values = []
        for frame in np.asarray(frames):
            mask = frame[..., 0] > 0.5
            rows, columns = np.nonzero(mask) if mask.any() else ([SIDE / 2], [SIDE / 2])
            center = 2 * np.array([np.mean(columns), np.mean(rows)]) / (SIDE - 1) - 1
            values.append(center + _POINTS)
        return Keypoints(np.float32(values), None)

    def encode_source(self, image):
        return EncodedSource(image, image, self.detect(image), image)

    def render(self, source, keypoints, details=False):
        self.threads += 1
        self.most_threads = max(self.most_threads, self.threads)
        while not self.may_render.wait(0.01) and not self.passes.acquire(blocking=False):
            pass
        moves = (np.asarray(keypoints.value) - np.asarray(source.keypoints.value))[:, 0] * (SIDE - 1) / 2
        images = np.broadcast_to(source.image, [len(moves), SIDE, SIDE, 3])
        moved = [
            np.roll(image, np.rint(move[::-1]).astype(int), (0, 1)) for image, move in zip(images, moves, strict=True)
        ]
        prediction = np.stack(moved)
        self.calls += len(moves)
        self.threads -= 1
        return Rendering(prediction, prediction, None, None, np.full([len(moves), 8, 8, 4], 0.25))

    def weights_sha256(self):
        return "0" * 64

    def device(self):
        return "CPU"


def load(engine=None):
    """An `Animator` of 64 x 64."""
    sizes = {"occlusion": False, "motion_scale": 0.5, "num_keypoints": 3, "jacobian": False}
    settings = config.parse(
        {"model": {"frame_size": [SIDE, SIDE], "keypoint_detector": {"scale": 0.5}, **sizes}}, "test"
    )
    return animator.Animator(engine or DiscEngine(), config.Config(model=settings.model))


def draw(center):
    """A disc at (x, y) in pixels: `[64, 64, 3]` uint8."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (columns - center[0]) ** 2 + (rows - center[1]) ** 2 < 100
    return np.where(disc[..., np.newaxis], np.uint8([250, 220, 180]), np.uint8([20, 40, 60]))


def write_files(folder, count=12, name="clip.mp4"):
    """Writes `source.png` and a clip in which the disc moves to the right, a pixel each frame."""
    video.write_image(folder / "source.png", draw((24, 40)))
    with video.write_video(folder / name, 25) as writer:
        for index in range(count):
            writer.write(draw((20 + index % 24, 32)))
    return folder / "source.png", folder / name
