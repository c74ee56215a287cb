"""`fomm info`: what a run folder or a checkpoint holds."""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Iterator, Mapping

from fomm_tf import errors, weights

TEXT = "say what a run folder or a checkpoint holds, and which device would be used"
_PARTS = ("generator", "kp_detector", "discriminator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("input", metavar="RUN|FILE")


def run(arguments: argparse.Namespace) -> None:
    """Prints what there is to say."""
    for line in describe(pathlib.Path(arguments.input)):
        print(line)


def describe(path: pathlib.Path) -> Iterator[str]:
    """Lines about a run folder or a reference checkpoint, the device last.

    Args:
      path: either.

    Raises:
      errors.UserError: if it is neither.
    """
    yield from _describe_run(path) if path.is_dir() else _describe_file(path)

    from fomm_tf.inference import animator

    yield f"device: {animator.describe_device()}"


def _describe_run(folder: pathlib.Path) -> Iterator[str]:
    from fomm_tf import checkpoint

    settings = checkpoint.read_config(folder)
    model = settings.model
    stored = checkpoint.stored_shapes(folder)
    epoch, step = (checkpoint.read_count(folder, name) for name in ("epoch", "step"))
    yield f"{folder}: run folder, epoch {epoch}" + (f", step {step}" if step else "")
    yield (
        f"model: {model.num_keypoints} keypoints, frames of {model.frame_size[1]}x{model.frame_size[0]}, "
        f"{'first' if model.jacobian else 'zeroth'} order, {'with' if model.occlusion else 'without'} occlusion map, "
        f"align_corners {str(model.align_corners).lower()}"
        f"{', blends the warped source' if model.generator.blend_source else ''}"
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
    shape = getattr(tree["kp_detector"].get("kp.weight"), "shape", ()) if "kp_detector" in known else ()
    if shape:
        yield f"keypoints: {shape[0]}"
    yield "to use it: fomm convert FILE --config REFERENCE.yaml --out RUN"
