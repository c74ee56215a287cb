"""The runs of an ablation: variants and their configs, the data, and which runs are finished. No TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fomm_tf
from fomm_tf import config, errors, files
from fomm_tf.data import layout

RECONSTRUCTION, ANIMATION = "reconstruction", "animation"
FULL, ZEROTH_ORDER = "full", "pyramid-occlusion"
_FINISHED = "finished"
# Places of a list of pairs below the data: a directory of transfers may itself be the data.
_PAIRS = ("pairs.csv", "transfers/pairs.csv")
_DRAWN_PAIRS = 40

# Task -> the report.json of its evaluation, for one run.
Reports = dict[str, dict[str, Any]]


class Variant(NamedTuple):
    """A row of Table 1."""

    title: str  # the paper's name
    paper_l1: float  # the paper's L1, on Tai-Chi-HD


VARIANTS = {
    "baseline": Variant("Baseline", 0.073),
    "pyramid": Variant("Pyr.", 0.069),
    ZEROTH_ORDER: Variant("Pyr.+O", 0.069),
    "no-jacobian-equivariance": Variant("Jac. w/o Eq. 12", 0.073),
    FULL: Variant("Full", 0.063),
}


def changes(name: str) -> dict[str, object]:
    """The keys `section.key` in which a variant differs from Full, with the variant's values."""
    recipes = config.recipes()
    full, variant = (config.load(recipes[f"ablation/{which}"]) for which in (FULL, name))
    return {key: value for key, (_, value) in config.differences(full, variant).items()}


def configure(base: config.Config, names: Sequence[str]) -> dict[str, config.Config]:
    """The config of each variant.

    Args:
      base: the recipe of the full model.
      names: some of `VARIANTS`.

    Raises:
      errors.UserError: if the recipe already has what a variant changes, and so is not the full model.
    """
    configs = {}
    for name in names:
        changed = changes(name)
        configs[name] = config.override(base, [f"{key}={json.dumps(value)}" for key, value in changed.items()])
        unchanged = changed.keys() - config.differences(base, configs[name]).keys()
        if unchanged:
            key = min(unchanged)
            raise errors.UserError(
                f"`config` already has {key}={json.dumps(changed[key])}, in which {name} differs from full; give a "
                "recipe of the full model, or leave the variant out."
            )
    return configs


class Data(NamedTuple):
    """The data of an ablation."""

    root: Path  # the data set, with a test/ split or to be split
    # A list of pairs with ground truth animations, whose paths are relative to its directory; or None.
    pairs: Path | None
    drawn: bool  # whether it shows drawn characters, which no detector recognizes

    def fingerprints(self) -> list[str]:
        """Identify the test clips and pairs by names, sizes and modification times."""
        test = self.root / "test"
        folder = test if test.is_dir() else self.root
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if self.pairs is not None:
            names = (name for pair in layout.read_pairs(self.pairs) for name in pair if name)
            paths += [self.pairs, *(self.pairs.parent / name for name in names)]
        return [files.fingerprint(path).hex() for path in paths]


def replace_data(base: config.Config, data: Path | None) -> config.Config:
    """The recipe with another data set; unchanged if `data` is None.

    Raises:
      errors.UserError: if `data` is not a directory.
    """
    if data is None:
        return base
    if not data.is_dir():
        raise errors.UserError(f"`data` {data} is not a directory; give one of videos, with train/ and test/ splits.")
    return dataclasses.replace(base, data=dataclasses.replace(base.data, root=str(data), puppets=None))


def prepare_data(base: config.Config, report: Callable[[str], object]) -> Data:
    """Finds the recipe's data, or draws it if the recipe describes puppets; then finds or draws pairs.

    Args:
      base: the recipe.
      report: takes lines for the user.

    Raises:
      errors.UserError: if there is no data, or no test/ split in it.
    """
    from fomm_tf.data.puppets import dataset  # slower to load than `fomm --help` may be

    root, drawing, size = Path(base.data.root), base.data.puppets, base.model.frame_size
    if not root.is_dir():
        if drawing is None:
            raise errors.UserError(f"The recipe's data.root {root} does not exist; give `data`.")
        report(f"{root} does not exist: drawing it")
        report(dataset.write(root, size=size, **dataclasses.asdict(drawing)))
    if (root / "train").is_dir() and not (root / "test").is_dir():
        raise errors.UserError(f"{root} has a train/ split but no test/ split; add one to evaluate the variants on.")
    pairs = _find_pairs(root)
    if pairs is None and drawing is not None:
        report(
            dataset.write_transfers(
                root / "transfers", _DRAWN_PAIRS, drawing.frames, size, drawing.seed, drawing.portraits
            )
        )
        pairs = _find_pairs(root)
    return Data(root, pairs, (root / "puppets.json").is_file())


