"""Exports runs for TF-Serving, TFLite, ONNX and web browsers: `fomm export`."""

# By format; see `fomm_tf.export.tflite`, `fomm_tf.export.onnx` and `fomm_tf.export.web`.
VARIANTS = {
    "tflite": ("float32", "float16", "dynamic", "int8"),
    "onnx": ("float32", "float16"),
    "web": ("float32", "float16", "dynamic"),
}
