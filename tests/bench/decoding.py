"""`python tests/bench/decoding.py`: what a 1080p driving frame costs before the networks, in CPU time, on one core.

Decoding, conversion to RGB and resizing to 256x256 as `fomm animate` does them, and in the place of the latter two
FFmpeg's filters, which crop, convert and resize at once. Frames are also compared with the exact result: area averages
of the decoded planes, converted without rounding.
"""

import itertools
import pathlib
import tempfile
import time

import av
import harness
import numpy as np
from av.video import reformatter

from fomm_tf import video
from fomm_tf.inference import scenes
from fomm_tf.opencv import cv2
from fomm_tf.video import color, decoding, timing

FULL_HD, SIDE = (1080, 1920), 256
LEFT = (FULL_HD[1] - FULL_HD[0]) // 2
_REFORMATTER = reformatter.VideoReformatter()
KEPT = 8  # decoded frames in memory


def decode(path):
    """Counts the frames that one thread decodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def convert_exactly(frame):
    """A whole frame as RGB, rounded to the nearest level."""
    options = {"interpolation": color._SCALED | reformatter.Interpolation.ACCURATE_RND, "threads": 1}
    return _REFORMATTER.reformat(frame, frame.width, frame.height, "rgb24", **options).to_ndarray()


def filtered(frames):
    """The frames from FFmpeg's filters, `[N, 256, 256, 3]`."""
    graph, first = av.filter.Graph(), frames[0]
    graph.threads = 1
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=timing.CLOCK)
    scale = f"w={SIDE}:h={SIDE}:flags=area+full_chroma_int+accurate_rnd:in_color_matrix=bt709:in_range=tv"
    steps = [
        ("crop", f"w={first.height}:h={first.height}:x={LEFT}:y=0"),
        ("scale", scale),
        ("format", "pix_fmts=rgb24"),
    ]
    graph.link_nodes(source, *(graph.add(*step) for step in steps), graph.add("buffersink")).configure()
    results = []
    for frame in frames:
        tags = color.read_tags(frame)
        color.set_tags(frame, color.Tags())
        graph.vpush(frame)
        color.set_tags(frame, tags)
        results.append(graph.vpull().to_ndarray())
    return np.stack(results)


def area_weights(size):
    """How `size` pixels are averaged to 256: `[256, size]`."""
    edges = np.arange(SIDE + 1)[:, np.newaxis] * size / SIDE
    inside = np.minimum(edges[1:], np.arange(1, size + 1)) - np.maximum(edges[:-1], np.arange(size))
    return inside.clip(0) * SIDE / size


def exact(frame):
    """The result without rounding, of a frame in 4:2:0, limited range, BT.709: `[256, 256, 3]` float."""
    planes = []
    for plane, low, span in zip(frame.planes, (16, 128, 128), (219, 224, 224), strict=True):
        pixels = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        left = LEFT * plane.height // FULL_HD[0]
        weights = area_weights(plane.height)
        planes.append((weights @ pixels[:, left : left + plane.height] @ weights.T - low) * 255 / span)
    y, u, v = planes
    return np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], axis=-1)


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--frames", type=int, default=40, help="of the video (default: %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "driving.mp4"
        harness.write_drifting_noise(path, arguments.frames, FULL_HD, grain_channels=1)
        probed = decoding.probe(path)
        frames = [timed.frame for timed in itertools.islice(decoding._read(path, probed), KEPT)]
        convert, watch = color.RgbConverter(probed.size), scenes.Scenes("restart")
        rgb = [convert(frame) for frame in frames]
        parts = {
            "decode": lambda: decode(path),
            "convert to RGB": lambda: len([convert(frame) for frame in frames]),
            "convert with exact rounding": lambda: len([convert_exactly(frame) for frame in frames]),
            "find cuts": lambda: len(list(watch.watch(rgb))),
            "crop and resize": lambda: len([video.resize(frame, (SIDE, SIDE)) for frame in rgb]),
            "filters: crop, convert, resize": lambda: len(filtered(frames)),
        }
        milliseconds = {name: [] for name in parts}
        for number in range(arguments.rounds + 1):
            for name, part in parts.items():
                begin = time.process_time()
                count = part()
                if number:
                    milliseconds[name].append(1000 * (time.process_time() - begin) / count)
    for name, each in milliseconds.items():
        print(f"{name:32} {np.median(each):6.2f} ms of CPU time a frame ({min(each):.2f} to {max(each):.2f})")
    today = np.stack([video.resize(frame, (SIDE, SIDE)) for frame in rgb]).astype(float)
    truth, other = np.stack([exact(frame) for frame in frames]), filtered(frames).astype(float)
    for name, error in (("today", today - truth), ("filters", other - truth), ("filters against today", other - today)):
        print(f"{name:32} mean error {error.mean():+.2f} gray levels, at most {np.abs(error).max():.1f}")


if __name__ == "__main__":
    main()
