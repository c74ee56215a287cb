"""Image and video files <-> uint8 RGB NumPy frames, streaming. No TensorFlow.

Convention:
  * a frame or image is `[H, W, 3]` uint8, sRGB, upright, with square pixels, progressive; transparent areas are white,
    as in most viewers: `color` and `filters` say how;
  * a size is `(H, W)`; times are seconds from the first frame of the video track;
  * a video has a constant frame rate: `timing` says how a variable one is converted;
  * output files are written atomically: they appear complete or not at all.

PyAV reads and writes videos; Pillow reads and writes images (it reads their size before decoding, EXIF, palettes and
16 bits) and reads animated WebP, PNG and AVIF; OpenCV resizes.
"""

from fomm_tf.video.animations import is_animated_file as is_animated
from fomm_tf.video.frames import draw_text, resize, to_uint8
from fomm_tf.video.images import (
    MAX_PIXELS,
    ImageLike,
    as_frame,
    check_image_output,
    declared_size,
    read_image,
    write_image,
)
from fomm_tf.video.reading import Video, VideoNote, is_image_name, is_video, is_video_name, open_still, open_video
from fomm_tf.video.timing import DEFAULT_FPS
from fomm_tf.video.writing import SUFFIXES, VideoWriter, check_output, is_still_output, write_video

__all__ = [
    "DEFAULT_FPS",
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageLike",
    "Video",
    "VideoNote",
    "VideoWriter",
    "as_frame",
    "check_image_output",
    "check_output",
    "declared_size",
    "draw_text",
    "is_animated",
    "is_image_name",
    "is_still_output",
    "is_video",
    "is_video_name",
    "open_still",
    "open_video",
    "read_image",
    "resize",
    "to_uint8",
    "write_image",
    "write_video",
]
