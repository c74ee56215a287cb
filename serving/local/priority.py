"""The priority of what large requests cost, so that small ones hardly wait for it; without TensorFlow."""

from __future__ import annotations

import os
import sys

# On a busy processor, a thread of this niceness gets a fifth of the time of one of the server's other threads.
NICENESS = 7


def lower() -> None:
    """Lowers the priority of this thread, and of threads and processes that it starts from now on.

    Has no effect where only a whole process has a priority.
    """
    if sys.platform == "linux":
        os.nice(NICENESS)
