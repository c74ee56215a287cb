"""A drawn request for each signature: what warm-up, verification and compatibility checks send."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fomm_tf.data import puppets

Requests = dict[str, dict[str, tf.Tensor]]


def draw(size: tuple[int, int], count: int) -> np.ndarray:
    """A drawn clip of test seeds, `[count, H, W, 3]` uint8."""
    identity = puppets.sample_identity(5, portrait=True)
    poses = puppets.sample_motion(3, count, portrait=True)
    return np.stack([puppets.draw(identity, pose, tuple(size)) for pose in poses])


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
