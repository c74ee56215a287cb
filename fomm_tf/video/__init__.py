"""Files <-> uint8 RGB numpy frames, streaming: the only user of PyAV, Pillow and OpenCV. No TensorFlow.

Convention:
  * a frame or picture is `[H, W, 3]` uint8, RGB, upright (rotation metadata and EXIF orientation are applied), with
    square pixels; what is transparent shows white, as in most viewers;
  * a size is `(H, W)`; times are seconds from the first frame of the video track;
  * a video has a constant rate: see `fomm_tf.video.decoding` for what becomes of a variable one;
  * a file that is written appears under its name complete or not at all.

PyAV reads and writes videos, Pillow pictures (it knows their size before decoding them, EXIF, palettes and 16 bit),
OpenCV resizes.
"""

from fomm_tf.video.lettering import letter
from fomm_tf.video.pictures import (
    MAX_PIXELS,
    ImageLike,
    as_frame,
    check_picture,
    read_image,
    resize,
    to_uint8,
    write_image,
)
from fomm_tf.video.reading import DEFAULT_FPS, Video, open_video
from fomm_tf.video.writing import SUFFIXES, VideoWriter, check_output, write_video

__all__ = [
    "DEFAULT_FPS",
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageLike",
    "Video",
    "VideoWriter",
    "as_frame",
    "check_output",
    "check_picture",
    "letter",
    "open_video",
    "read_image",
    "resize",
    "to_uint8",
    "write_image",
    "write_video",
]
