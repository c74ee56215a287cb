"""Runtimes that fomm-tf does not use, for `exports.py`: they run the ONNX files of `fomm export`, stage by stage.

OpenVINO, ncnn (the renderer alone, with random weights) and 8-bit ONNX files are timed if their packages are installed:
`pip install openvino ncnn`.
A stage that a runtime cannot read runs in onnxruntime, and its line says so.
"""

import functools
import importlib.util
import itertools
import json
import os
import pathlib
import tempfile

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
    """A renderer of the model's sizes with random weights: pnnx cannot convert these ONNX files."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads would count as work of the CPU
    import ncnn

    if not path.name.startswith("renderer"):
        raise ValueError("only the renderer is built")
    sizes = json.loads((path.parent / "pipeline.json").read_text())["config"]["model"]["generator"]
    (warped,) = inputs.values()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(pathlib.Path(folder) / name) for name in ("net.param", "net.bin")]
        _write_ncnn_renderer(*files, warped.shape[1:], sizes["num_residual_blocks"], sizes["num_down_blocks"])
        net = ncnn.Net()
        net.opt.num_threads, net.opt.use_bf16_storage = threads, kind.endswith("bfloat16")
        net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
        if net.load_param(files[0]) or net.load_model(files[1]):
            raise ValueError("ncnn cannot load the network")

    def run(tensors):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(tensors["warped"][0].transpose(2, 0, 1))).clone())
        code, value = extractor.extract("out")
        if code:
            raise ValueError(f"ncnn cannot run the network: {code}")
        return {"prediction": np.array(value).transpose(1, 2, 0)[np.newaxis]}

    return run


def _write_ncnn_renderer(param, weights, shape, residual_blocks, up_blocks):
    """Residual blocks, up blocks by phases, and the last convolution, with the activations between them."""
    rng, layers, blobs = np.random.default_rng(0), [], itertools.count()
    height, width, channels = shape
    with open(weights, "wb") as file:

        def add(kind, sources, parameters="", outputs=1):
            names = [f"b{next(blobs)}" for _ in range(outputs)]
            layers.append(f"{kind} l{len(layers)} {len(sources)} {outputs} {' '.join([*sources, *names])} {parameters}")
            return names

        def convolve(source, count, kernel, padding, activation=0):
            size = count * channels * kernel**2
            file.write(np.int32(0).tobytes() + rng.normal(0, 0.02, size).astype(np.float32).tobytes())
            file.write(np.zeros(count, np.float32).tobytes())
            before, after = padding
            sides = f"4={before} 14={before} 15={after} 16={after}"
            return add("Convolution", [source], f"0={count} 1={kernel} {sides} 5=1 6={size} 9={activation}")[0]

        layers.append(f"Input in 0 1 in0 0={width} 1={height} 2={channels}")
        last = "in0"
        for _ in range(residual_blocks):
            kept, branch = add("Split", [last], outputs=2)
            file.write(
                np.stack([np.ones(channels)] * 3 + [np.zeros(channels)])[[0, 3, 1, 3]].astype(np.float32).tobytes()
            )
            (branch,) = add("ReLU", add("BatchNorm", [branch], f"0={channels}"))
            branch = convolve(branch, channels, 3, (1, 1), activation=1)
            branch = convolve(branch, channels, 3, (1, 1))
            (last,) = add("BinaryOp", [kept, branch], "0=0")
        for _ in range(up_blocks):
            last = convolve(last, 2 * channels, 2, (0, 1), activation=1)
            (last,) = add("PixelShuffle", [last], "0=2")
            channels //= 2
        last = convolve(last, 3, 7, (3, 3))
        layers.append(f"Sigmoid last 1 1 {last} out")
    lines = ["7767517", f"{len(layers)} {next(blobs) + 2}", *layers]
    pathlib.Path(param).write_text("\n".join(lines) + "\n")


_OPEN = {"onnx": _open_onnx, "openvino": _open_openvino, "ncnn": _open_ncnn}
