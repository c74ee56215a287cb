"""OpenCV, or a one-line error if it cannot be loaded: `from fomm_tf.opencv import cv2`."""

from fomm_tf import errors

try:
    import cv2
except ImportError as error:
    raise errors.UserError(
        f"OpenCV cannot be loaded ({error}); install the system packages libgl1 and libglib2.0-0, or replace "
        "the package opencv-python by opencv-python-headless."
    ) from error

__all__ = ["cv2"]
