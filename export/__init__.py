"""From run folders to what servers, phones and other runtimes load; run from the checkout: `python -m export`."""

# By form; see `export.tflite` and `export.onnx`.
VARIANTS = {"tflite": ("float32", "float16", "dynamic", "int8"), "onnx": ("float32", "float16")}
