"""What a camera does to a picture: contrast, color, blur, noise, and JPEG."""

from __future__ import annotations

import numpy as np

from fomm_tf.data.people.scene import Scene
from fomm_tf.opencv import cv2


def expose(image: np.ndarray, scene: Scene, random: np.random.Generator) -> np.ndarray:
    """Applies a scene's camera settings.

    Args:
      image: `[S, S, 3]` float32 sRGB in [0, 1].
      scene: contrast, tint, noise, and so on.
      random: of this frame's noise.

    Returns:
      `[S, S, 3]` uint8 RGB.
    """
    image = image * scene.tint
    gray = image @ np.float32([0.299, 0.587, 0.114])
    image = gray[..., None] + scene.saturation * (image - gray[..., None])
    image = np.clip(0.5 + scene.contrast * (image - 0.5), 0, 1) ** np.float32(scene.gamma)
    sigma = scene.blur * image.shape[0]
    if sigma > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if scene.noise:
        # Neighboring pixels share noise, as after demosaicing and compression.
        grain = random.normal(size=image.shape).astype(np.float32)
        grain = 0.7 * grain + 0.6 * cv2.GaussianBlur(grain, (0, 0), 0.8)
        image = image + scene.noise * grain
    result = (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)
    if scene.quality:
        options = [cv2.IMWRITE_JPEG_QUALITY, scene.quality]
        _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(result[..., ::-1]), options)
        result = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    return result
