"""Runtimes that fomm-tf does not use, for `exports.py`: they run the ONNX files of `fomm export`, stage by stage.

OpenVINO, ncnn (converted by pnnx) and 8-bit ONNX files are timed if their packages are installed:
`pip install openvino ncnn pnnx`.
A stage that a runtime cannot read runs in onnxruntime, and its line says so.
"""

import functools
import importlib.util
import json
import pathlib
import shutil
import subprocess

import numpy as np

from fomm_tf.export import runner

KINDS = {
    "onnx-int8": "onnxruntime",
    "openvino-float32": "openvino",
    "openvino-bfloat16": "openvino",
    "openvino-int8": "openvino",
    "ncnn-float32": "ncnn",
    "ncnn-bfloat16": "ncnn",
}


def available():
    """The kinds whose package is installed."""
    return [kind for kind, package in KINDS.items() if importlib.util.find_spec(package)]


class OtherPipeline(runner.Pipeline):
    """The stages of ONNX files in another runtime.

    Args:
      kind: a key of `KINDS`.
      folder: of the ONNX files in float32.
      inputs: stage -> the inputs of one call, for calibration and static shapes.
      threads: CPU threads per stage.

    Attributes:
      replaced: stage -> why it runs in onnxruntime.
    """

    def __init__(self, kind, folder, inputs, threads):
        super().__init__(folder, "float32", threads)
        open_onnx, open_other = self._open, functools.partial(_OPEN[kind.partition("-")[0]], kind)
        self.replaced = {}

        @functools.cache
        def open_stage(name):
            try:
                return open_other(pathlib.Path(folder) / f"{name}-float32.onnx", inputs[name], threads)
            except Exception as error:
                self.replaced[name] = next(iter(str(error).splitlines()), type(error).__name__)
                return open_onnx(name)

        self._open = open_stage


def _quantize(path, inputs):
    """The file with convolutions in 8 bits, u8 activations and s8 weights per channel, calibrated on the inputs."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = path.with_name(path.name.replace("float32", "int8"))
    if path.name.startswith(("detector", "warp")):  # positions need more than 8 bits
        return path
    if not target.exists():
        prepared = path.with_name(f"prepared-{path.name}")
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)

        class Reader(quantization.CalibrationDataReader):
            calls = iter([inputs])

            def get_next(self):
                return next(self.calls, None)

        quantization.quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    return target


def _open_onnx(kind, path, inputs, threads):
    return runner._onnx(_quantize(path, inputs), path.stem, threads)


def _open_openvino(kind, path, inputs, threads):
    import openvino

    core = openvino.Core()
    precision = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}[kind.partition("-")[2]]
    path = _quantize(path, inputs) if kind.endswith("int8") else path
    model = core.read_model(path)
    model.reshape({name: list(value.shape) for name, value in inputs.items()})
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", options)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(tensors):
        results = compiled(tensors)
        return {name: np.array(results[name]) for name in names}

    return run


def _open_ncnn(kind, path, inputs, threads):
    import ncnn

    folder = path.with_name(f"ncnn-{path.stem}")
    names = json.loads((path.parent / "pipeline.json").read_text())["stages"][path.stem.partition("-")[0]]
    if not folder.exists():
        folder.mkdir()
        shutil.copy(path, folder / "stage.onnx")
        shapes = ",".join(f"[{','.join(map(str, value.shape))}]f32" for value in inputs.values())
        program = pathlib.Path(importlib.util.find_spec("pnnx").origin).parent / "pnnx"
        subprocess.run([program, "stage.onnx", f"inputshape={shapes}"], cwd=folder, check=True, capture_output=True)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_bf16_storage = threads, kind.endswith("bfloat16")
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    if net.load_param(str(folder / "stage.ncnn.param")) or net.load_model(str(folder / "stage.ncnn.bin")):
        raise ValueError(f"ncnn cannot load {path.name}")

    def run(tensors):
        extractor = net.create_extractor()
        for number, value in enumerate(tensors.values()):
            extractor.input(f"in{number}", ncnn.Mat(np.ascontiguousarray(value[0])).clone())
        results = {}
        for number, (name, about) in enumerate(names["outputs"].items()):
            code, value = extractor.extract(f"out{number}")
            if code:
                raise ValueError(f"ncnn cannot run {path.name}: {code}")
            results[name] = np.array(value).reshape([1, *about["shape"][1:]])
        return results

    run(inputs)  # raises here if a layer is missing
    return run


_OPEN = {"onnx": _open_onnx, "openvino": _open_openvino, "ncnn": _open_ncnn}
