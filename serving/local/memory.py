"""The server's memory beside the model, as `fomm serve --help` states it; without TensorFlow.

TensorFlow's allocator keeps what a run has taken for the next one, so memory grows to that of the largest runs and
stays there.
"""

from __future__ import annotations

# Of one run: a PNG image of 25 megapixels, while it is decoded, takes 21 bytes a pixel. See docs/serving.md.
RUN_BYTES = 768 * 2**20
# Of one connection: what asyncio reads at once, and what uvicorn holds of a body until it is asked for.
CONNECTION_BYTES = 320 * 2**10
# Messages above this number of bytes are parsed in a process.
SMALL_BYTES = 64 * 2**10
# Messages above this number of bytes are parsed in another one. One frame of 256 x 256, as numbers, takes 0.8 MB.
MEDIUM_BYTES = 2**20
# Bytes of memory for each byte of a message that is parsed: a list takes 64, and `[],` is three bytes.
PARSING_FACTOR = 40
