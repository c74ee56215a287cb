"""Files of the heads that `fomm demo` draws, as inputs of commands."""

from fomm_tf import demo, video


def write_clip(path, size, count):
    """Writes a driving clip of `count` frames, `size` x `size`, at 25 frames per second: a video, or a directory."""
    with video.write_video(path, 25) as writer:
        for frame in demo.draw_clip(size, count):
            writer.write(frame)


def write_inputs(folder, size, count, clip="driving"):
    """Writes `source.png` and a driving clip of the same size to a directory."""
    video.write_image(folder / "source.png", demo.draw_image(size))
    write_clip(folder / clip, size, count)
