"""Animates bundled images by a bundled video, without downloads."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from fomm_tf import files, model_folders, video, visualize

_ASSETS = pathlib.Path(__file__).parent / "assets" / "demo"
# A photo, and two rendered people whom no model was trained on.
SOURCES = tuple(str(_ASSETS / f"{name}.jpg") for name in ("astronaut", "person-1", "person-2"))
DRIVING = str(_ASSETS / "driving.mp4")
# Side of the cells of the gif, in pixels.
_GIF_SIDE = 160


def run(folder: str | None, output: pathlib.Path, sources: Sequence[str], driving: str) -> Iterator[str]:
    """Animates images by a video, side by side, and draws the detected keypoints of the first image.

    Args:
      folder: the model's directory; None for the bundled model.
      output: directory to write to.
      sources: paths of the images.
      driving: path of the video.

    Yields:
      Lines about the outputs.

    Raises:
      errors.UserError: if `folder` is not a model directory, an input cannot be read, or the output not be written.
    """
    from fomm_tf.inference import animate, animator

    inputs = files.Inputs([driving, *sources])
    inputs.check(output)
    images = [video.read_image(source) for source in sources]
    model = animator.Animator.load(folder or model_folders.BUNDLED)
    yield f"device: {model.engine.device()}"
    height, width = model.config.model.frame_size
    fitted = [video.resize(image, (height, width)) for image in images]
    names = [f"source-{number}.png" for number in range(1, len(images) + 1)]
    for name, image in zip(names, images, strict=True):
        video.write_image(output / name, image)

    animations = [model.animate(image, driving) for image in images]
    grid, gif = output / "animated.mp4", output / "animated.gif"
    count, fps = 0, video.open_video(driving).fps
    with video.write_video(grid, fps) as movie, video.write_video(gif, fps / 2) as small:
        for count, (frame, *results) in enumerate(zip(video.open_video(driving), *animations, strict=True), 1):
            cells = [video.resize(frame, (height, width)), *map(video.to_uint8, results)]
            above = [np.full_like(cells[0], 255), *fitted]
            movie.write(_join(above, cells))
            if count % 2:
                above, cells = ([video.resize(cell, (_GIF_SIDE, _GIF_SIDE)) for cell in row] for row in (above, cells))
                small.write(_join(above, cells))
    yield f"{grid}: {len(images)} images, and below them the driving video and the results, {count} frames"
    yield f"{gif}: the same, smaller"

    keypoints = model.detect(fitted[0][np.newaxis]).frame(0)
    large = video.resize(images[0], (2 * height, 2 * width))
    video.write_image(output / "keypoints.png", visualize.draw_keypoints(large, *keypoints))
    contents = keypoints.map(lambda part: np.asarray(part).tolist())._asdict()
    files.write_json(output / "keypoints.json", contents)
    yield (
        f"{output / 'keypoints.png'}: the first image with its {len(keypoints.value)} keypoints "
        f"({output / 'keypoints.json'})"
    )
    if model.engine.has_details:
        target = animate.Output(str(output / "animated-1.mp4"), visualize=str(output / "visualize"))
        animate.animate_file(model, str(output / names[0]), video.open_video(driving), target, model.config.animate)
        yield f"{output / 'visualize'}: intermediate results of the model for the first image (see overview.png)"


def _join(above: Sequence[np.ndarray], below: Sequence[np.ndarray]) -> np.ndarray:
    """Two rows of cells as one image."""
    return np.vstack([np.hstack(row) for row in (above, below)])
