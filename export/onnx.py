"""ONNX files of the five stages and of the whole animation, by tf2onnx, in variants."""

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

from fomm_tf import checkpoint, export
from fomm_tf.export import loading, pipeline, stages
from fomm_tf.ops import warp

OPSET = 17
SUFFIX = ".onnx"
VARIANTS = export.VARIANTS["onnx"]


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    variants: Sequence[str] = VARIANTS,
    grid_sample: bool = True,
    check: Callable[[pathlib.Path, stages.Stages], None] | None = None,
    whole: bool = True,
) -> pathlib.Path:
    """Writes a run's model, for any number of driving frames per call.

    Args:
      folder: the run directory.
      output: directory for the files; new or empty.
      variants: what the networks compute in, names from `VARIANTS`; inputs and outputs of a stage stay float32.
      grid_sample: export a warp as one GridSample node; else as gathers, for runtimes without GridSample.
      check: called with the temporary directory of the files and the float32 stages of the Keras networks, before the
        directory is renamed to `output`.
      whole: write the whole animation as one file too.

    Returns:
      `output`.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    loaded = loading.load(folder)
    exact = _build_stages(loaded[0], whole)
    with checkpoint.new_folder(output) as work:
        for variant in variants:
            run, metadata = loaded if variant == "float32" else loading.load(folder, variant)
            with warp.use_resampler_op() if grid_sample else contextlib.nullcontext():
                built = _build_stages(run, whole)
            for stage in tqdm.tqdm(built.functions, unit="file", desc=variant, disable=None):
                model = convert(built.functions[stage])
                model.producer_name, model.doc_string = "fomm-tf", f"{stage} of a First Order Motion Model"
                onnx.helper.set_model_props(model, _model_properties({"stage": stage} | metadata))
                onnx.checker.check_model(model, full_check=True)
                onnx.save(model, work / pipeline.file_name(stage, variant, SUFFIX))
                del model
                gc.collect()  # tf2onnx leaves many copies of the weights to the garbage collector
        quantization = {variant: dict.fromkeys(exact.functions, variant) for variant in variants}
        pipeline.write(work, exact, loaded[1], quantization, SUFFIX)
        if check is not None:
            check(work, exact)
    return pathlib.Path(output)


def convert(function: tf.types.experimental.ConcreteFunction) -> onnx.ModelProto:
    """A concrete function of keyword tensors as an ONNX model whose tensors have the same names."""
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    # Raise the optimizer's errors; it would otherwise log them, and copy the graph before each try.
    os.environ[tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS] = "FALSE"
    handlers = {"Addons>Resampler": (_grid_sample, []), "SelectV2": (_where, [])}
    model, _ = tf2onnx.convert.from_function(_Traced(function), (), OPSET, custom_op_handlers=handlers)
    for tensor in [*model.graph.input, *model.graph.output]:
        for size in tensor.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "frames"
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Resize" else []:
            # Every nearest-neighbor Resize here doubles the size; the mode that tf2onnx writes is deprecated.
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"asymmetric"
    return model


class _Traced:
    """Wraps a concrete function in the interface of `tf.function` that tf2onnx calls."""

    def __init__(self, function: tf.types.experimental.ConcreteFunction) -> None:
        self._function = function

    def get_concrete_function(self) -> tf.types.experimental.ConcreteFunction:
        return self._function


def _build_stages(run: checkpoint.Run, whole: bool) -> stages.Stages:
    return stages.Stages(run.config, run.model, batch=None, whole=whole)


def _model_properties(metadata: dict[str, object]) -> dict[str, str]:
    """Metadata as ONNX stores it: strings, other values as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}


def _grid_sample(graph: tf2onnx.graph.Graph, node: tf2onnx.graph.Node, name: str, _: list) -> None:
    """`Addons>Resampler` of an image `[B, H, W, C]` at (x, y) `[B, h, w, 2]` in pixels, zero outside, as GridSample."""
    image, pixels = node.input
    _, height, width, _ = graph.get_shape(image)
    scale = graph.make_const(f"{name}/scale", 2 / np.float32([width - 1, height - 1])).output[0]
    one = graph.make_const(f"{name}/one", np.float32(1)).output[0]
    image = graph.make_node("Transpose", [image], {"perm": [0, 3, 1, 2]}).output[0]
    grid = graph.make_node("Sub", [graph.make_node("Mul", [pixels, scale]).output[0], one]).output[0]
    attributes = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": 1}
    sampled = graph.make_node("GridSample", [image, grid], attributes).output[0]
    result = graph.make_node(
        "Transpose", [sampled], {"perm": [0, 2, 3, 1]}, shapes=[graph.get_shape(node.output[0])], dtypes=[1]
    )
    graph.replace_all_inputs(node.output[0], result.output[0])
    graph.remove_node(node.name)


def _where(graph: tf2onnx.graph.Graph, node: tf2onnx.graph.Node, name: str, _: list) -> None:
    """`SelectV2` as Where: tf2onnx writes a sum of two products, which lets NaN of the unselected side through."""
    node.type = "Where"
