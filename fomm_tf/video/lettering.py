"""Words as pictures."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_INK = (30, 30, 30)


def letter(text: str, height: int, longest: int) -> np.ndarray:
    """A line of text, dark on white, in Pillow's own font.

    Args:
      text: what does not fit is cut off and ends in an ellipsis.
      height: of the picture, in pixels; the letters take two thirds of it.
      longest: greatest width, in pixels.

    Returns:
      `[height, W, 3]` uint8, as wide as the text, W at most `longest`.
    """
    font = ImageFont.load_default(max(1, height * 2 // 3))
    shown = text = " ".join(text.split())
    while text and font.getlength(shown) > longest:
        text = text[:-1]
        shown = f"{text.rstrip()}…" if text else ""
    image = Image.new("RGB", (max(1, min(longest, round(font.getlength(shown)))), height), "white")
    ImageDraw.Draw(image).text((0, height / 2), shown, _INK, font, anchor="lm")
    return np.array(image)
