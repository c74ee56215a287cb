"""Writes frames one by one to a video file or a directory of images."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from fomm_tf import errors, files
from fomm_tf.video import animations, audio, color, frames, images, reading


class _Format(NamedTuple):
    """Encoder settings of a container.

    Attributes:
      codec, options: the video encoder's.
      muxer: options of the container.
      even: whether the encoder needs even sides; the last row or column of an odd side is repeated.
      copied, audio: audio codecs that the container can hold and browsers play, and the encoder for others; None for
        a container without audio.
      pixels: the encoder's pixel format; YUV is in BT.709.
    """

    codec: str
    options: dict[str, str]
    muxer: dict[str, str]
    even: bool
    copied: set[str]
    audio: str | None
    pixels: str = "yuv420p"


# crf 18 and 24 are visually lossless. faststart puts the index first, so that browsers can play while they download.
# cpu-independent: x264's vector code for mbtree reads uninitialized memory otherwise, and bytes may differ.
_H264 = _Format(
    "libx264",
    {"crf": "18", "x264-params": "cpu-independent=1"},
    {"movflags": "+faststart"},
    True,
    {"aac", "mp3"},
    "aac",
)
_VP9 = _Format(
    "libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}, {}, False, {"opus", "vorbis"}, "libopus"
)
# The encoder converts the colors, as WebP prescribes them.
_WEBP = _Format("libwebp_anim", {"quality": "90"}, {"loop": "0"}, False, set(), None, "bgra")
_CONTAINERS = {".mp4": _H264, ".mov": _H264, ".webm": _VP9, ".webp": _WEBP}
SUFFIXES = (*_CONTAINERS, ".gif")

# Viewers show gif frames of 1/100 s for 1/10 s.
_GIF_MAX_FPS = 50


class VideoWriter:
    """Takes frames one by one; see `write_video`."""

    def __init__(self, path: Path, tag: str | None) -> None:
        self._path, self._tag = path, tag
        self._size: tuple[int, int] | None = None
        self._container: av.container.OutputContainer | None = None
        self.count = 0

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame.

        Args:
          frame: `[H, W, 3]` uint8, or float in [0, 1]; the same size for all frames.

        Raises:
          UserError: if a float is not finite or outside [0, 1].
          ValueError: if the shape differs from that of the first frame.
        """
        frame = np.ascontiguousarray(frames.to_uint8(frame))
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"frame must be [H, W, 3]; got {list(frame.shape)}.")
        if self._size is None:
            self._size = frame.shape[:2]
            self._open(*self._size)
        if frame.shape[:2] != self._size:
            raise ValueError(f"frame must be {list(self._size)} as the first one; got {list(frame.shape[:2])}.")
        self._append(frame)
        self.count += 1

    def finish(self) -> None:
        """Flushes the encoder and completes the file."""
        if self._size is None:
            raise errors.UserError(f"no frames for {self._path}; give at least one.")

    def close(self) -> None:
        """Closes the files, complete or not."""
        if self._container is not None:
            self._container.close()

    def _open(self, height: int, width: int) -> None:
        raise NotImplementedError

    def _append(self, frame: np.ndarray) -> None:
        raise NotImplementedError


class _DirectoryWriter(VideoWriter):
    """Lossless: 00000.png, 00001.png, ..."""

    def _open(self, height: int, width: int) -> None:
        self._path.mkdir()

    def _append(self, frame: np.ndarray) -> None:
        images.save_image(self._path / f"{self.count:05d}.png", frame, self._tag)


class _ContainerWriter(VideoWriter):
    def __init__(self, path: Path, fps: Fraction, audio_from: Path | None, audio_start: float, tag: str | None) -> None:
        super().__init__(path, tag)
        self._format, self._fps = _CONTAINERS[path.suffix.lower()], fps
        self._audio_from, self._audio_start, self._audio = audio_from, audio_start, None

    def _open(self, height: int, width: int) -> None:
        self._container = av.open(str(self._path), "w", options=self._format.muxer)
        if self._tag:
            self._container.metadata["comment"] = self._tag
        self._padding = (height % 2, width % 2) if self._format.even else (0, 0)
        self._stream = self._container.add_stream(self._format.codec, rate=self._fps, options=self._format.options)
        self._stream.height, self._stream.width = height + self._padding[0], width + self._padding[1]
        self._stream.pix_fmt = self._format.pixels
        if self._format is _WEBP:
            return
        # H.264 and VP9 in BT.709, and tagged as such: players guess the matrix of an untagged file from its size.
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = color.BT709
        context.color_range = color.LIMITED_RANGE
        if self._audio_from is not None:
            self._audio = audio.AudioTrack(
                self._audio_from, self._audio_start, self._container, self._format.copied, self._format.audio
            )

    def _append(self, frame: np.ndarray) -> None:
        if any(self._padding):
            frame = np.pad(frame, [(0, padding) for padding in (*self._padding, 0)], mode="edge")
        encoded = av.VideoFrame.from_ndarray(frame, "rgb24")
        is_rgb = self._format.pixels == "bgra"
        encoded = encoded.reformat(
            format=self._format.pixels,
            dst_colorspace=None if is_rgb else color.BT709,
            dst_color_range=None if is_rgb else color.LIMITED_RANGE,
            threads=color.SCALER_THREADS,
        )
        encoded.pts, encoded.time_base = self.count, 1 / self._fps
        self._container.mux(self._stream.encode(encoded))
        if self._audio is not None:
            self._audio.advance(float((self.count + 1) / self._fps))

    def finish(self) -> None:
        super().finish()
        self._container.mux(self._stream.encode(None))
        if self._audio is not None:
            self._audio.finish()
        self._container.close()
        if self._format is _WEBP and self._tag:
            animations.add_webp_comment(self._path, self._tag)

    def close(self) -> None:
        if self._audio is not None:
            self._audio.close()
        super().close()


