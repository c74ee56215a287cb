"""A drawn request for each signature: what warm-up, verification and compatibility checks send."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fomm_tf import config
from fomm_tf.data import frames as frames_of
from fomm_tf.data import puppets

Requests = dict[str, dict[str, tf.Tensor]]


def draw(size: tuple[int, int], count: int, seed: int = 5) -> np.ndarray:
    """A drawn clip, `[count, H, W, 3]` uint8; odd seeds are of test sets alone."""
    identity = puppets.sample_identity(seed, portrait=True)
    poses = puppets.sample_motion(seed, count, portrait=True)
    return np.stack([puppets.draw(identity, pose, tuple(size)) for pose in poses])


def calibration(settings: config.Config, clips: int = 24, count: int = 4) -> list[np.ndarray]:
    """Clips `[count, H, W, 3]` float32 in [0, 1] to calibrate 8 bits on: the run's own test clips, else drawn ones.

    Args:
      settings: the run's config; its data counts where `data.root` is there.
      clips: how many at the most.
      count: frames of each at the most.
    """
    size = settings.model.frame_size
    if not pathlib.Path(settings.data.root).is_dir():
        return [np.float32(draw(size, count, seed=2 * number)) / 255 for number in range(clips)]
    data = settings.data
    index = frames_of.load(data.root, "test", size, cache=data.cache, test_share=data.test_share, seed=data.split_seed)
    chosen = np.unique(np.linspace(0, len(index.clips) - 1, clips).astype(int))
    moments = [np.unique(np.linspace(0, len(index.clips[number]) - 1, count).astype(int)) for number in chosen]
    return [
        np.float32([index.clips[number].frame(int(moment)) for moment in which]) / 255
        for number, which in zip(chosen, moments, strict=True)
    ]


def make(signatures: Mapping[str, tf.types.experimental.ConcreteFunction], count: int) -> Requests:
    """One example for each of a model's signatures: the second frame of a drawn clip moved by the clip, relatively.

    Args:
      signatures: of the model; those of the first stages make what the later ones take.
      count: frames of the clip, at least 2.
    """
    size = signatures["detect"].structured_input_signature[1]["frames"].shape[1:3]
    clip = tf.constant(draw(size, count))
    forms = {
        "": tf.cast(clip, tf.float32) / 255,
        "_uint8": clip,
        "_jpeg": tf.stack([tf.io.encode_jpeg(frame, quality=95) for frame in clip]),
    }
    found = signatures["detect"](frames=forms[""])
    encoded = signatures["encode_source"](source=forms[""][1:2])
    initial = {f"initial_{name}": tensor[:1] for name, tensor in found.items()}
    switches = {"relative": tf.constant([True]), "adapt_scale": tf.constant([False])}
    transfer = {f"driving_{name}": tensor[tf.newaxis] for name, tensor in found.items()} | initial | switches
    transfer |= {name: tensor for name, tensor in encoded.items() if name.startswith("source_")}
    render = encoded | signatures["transfer"](**transfer)
    requests = {"transfer": transfer, "render": render, "render_details": render}
    requests["metadata"] = {"request": tf.constant([""])}
    for suffix, frames in forms.items():
        source, unused = frames[1:2], {"use_initial": tf.constant([False])} | initial | switches
        requests["detect" + suffix] = {"frames": frames}
        requests["encode_source" + suffix] = {"source": source}
        requests["animate" + suffix] = {"source": source, "driving": frames[tf.newaxis]} | unused
    return requests
