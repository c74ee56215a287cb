"""How visible the border of a square is in an image."""

import numpy as np


def seam_gradients(image, square):
    """Mean change of gray levels across the square's border, and in strips of 8 pixels on either side of it.

    A border that lies on the image's edge has no seam.
    """
    seam, around = [], []
    gray = image.astype(float).mean(axis=-1)
    for turned, start, first in ((gray, square.left, square.top), (gray.T, square.top, square.left)):
        steps = np.abs(np.diff(turned[max(first, 0) : first + square.side], axis=1))
        for border in (start, start + square.side):
            if 0 < border < turned.shape[1]:
                seam.append(steps[:, border - 1])
                around += [steps[:, border - 9 : border - 1], steps[:, border : border + 8]]
    return np.mean(np.concatenate(seam)), np.mean(np.concatenate(around, axis=1))
