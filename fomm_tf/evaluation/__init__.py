"""Evaluation of a model: the paper's reconstruction task on a test set, or animations of pairs.

    report = evaluate("runs/face", "data/faces", "outputs/faces", Settings(metrics=("l1", "akd")))
    report.rows()["l1"]["model"].value  # Interval(value, low, high)

Protocol (paper, sec. 4; where it is silent, the authors' scripts): each frame of a test video, the first one included,
is reconstructed from the video's first frame and the frame's own keypoints, with absolute motion. A metric is the mean
over the frames of all videos that have a value; its 95 % bootstrap confidence interval resamples the videos. The
source-copy baseline, which repeats the source frame as the prediction, is evaluated in the same way. Nothing is dropped
silently: a video that cannot be evaluated is listed with the reason, and each mean comes with its numbers of videos and
frames and of the frames without a value.

`OUT/results/` keeps the result of each video, so that the same command resumes where it stopped.
"""

from fomm_tf.evaluation.protocol import DETECTORS, METRICS, Settings
from fomm_tf.evaluation.report import Report, Row
from fomm_tf.evaluation.runner import evaluate

__all__ = ["DETECTORS", "METRICS", "Report", "Row", "Settings", "evaluate"]