class _GifWriter(VideoWriter):
    """Uses one palette per frame: a global one would need all frames in memory."""

    def __init__(self, path: Path, fps: Fraction, tag: str | None) -> None:
        super().__init__(path, tag)
        self._fps = fps

    def _open(self, height: int, width: int) -> None:
        self._rate = min(self._fps, Fraction(_GIF_MAX_FPS))
        self._place = -1
        self._container = av.open(str(self._path), "w")
        self._stream = self._container.add_stream("gif", rate=self._rate)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "pal8"
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / self._rate
        )
        split, generate = self._graph.add("split"), self._graph.add("palettegen", "stats_mode=single")
        use = self._graph.add("paletteuse", "new=1")
        self._graph.link_nodes(source, split, generate)
        split.link_to(use, 1, 0)
        generate.link_to(use, 0, 1)
        self._graph.link_nodes(use, self._graph.add("buffersink")).configure()

    def _append(self, frame: np.ndarray) -> None:
        place = int(self.count * self._rate / self._fps)
        if place == self._place:
            return
        self._place = place
        encoded = av.VideoFrame.from_ndarray(frame, "rgb24")
        encoded.pts, encoded.time_base = place, 1 / self._rate
        self._graph.vpush(encoded)
        self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                self._container.mux(self._stream.encode(self._graph.vpull()))

    def finish(self) -> None:
        super().finish()
        self._graph.vpush(None)
        self._drain()
        self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._tag:
            animations.add_gif_comment(self._path, self._tag)


def _is_directory_path(path: str | Path) -> bool:
    return os.fspath(path).endswith(("/", os.sep)) or not Path(path).suffix


def check_output(path: str | Path, *inputs: str | Path | None) -> None:
    """Checks an output path as `write_video` does; call it before anything is read.

    Args:
      path: the output.
      inputs: what must not be replaced; see `fomm_tf.files.check_output`.

    Raises:
      UserError: if the suffix is unknown, if something else exists at the path, or if an input would be replaced.
    """
    files.check_output(path, *inputs)
    target = Path(path)
    if _is_directory_path(path):
        if target.is_dir() and any(not (file.stem.isdecimal() and file.suffix == ".png") for file in target.iterdir()):
            raise errors.UserError(f"{target} holds other files than numbered frames; give a new directory.")
        if target.exists() and not target.is_dir():
            raise errors.UserError(
                f"{target} is a file; give a directory, or a file name that ends in {', '.join(SUFFIXES)}."
            )
        return
    if target.suffix.lower() not in SUFFIXES:
        known = f"{', '.join(SUFFIXES)}, or no suffix for a directory of png frames"
        raise errors.UserError(f"{target}: the suffix of a video must be one of {known}; got {target.suffix!r}.")
    if target.is_dir():
        raise errors.UserError(f"{target} is a directory; give a file name.")


@contextlib.contextmanager
def write_video(
    path: str | Path,
    fps: float | Fraction,
    *,
    audio_from: str | Path | None = None,
    audio_start: float = 0.0,
    tag: str | None = None,
) -> Iterator[VideoWriter]:
    """Writes a video atomically: it appears at `path` if the block succeeds, and not at all otherwise.

    Args:
      path: .mp4 and .mov (H.264, yuv420p, plays in browsers; the last row or column of an odd side is repeated),
        .webm (VP9), .webp (animated, repeated without end), .gif (one palette per frame, at most 50 frames per second);
        without a suffix, or with a trailing slash, a directory of png frames, lossless. An existing file or directory
        is replaced.
      fps: frames per second.
      audio_from: a file whose audio is added, for the duration of the frames; ignored if it has none, or if a gif,
        a webp or a directory is written. Copied if the container can hold its codec, transcoded otherwise.
      audio_start: seconds from the start of that file's video.
      tag: text for the file's comment.

    Yields:
      The writer, with `write(frame)`.

    Raises:
      UserError: if the path or the rate is invalid, no frame was written, `audio_from` cannot be read, or the disk is
        full.
    """
    check_output(path)
    fps = reading.frame_rate(fps)
    audio_from = None if audio_from is None else Path(audio_from)
    if audio_from is not None and not audio_from.is_dir():
        files.check_output(path, audio_from)
        files.check_readable(audio_from)
    with files.replace_atomically(Path(path)) as temporary:
        if _is_directory_path(path):
            writer = _DirectoryWriter(temporary, tag)
        elif temporary.suffix.lower() == ".gif":
            writer = _GifWriter(temporary, fps, tag)
        else:
            writer = _ContainerWriter(temporary, fps, audio_from, audio_start, tag)
        try:
            yield writer
            writer.finish()
        finally:
            # Closing writes the end of the file, which fails if something before failed.
            with contextlib.suppress(av.FFmpegError):
                writer.close()


def is_still_output(path: str | Path) -> bool:
    """Whether the suffix is that of one image; .webp may also be an animation."""
    return Path(path).suffix.lower() in images.STILL_SUFFIXES and Path(path).suffix.lower() not in SUFFIXES
