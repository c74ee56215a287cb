"""`fomm prepare` as a pipeline."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from fomm_tf.data.prepare import clips
from fomm_tf.data.prepare import run as local
from fomm_tf.scale import items


class PrepareVideos(items.ProcessItems):
    """Plans videos and writes their clips: a PCollection of `clips.Source` becomes one of plans.

    Args:
      function: `fomm_tf.data.prepare.run.prepare_source` with all arguments but the source.
    """

    @staticmethod
    def name_item(item: clips.Source) -> str:
        return str(item.path)

    @staticmethod
    def count(result: clips.Plan) -> Mapping[str, int]:
        counts = collections.Counter({"clips kept": len(result.clips)})
        for row in result.rows:
            if row.reason:
                noun = "segments" if row.frames else "videos"
                reason = local.drop_reason(row) if row.frames else "unreadable"
                counts.update({f"{noun} dropped": 1, f"{noun} dropped: {reason}": 1})
        return counts

    @staticmethod
    def faults(result: clips.Plan) -> Sequence[str]:
        return [row.reason for row in result.rows if row.reason and not row.frames]

    @staticmethod
    def to_json(result: clips.Plan) -> Any:
        return result

    @staticmethod
    def from_json(value: Any) -> clips.Plan:
        return clips.Plan.from_json(value)
