"""Frames in memory: conversion to uint8, resizing, and text as an image."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fomm_tf import errors

# Float images may exceed [0, 1] by a rounding error: a quarter of a gray level.
_SLACK = 0.25 / 255
_TEXT_COLOR = (30, 30, 30)


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Converts frames of any shape to uint8: uint8 is returned as it is, floats in [0, 1] are scaled and rounded.

    Raises:
      UserError: if a float is not finite or outside [0, 1], or if the dtype is neither uint8 nor float.
    """
    frames = np.asarray(frames)
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise errors.UserError(f"frames must be uint8 or float in [0, 1]; got {frames.dtype}.")
    low, high = frames.min(initial=0), frames.max(initial=0)
    if not np.isfinite(low + high):
        raise errors.UserError("frames must be uint8 or float in [0, 1]; got NaN or infinity.")
    if low < -_SLACK or high > 1 + _SLACK:
        raise errors.UserError(f"float frames must be in [0, 1]; got {low:g} to {high:g}.")
    return np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def resize(frame: np.ndarray, size: tuple[int, int], fit: str = "crop") -> np.ndarray:
    """Resizes a frame, with area interpolation where it shrinks and linear interpolation where it grows.

    Args:
      frame: `[H, W, 3]` uint8 or float32.
      size: target `(H, W)`.
      fit: `crop` fills the size and crops around the center; `pad` keeps the whole frame, centered between black
        bars; `stretch` changes the aspect ratio.

    Returns:
      `[*size, 3]`, dtype of `frame`; `frame` itself if it has that size.

    Raises:
      UserError: if `fit` is unknown, or if OpenCV lacks a system library.
    """
    if frame.shape[:2] == tuple(size):
        return frame
    height, width = frame.shape[:2]
    if fit == "stretch":
        return _scale(frame, size)
    if fit == "crop":
        scale = max(size[0] / height, size[1] / width)
        inner = (min(height, max(1, round(size[0] / scale))), min(width, max(1, round(size[1] / scale))))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        return _scale(frame[top : top + inner[0], left : left + inner[1]], size)
    if fit == "pad":
        scale = min(size[0] / height, size[1] / width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        padded = np.zeros((*size, 3), frame.dtype)
        padded[top : top + inner[0], left : left + inner[1]] = _scale(frame, inner)
        return padded
    raise errors.UserError(f"fit must be crop, pad or stretch; got {fit!r}.")


def _scale(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from fomm_tf.opencv import cv2  # reading and writing work without OpenCV, whose system libraries may be missing

    # One axis may shrink while the other grows, but INTER_AREA averages only where both shrink.
    smaller = (min(size[0], frame.shape[0]), min(size[1], frame.shape[1]))
    frame = cv2.resize(frame, smaller[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(frame, tuple(size)[::-1], interpolation=cv2.INTER_LINEAR)


def draw_text(text: str, height: int, max_width: int) -> np.ndarray:
    """Draws a line of text, dark on white, in Pillow's default font.

    Args:
      text: truncated with an ellipsis if it does not fit.
      height: of the image, in pixels; the font size is two thirds of it.
      max_width: in pixels.

    Returns:
      `[height, W, 3]` uint8, as wide as the text, W at most `max_width`.
    """
    font = ImageFont.load_default(max(1, height * 2 // 3))
    line = text = " ".join(text.split())
    while text and font.getlength(line) > max_width:
        text = text[:-1]
        line = f"{text.rstrip()}…" if text else ""
    image = Image.new("RGB", (max(1, min(max_width, round(font.getlength(line)))), height), "white")
    ImageDraw.Draw(image).text((0, height / 2), line, _TEXT_COLOR, font, anchor="lm")
    return np.array(image)
