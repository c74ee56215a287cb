"""Exports runs for TF-Serving, TFLite and ONNX: `fomm export`."""

# By format; see `fomm_tf.export.tflite` and `fomm_tf.export.onnx`.
VARIANTS = {"tflite": ("float32", "float16", "dynamic", "int8"), "onnx": ("float32", "float16")}
