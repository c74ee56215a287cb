"""OpenCV, or one line that says why it does not load: `from fomm_tf.opencv import cv2`."""

from fomm_tf import errors

try:
    import cv2
except ImportError as error:
    raise errors.UserError(
        f"OpenCV does not load ({error}); install the system packages libgl1 and libglib2.0-0, or put the package "
        "opencv-python-headless in the place of opencv-python."
    ) from error

__all__ = ["cv2"]
