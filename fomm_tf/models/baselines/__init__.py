"""The methods that the paper compares with (Tables 2 and 3), on the shared blocks: Monkey-Net and X2Face.

Built from the papers. The docstring of each module says what a paper leaves open, and what was chosen.
"""

from fomm_tf.models.baselines.monkey_net import MonkeyNet
from fomm_tf.models.baselines.x2face import X2Face

__all__ = ["MonkeyNet", "X2Face"]
