"""What the tabs of the page share."""

from __future__ import annotations

import dataclasses
import pathlib

from fomm_tf.app import animate_job, jobs, limits, live, models


@dataclasses.dataclass(frozen=True)
class Site:
    """What the tabs share.

    Attributes:
      models: that can be chosen.
      jobs: that run.
      live: cameras that are used.
      prepare: animates a pair as `fomm animate` does.
      limits: for each visitor.
      may_convert: whether visitors may add models.
      examples: pairs of an image and a clip.
    """

    models: models.ModelPool
    jobs: jobs.JobQueue
    live: live.LiveSessions
    prepare: animate_job.Prepare
    limits: limits.Limits
    may_convert: bool
    examples: list[tuple[pathlib.Path, pathlib.Path]]
