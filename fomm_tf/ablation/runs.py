"""Which runs there are, which of them are done, and what they found."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import fomm_tf
from fomm_tf import config, errors, files
from fomm_tf.ablation import material, numbers, work

_FINISHED = "finished"


@dataclasses.dataclass(frozen=True)
class Run:
    """A variant and a seed.

    Attributes:
      variant: one of `variants.VARIANTS`.
      seed: of weights, pairs and deformations.
      settings: the config.
      out: folder of the whole ablation.
    """

    variant: str
    seed: int
    settings: config.Config
    out: Path

    @property
    def name(self) -> str:
        """What its folders are called."""
        return f"{self.variant}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out / self.name

    @property
    def results(self) -> Path:
        """What the evaluations write."""
        return self.out / "evaluation" / self.name

    def task(self, shown: material.Material, metrics: Sequence[str], detector: str, command: str) -> work.Task:
        """What its process has to do."""
        settings, folder, results = dataclasses.asdict(self.settings), str(self.folder), str(self.results)
        return work.Task(settings, folder, results, *shown.names(), list(metrics), detector, command)

    def check(self) -> None:
        """Refuses a run folder of other settings, and what is no run folder.

        Raises:
          errors.UserError: that names the first difference.
        """
        path = self.folder / "config.yaml"
        if not path.is_file():
            if self.folder.is_file() or (self.folder.is_dir() and any(self.folder.iterdir())):
                raise errors.UserError(
                    f"{self.folder} is there and is no run folder: give another --out, or delete it."
                )
            return
        stored, wanted = config.load(path), self.settings
        if wanted.train.feature_scales is None:
            measured = stored.train.feature_scales
            wanted = dataclasses.replace(wanted, train=dataclasses.replace(wanted.train, feature_scales=measured))
        for key, (before, now) in config.differences(stored, wanted).items():
            raise errors.UserError(
                f"{self.folder} was begun with {key} {before}, and now it is {now}: give another --out, or delete it."
            )

    def is_finished(self, task: work.Task, stamps: Sequence[str]) -> bool:
        """Whether `finish` has been called for the same task, and nothing of it has changed since."""
        try:
            return (self.results / _FINISHED).read_text(encoding="utf-8") == self._key(task, stamps)
        except OSError:
            return False

    def finish(self, task: work.Task, stamps: Sequence[str]) -> None:
        """Notes that the task is done.

        Args:
          task: the run's.
          stamps: of the videos that it was judged by.
        """
        with files.replace_atomically(self.results / _FINISHED) as temporary:
            temporary.write_text(self._key(task, stamps), encoding="utf-8")

    def read(self, task: work.Task) -> numbers.Reports:
        """What its evaluations wrote."""
        tasks = (work.RECONSTRUCTION, *([work.ANIMATION] if task.pairs else []))
        places = {name: self.results / name / "report.json" for name in tasks}
        return {name: json.loads(place.read_text(encoding="utf-8")) for name, place in places.items()}

    def _key(self, task: work.Task, stamps: Sequence[str]) -> str:
        judged = json.dumps(task._replace(command="")._asdict())
        reports = [files.fingerprint(place) for place in sorted(self.results.glob("*/report.json"))]
        return files.digest(fomm_tf.__version__, judged, files.fingerprint(self.folder), *reports, *stamps).hex()


def plan(configs: Mapping[str, config.Config], seeds: Sequence[int], out: Path) -> list[Run]:
    """All runs, a seed after the other, so that the table is whole, of fewer seeds, long before the last one.

    Raises:
      errors.UserError: if one of them was begun with other settings.
    """
    runs = []
    for seed, (variant, settings) in itertools.product(seeds, configs.items()):
        settings = config.override(settings, [f"train.seed={seed}"])
        runs.append(Run(variant, seed, settings, out))
    for run in runs:
        run.check()
    return runs
