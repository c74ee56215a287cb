"""From run folders to what servers and phones load; run from the checkout: `python -m export`."""

# Of TFLite files; see `export.tflite`.
VARIANTS = ("float32", "float16", "dynamic", "int8")
