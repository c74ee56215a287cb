"""White discs on black, and a detector that finds them as the face detector finds faces."""

import cv2
import numpy as np

from fomm_tf import detectors

MIN_SHARE = 0.15


class DiscDetector:
    """Finds discs of at least 15 % of the longer side; keeps the shapes of the frames that it was called with."""

    def __init__(self):
        self.shapes = []

    def __call__(self, frames):
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame):
        self.shapes.append(frame.shape[:2])
        count, _, stats, _ = cv2.connectedComponentsWithStats((frame[..., 0] > 128).astype(np.uint8))
        stats = [stats[k] for k in range(1, count) if max(stats[k][2:4]) >= MIN_SHARE * max(frame.shape[:2])]
        box = np.array([[x, y, x + width, y + height] for x, y, width, height, _ in stats], np.float32).reshape(-1, 4)
        return detectors.Boxes(np.full(len(box), 0.9, np.float32), box, np.zeros([len(box), 1, 2], np.float32))


def draw(size, *discs):
    """A black image with discs (x, y, radius), and their boxes."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, (255, 255, 255), cv2.FILLED)
    return image, [[x - radius, y - radius, x + radius + 1, y + radius + 1] for x, y, radius in discs]
