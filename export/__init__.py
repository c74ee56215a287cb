"""Exports runs for TF-Serving, TFLite and ONNX; run from the checkout: `python -m export`."""

# By format; see `export.tflite` and `export.onnx`.
VARIANTS = {"tflite": ("float32", "float16", "dynamic", "int8"), "onnx": ("float32", "float16")}
