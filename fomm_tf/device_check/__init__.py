"""`fomm bench`: whether a GPU or CPU computes the right frames and losses, how fast, and in how much memory.

Convention:
  * a check runs once per mode, a way to compute: `fomm_tf.device_check.modes`;
  * right is what the CPU computes in float64;
  * a check that does not apply is skipped with its reason; one that raises has failed, and the others still run.
"""

from fomm_tf.device_check.report import FAILED, Row, as_markdown
from fomm_tf.device_check.runner import Options, run

__all__ = ["FAILED", "Options", "Row", "as_markdown", "run"]
