"""`fomm evaluate` as a pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fomm_tf.evaluation import protocol, scoring
from fomm_tf.scale import items


class EvaluateVideos(items.ProcessItems):
    """Scores videos and writes their results: a PCollection of samples with their keys becomes one of results.

    Args:
      function: what `fomm_tf.evaluation.evaluate` passes to its `execute`.
    """

    @staticmethod
    def name_item(item: tuple[protocol.Sample, str]) -> str:
        return item[0].name

    @staticmethod
    def count(result: scoring.VideoResult) -> Mapping[str, int]:
        if not result.frames:
            return {"videos dropped": 1, "videos dropped: unreadable": 1}
        return {"videos kept": 1, "frames kept": result.frames}

    @staticmethod
    def faults(result: scoring.VideoResult) -> Sequence[str]:
        return () if result.frames else result.warnings

    @staticmethod
    def to_json(result: scoring.VideoResult) -> Any:
        return dataclasses.asdict(result)

    @staticmethod
    def from_json(value: Any) -> scoring.VideoResult:
        return scoring.VideoResult.from_json(value)
