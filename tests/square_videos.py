"""Small videos of a white square, and `fomm prepare` with a detector that finds it."""

import hashlib

import numpy as np

from fomm_tf import cli, video

ARGUMENTS = ["--crop", "finders:find_white", "--size", "32", "--margin", "1.5", "--min-frames", "8", "--format", "png"]


def draw_scene(number):
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 200, (6, 10, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def draw_frames(count, scene=0, left=40, top=32, step=0.0, side=32):
    for number in range(count):
        frame = draw_scene(scene)
        column = round((left + step * number) / 4) * 4
        frame[top : top + side, column : column + side] = 255
        yield frame


def write_parts(path, *parts):
    """A video from iterables of frames; as png if the name has no suffix, so that its pixels are known."""
    with video.write_video(path, 25) as writer:
        for part in parts:
            for frame in part:
                writer.write(frame)
    return path


def write_noise(folder, counts):
    """Videos of noise of 40x48, which hold so many frames each: name -> number."""
    random = np.random.default_rng(0)
    for name, count in counts.items():
        write_parts(folder / f"{name}.mp4", random.integers(0, 256, [count, 40, 48, 3], np.uint8))
    return folder


def prepare(out, *arguments):
    return cli.main(["prepare", "--out", str(out), *ARGUMENTS, *map(str, arguments)])


def read_contents(folder):
    """Every file that is not a lock, by its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def list_clips(out):
    return sorted(path.relative_to(out).as_posix() for path in out.glob("t*/[!.]*"))
