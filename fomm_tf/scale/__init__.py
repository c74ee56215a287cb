"""`fomm prepare`, `animate-set` and `evaluate` on many machines, as Apache Beam pipelines (extra `beam`).

Each command has a PTransform: `preparation.PrepareVideos`, `animation.AnimatePairs`, `evaluation.EvaluateVideos`. It
calls the function that the local command calls too, so the files are the same, byte for byte.

Convention:
  * a PTransform takes a PCollection of tasks and returns two: `results` with pairs of a task's name and its result as
    JSON, and `dead_letters` with pairs of a name and the reason why the input could not be used;
  * outputs appear under their names complete or not at all, so that a bundle may be repeated;
  * a process works on one item at a time, whatever number of threads the runner uses;
  * counters have the namespace `pipeline.COUNTERS`.
"""
