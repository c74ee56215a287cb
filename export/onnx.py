"""ONNX files of the five stages and of the whole, by tf2onnx, in variants."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tqdm

import export
from export import pipeline, stages
from fomm_tf import checkpoint
from fomm_tf.models import folding
from fomm_tf.ops import warp

OPSET = 17
VARIANTS = export.VARIANTS["onnx"]


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    variants: Sequence[str] = VARIANTS,
    grid_sample: bool = True,
    check: Callable[[pathlib.Path, stages.Stages], None] | None = None,
) -> pathlib.Path:
    """Writes a run's model, for any number of driving frames a call.

    Args:
      folder: the run folder.
      output: folder for the files; new or empty.
      variants: what the networks compute in, of `VARIANTS`; what goes in and out of a stage stays float32.
      grid_sample: a warp is one GridSample node; else gathers, for runtimes without it.
      check: called with what was written, and the stages in float32 on the Keras networks, before it gets its name.

    Returns:
      `output`.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    run, weights = _load(folder, "float32")
    exact = _stages(run)
    with checkpoint.new_folder(output) as work:
        names = {variant: {stage: f"{stage}-{variant}.onnx" for stage in exact.functions} for variant in variants}
        for variant in variants:
            with warp.use_resampler_op() if grid_sample else contextlib.nullcontext():
                built = _stages(run if variant == "float32" else _load(folder, variant)[0])
            for stage in tqdm.tqdm(built.functions, unit="file", desc=variant, disable=None):
                model = convert(built.functions[stage])
                model.producer_name, model.doc_string = "fomm-tf", f"{stage} of a First Order Motion Model"
                told = {"stage": stage, "weights_sha256": weights} | _describe(run, folder)
                onnx.helper.set_model_props(model, told)
                onnx.checker.check_model(model, full_check=True)
                onnx.save(model, work / names[variant][stage])
                del model
                gc.collect()  # tf2onnx leaves many copies of the weights to it
        pipeline.write(work, exact, folder, names)
        if check is not None:
            check(work, exact)
    return pathlib.Path(output)


def convert(function: tf.types.experimental.ConcreteFunction) -> onnx.ModelProto:
    """A concrete function of keyword tensors as an ONNX model whose tensors have the same names."""
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    # An error while it optimises is ours to see; and it copies the graph before each try otherwise.
    os.environ[tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS] = "FALSE"
    handlers = {"Addons>Resampler": (_grid_sample, []), "SelectV2": (_where, [])}
    model, _ = tf2onnx.convert.from_function(_Traced(function), (), OPSET, custom_op_handlers=handlers)
    for tensor in [*model.graph.input, *model.graph.output]:
        for size in tensor.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "frames"
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Resize" else []:
            # All that is resized to its nearest neighbours is doubled; tf2onnx' word for it is deprecated.
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"asymmetric"
    return model


class _Traced:
    """What tf2onnx takes for a `tf.function`, of a concrete one."""

    def __init__(self, function: tf.types.experimental.ConcreteFunction) -> None:
        self._function = function

    def get_concrete_function(self) -> tf.types.experimental.ConcreteFunction:
        return self._function


def _load(folder: str | pathlib.Path, precision: str) -> tuple[checkpoint.Run, str]:
    """A run, its normalisations folded, and the hash of its weights before."""
    run = checkpoint.load(folder, precision=precision)
    weights = run.model.weights_sha256()
    folding.fold_batch_norms(run.model)
    return run, weights


def _stages(run: checkpoint.Run) -> stages.Stages:
    return stages.Stages(run.config, run.model, batch=None, whole=True)


def _describe(run: checkpoint.Run, folder: str | pathlib.Path) -> dict[str, str]:
    model = run.config.model
    return {
        "name": pathlib.Path(folder).resolve().name,
        "step": str(run.step),
        "frame_size": json.dumps(list(model.frame_size)),
        "num_keypoints": str(model.num_keypoints),
    }


def _grid_sample(graph: tf2onnx.graph.Graph, node: tf2onnx.graph.Node, name: str, _: list) -> None:
    """`Addons>Resampler` of an image `[B, H, W, C]` at (x, y) `[B, h, w, 2]` in pixels, zero outside, as GridSample."""
    image, places = node.input
    _, height, width, _ = graph.get_shape(image)
    scale = graph.make_const(f"{name}/scale", 2 / np.float32([width - 1, height - 1])).output[0]
    one = graph.make_const(f"{name}/one", np.float32(1)).output[0]
    image = graph.make_node("Transpose", [image], {"perm": [0, 3, 1, 2]}).output[0]
    grid = graph.make_node("Sub", [graph.make_node("Mul", [places, scale]).output[0], one]).output[0]
    attributes = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": 1}
    sampled = graph.make_node("GridSample", [image, grid], attributes).output[0]
    found = graph.make_node(
        "Transpose", [sampled], {"perm": [0, 2, 3, 1]}, shapes=[graph.get_shape(node.output[0])], dtypes=[1]
    )
    graph.replace_all_inputs(node.output[0], found.output[0])
    graph.remove_node(node.name)


def _where(graph: tf2onnx.graph.Graph, node: tf2onnx.graph.Node, name: str, _: list) -> None:
    """tf2onnx itself makes a sum of two products of it, which lets NaN of the side that was not chosen through."""
    node.type = "Where"
