"""Filters between decoder and color conversion: deinterlacing, and turning upright, by FFmpeg's filters.

Frames that need neither do not pass through a filter graph.
"""

import collections
import contextlib
from collections.abc import Iterator

import av
import numpy as np

from fomm_tf.video import color, timing

# A filter's name and arguments.
Filter = tuple[str, str]

# One frame for each frame, and only where a frame is marked as interlaced.
_DEINTERLACE: Filter = ("bwdif", "mode=send_frame:deint=interlaced")
# bwdif's smallest frame.
_DEINTERLACE_MIN_SIDE = 4
_Waiting = collections.deque[tuple[timing.TimedFrame, color.Tags]]
# By quarter turns, counterclockwise.
_ROTATIONS = ((), (("transpose", "dir=cclock"),), (("hflip", ""), ("vflip", "")), (("transpose", "dir=clock"),))
# transpose's direction by whether columns and rows are flipped after the transposition.
_TRANSPOSE = {
    (False, False): "cclock_flip",
    (True, False): "clock",
    (False, True): "cclock",
    (True, True): "clock_flip",
}


def orientation_filters(frame: av.VideoFrame) -> tuple[Filter, ...]:
    """The filters that put a frame upright, from its display matrix: any of eight orientations.

    The matrix ((a, b), (c, d)) takes (x, y) to (a x + c y, b x + d y), y down; other angles are rounded.
    """
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know the type of some other side data
        return _ROTATIONS[round(frame.rotation / 90) % 4]
    if side_data is None:
        return ()
    a, b, _, c, d, *_ = np.frombuffer(side_data, np.int32)
    if max(abs(b), abs(c)) > max(abs(a), abs(d)):
        return (("transpose", f"dir={_TRANSPOSE[bool(c < 0), bool(b < 0)]}"),)
    return (("hflip", ""),) * bool(a < 0) + (("vflip", ""),) * bool(d < 0)


def is_transposed(filters: tuple[Filter, ...]) -> bool:
    """Whether width and height are swapped."""
    return any(name == "transpose" for name, _ in filters)


def apply(frames: Iterator[timing.TimedFrame], orientation: tuple[Filter, ...]) -> Iterator[timing.TimedFrame]:
    """Deinterlaces frames from the first interlaced one on, and puts all upright.

    Args:
      frames: decoded frames.
      orientation: from `orientation_filters`.
    """
    graph, key, interlaced = None, None, False
    waiting = collections.deque()  # what is in the graph: bwdif holds one frame back
    for timed in frames:
        frame = timed.frame
        interlaced = interlaced or (frame.interlaced_frame and min(frame.width, frame.height) >= _DEINTERLACE_MIN_SIDE)
        chain = (_DEINTERLACE,) * interlaced + orientation
        if not chain:
            yield timed
            continue
        if frame.format.has_palette:  # no filter takes it
            frame = frame.reformat(format="rgba", threads=color.SCALER_THREADS)
        new_key = (chain, frame.width, frame.height, frame.format.name)
        if key != new_key:
            yield from _finish(graph, waiting)
            graph, key = _build(frame, chain), new_key
        waiting.append((timed, color.read_tags(frame)))
        # A filter may need another pixel format, and FFmpeg would convert tagged frames to another matrix with it.
        color.set_tags(frame, color.Tags())
        graph.vpush(frame)
        yield from _pull(graph, waiting)
    yield from _finish(graph, waiting)


def _build(frame: av.VideoFrame, chain: tuple[Filter, ...]) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or timing.CLOCK
    )
    graph.link_nodes(source, *(graph.add(*step) for step in chain), graph.add("buffersink")).configure()
    return graph


def _pull(graph: av.filter.Graph, waiting: _Waiting) -> Iterator[timing.TimedFrame]:
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            frame = graph.vpull()
            timed, tags = waiting.popleft()
            color.set_tags(frame, tags)
            yield timed._replace(frame=frame)


def _finish(graph: av.filter.Graph | None, waiting: _Waiting) -> Iterator[timing.TimedFrame]:
    if graph is not None:
        graph.vpush(None)
        yield from _pull(graph, waiting)
