"""What `fomm info` says of a run folder or a checkpoint."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator, Mapping

from fomm_tf import errors, weights

_PARTS = ("generator", "kp_detector", "discriminator")


def describe(path: pathlib.Path) -> Iterator[str]:
    """Lines about a run folder or a reference checkpoint, the device last.

    Args:
      path: either.

    Raises:
      errors.UserError: if it is neither.
    """
    yield from _describe_run(path) if path.is_dir() else _describe_file(path)
    yield f"device: {device()}"


def device() -> str:
    """The device that TensorFlow would use, in words."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
        return f"GPU ({', '.join(names)})"
    return "CPU (TensorFlow finds no GPU)"


def _describe_run(folder: pathlib.Path) -> Iterator[str]:
    from fomm_tf import checkpoint

    settings = checkpoint.read_config(folder)
    model = settings.model
    stored = checkpoint.stored_shapes(folder)
    yield f"{folder}: run folder, epoch {checkpoint.read_epoch(folder)}"
    yield (
        f"model: {model.num_keypoints} keypoints, frames of {model.frame_size[1]}x{model.frame_size[0]}, "
        f"{'first' if model.jacobian else 'zeroth'} order, {'with' if model.occlusion else 'without'} occlusion map, "
        f"align_corners {str(model.align_corners).lower()}"
    )
    for part in (*checkpoint.NETWORKS, "discriminator"):
        shapes = [shape for name, shape in stored.items() if name.startswith(f"{part}/")]
        if shapes:
            yield f"{part}: {len(shapes)} tensors, {sum(map(math.prod, shapes)):,} values"
    moments = any(name.startswith("optimizers/") for name in stored)
    yield f"Adam moments: {'yes, training can go on' if moments else 'no'}"
    story = folder / "README.txt"
    if story.is_file():
        yield " ".join(story.read_text(encoding="utf-8").split())


def _describe_file(path: pathlib.Path) -> Iterator[str]:
    tree = weights.load(path)
    known = [part for part in _PARTS if isinstance(tree.get(part), Mapping)]
    if not known:
        raise errors.UserError(
            f"{path} is a PyTorch file, but no checkpoint of the reference: it has none of {', '.join(_PARTS)}."
        )
    yield f"{path}: PyTorch checkpoint ({weights.describe(path)} container), epoch {tree.get('epoch', 'unknown')}"
    for part in known:
        tensors = [value for value in tree[part].values() if hasattr(value, "shape")]
        yield f"{part}: {len(tensors)} tensors, {sum(value.size for value in tensors):,} values"
    moments = [part for part in known if isinstance(tree.get(f"optimizer_{part}"), Mapping)]
    yield f"Adam moments: {', '.join(moments) if moments else 'no'}"
    if "kp_detector" in known and hasattr(tree["kp_detector"].get("kp.weight"), "shape"):
        yield f"keypoints: {tree['kp_detector']['kp.weight'].shape[0]}"
    yield "to use it: fomm convert FILE --config REFERENCE.yaml --out RUN"
