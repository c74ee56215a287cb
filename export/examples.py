"""Drawn inputs: a request for each signature of a SavedModel, and clips for calibration."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fomm_tf import config
from fomm_tf.data import frames as frames_of
from fomm_tf.data import puppets

Requests = dict[str, dict[str, tf.Tensor]]


def draw(size: tuple[int, int], count: int, seed: int = 5, character: int | None = None) -> np.ndarray:
    """Draws a clip, `[count, H, W, 3]` uint8; odd seeds occur in test sets only. `character` is the head's seed."""
    identity = puppets.sample_identity(seed if character is None else character, portrait=True)
    poses = puppets.sample_motion(seed, count, portrait=True)
    return np.stack([puppets.draw(identity, pose, tuple(size)) for pose in poses])


def calibration(settings: config.Config, clips: int = 24, count: int = 4) -> list[np.ndarray]:
    """Clips `[count, H, W, 3]` float32 in [0, 1] to calibrate 8-bit quantization on.

    Args:
      settings: the run's config; its test clips are read if `data.root` exists, else clips are drawn.
      clips: the largest number of clips.
      count: the largest number of frames of each.
    """
    size = settings.model.frame_size
    if not pathlib.Path(settings.data.root).is_dir():
        return [np.float32(draw(size, count, seed=2 * number)) / 255 for number in range(clips)]
    data = settings.data
    index = frames_of.load(data.root, "test", size, cache=data.cache, test_share=data.test_share, seed=data.split_seed)
    chosen = [index.clips[number] for number in _spread(len(index.clips), clips)]
    return [np.float32([clip.frame(number) for number in _spread(len(clip), count)]) / 255 for clip in chosen]


def _spread(length: int, count: int) -> list[int]:
    """At most `count` indices, evenly spread over `range(length)`."""
    return np.unique(np.linspace(0, length - 1, count).astype(int)).tolist()


def make(signatures: Mapping[str, tf.types.experimental.ConcreteFunction], count: int) -> Requests:
    """Builds one request per signature: the second frame of a drawn clip, animated by the clip in relative mode.

    Args:
      signatures: of the model; the requests of later stages come from the outputs of the first ones.
      count: frames of the clip, at least 2.
    """
    size = signatures["detect"].structured_input_signature[1]["frames"].shape[1:3]
    clip = tf.constant(draw(size, count))
    forms = {
        "": tf.cast(clip, tf.float32) / 255,
        "_uint8": clip,
        "_jpeg": tf.stack([tf.io.encode_jpeg(frame, quality=95) for frame in clip]),
    }
    keypoints = signatures["detect"](frames=forms[""])
    encoded = signatures["encode_source"](source=forms[""][1:2])
    initial = {f"initial_{name}": tensor[:1] for name, tensor in keypoints.items()}
    switches = {"relative": tf.constant([True]), "adapt_scale": tf.constant([False])}
    transfer = {f"driving_{name}": tensor[tf.newaxis] for name, tensor in keypoints.items()} | initial | switches
    transfer |= {f"source_{name}": encoded[f"source_{name}"] for name in keypoints}
    render = encoded | signatures["transfer"](**transfer)
    requests = {"transfer": transfer, "render": render, "render_details": render}
    requests["metadata"] = {"request": tf.constant([""])}
    for suffix, frames in forms.items():
        source, unused = frames[1:2], {"use_initial": tf.constant([False])} | initial | switches
        requests["detect" + suffix] = {"frames": frames}
        requests["encode_source" + suffix] = {"source": source}
        requests["animate" + suffix] = {"source": source, "driving": frames[tf.newaxis]} | unused
    requests["serving_default"] = {name: requests["animate_jpeg"][name] for name in ("source", "driving")}
    return requests
