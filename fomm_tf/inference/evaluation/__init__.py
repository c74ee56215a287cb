"""How good a run is: the paper's proxy task on a test set, or animations of pairs, judged video by video.

    report = evaluate("runs/face", "data/faces", "outputs/faces", Settings(metrics=("l1", "akd")))
    report.rows()["l1"]["model"].value  # Interval(value, low, high)

Protocol (paper, sec. 4; where it is silent, the authors' scripts): each frame of a test video, the first included, is
rebuilt from the video's first frame and the frame's own keypoints, taken absolutely. A number is the mean over the
frames of all videos that have it; its interval comes from resampling the videos. Beside each stands what copying the
source would have got. Nothing is dropped silently: a video that cannot be evaluated is named with the reason, and each
mean says over how many videos and frames it is and how many frames it lacks.

`OUT/results/` keeps what was found of each video, so that the same command goes on where it was stopped.
"""

from fomm_tf.inference.evaluation.report import Report, Row
from fomm_tf.inference.evaluation.run import evaluate
from fomm_tf.inference.evaluation.settings import KINDS, METRICS, Settings

__all__ = ["KINDS", "METRICS", "Report", "Row", "Settings", "evaluate"]