def _find_pairs(root: Path) -> Path | None:
    """A list of pairs, if it has ground truth."""
    paths = [root / name for name in _PAIRS if (root / name).is_file()]
    return next((path for path in paths if any(pair.truth for pair in layout.read_pairs(path))), None)


class Protocol(NamedTuple):
    """How runs are evaluated."""

    data: Data  # the data set and the pairs
    metrics: tuple[str, ...]  # of the reconstruction; see `fomm_tf.evaluation`
    detector: str  # see `fomm_tf.evaluation`
    command: str  # the command line, for the provenance in README.txt
    videos: bool = False  # write each animation as an mp4


@dataclasses.dataclass(frozen=True)
class Run:
    """A variant and a seed."""

    variant: str  # one of `VARIANTS`
    seed: int  # of weights, pairs and deformations
    config: config.Config  # of the run
    out: Path  # directory of the ablation

    @property
    def name(self) -> str:
        """Name of its directories."""
        return f"{self.variant}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.out / self.name

    @property
    def results(self) -> Path:
        """Output directory of the evaluations."""
        return self.out / "evaluation" / self.name

    def check(self) -> None:
        """Checks that the run directory is empty or has the same config.

        Raises:
          errors.UserError: otherwise; it names the first difference.
        """
        path = self.folder / "config.yaml"
        if not path.is_file():
            if self.folder.is_file() or (self.folder.is_dir() and any(self.folder.iterdir())):
                raise errors.UserError(
                    f"{self.folder} exists and is not a run directory: give another `out`, or delete it."
                )
            return
        stored, requested = config.load(path), self.config
        if requested.train.feature_scales is None:
            measured = stored.train.feature_scales
            requested = dataclasses.replace(
                requested, train=dataclasses.replace(requested.train, feature_scales=measured)
            )
        for key, (before, now) in config.differences(stored, requested).items():
            raise errors.UserError(
                f"{self.folder} was started with {key} {before}, but now it is {now}: give another `out`, or delete it."
            )

    def is_finished(self, protocol: Protocol, fingerprints: Sequence[str]) -> bool:
        """Whether `mark_finished` was called with the same arguments, and no file has changed since."""
        try:
            return (self.results / _FINISHED).read_text(encoding="utf-8") == self._key(protocol, fingerprints)
        except OSError:
            return False

    def mark_finished(self, protocol: Protocol, fingerprints: Sequence[str]) -> None:
        """Records that the run is trained and evaluated.

        Args:
          protocol: how it was evaluated.
          fingerprints: of the test data.
        """
        files.write_text(self.results / _FINISHED, self._key(protocol, fingerprints))

    def read_reports(self, protocol: Protocol) -> Reports:
        """Reads what its evaluations wrote."""
        tasks = (RECONSTRUCTION, *([ANIMATION] if protocol.data.pairs else []))
        return {task: files.read_json(self.results / task / "report.json") for task in tasks}

    def _key(self, protocol: Protocol, fingerprints: Sequence[str]) -> str:
        comparable = protocol._replace(command="")
        reports = [files.fingerprint(path) for path in sorted(self.results.glob("*/report.json"))]
        folder = files.fingerprint(self.folder)
        return files.digest(fomm_tf.__version__, self.config, comparable, folder, *reports, *fingerprints).hex()


def plan(configs: Mapping[str, config.Config], seeds: Sequence[int], out: Path) -> list[Run]:
    """Lists all runs, seed by seed, so that the table has every variant long before the last run.

    Raises:
      errors.UserError: if one was started with another config.
    """
    runs = []
    for seed, (variant, settings) in itertools.product(seeds, configs.items()):
        runs.append(Run(variant, seed, config.override(settings, [f"train.seed={seed}"]), out))
    for run in runs:
        run.check()
    return runs
