"""What fine-tuning for one person gains: each person's unseen clips before and after it, with and without the detector.

Convention:
  * the data set is split by time, as by `fomm prepare --preset faces`: a person has clips in `train`, and later ones in
    `test`;
  * the last fifth of the training clips is held out for early stopping; the test clips are for the table alone;
  * a variant is fine-tuned as by `fomm train --personalize`, and its `best/` is evaluated;
  * all files are below OUT/PERSON; the same command resumes there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fomm_tf import checkpoint, config, errors, evaluation, files
from fomm_tf.data import frames, layout
from fomm_tf.experiments import personalization_report
from fomm_tf.experiments.personalization_report import BEFORE
from fomm_tf.training import loop, planning

# Title of each fine-tuning -> its settings.
VARIANTS = {
    "after": ["train.freeze_detector=false"],
    "after, frozen detector": ["train.freeze_detector=true"],
}
_HELD_OUT = 0.2
_ALWAYS, _DETECTED = ("l1", "psnr"), ("akd", "aed")


class Person(NamedTuple):
    """The clips of one person.

    Attributes:
      name: the identity.
      train: to train on.
      held_out: for early stopping.
      test: for the table.
    """

    name: str
    train: list[Path]
    held_out: list[Path]
    test: list[Path]


def find_people(data: Path, names: Sequence[str] | None = None) -> list[Person]:
    """The people of a data set with clips in both splits, at least two of them in `train`.

    Args:
      data: the data set.
      names: some of them; None is all.

    Raises:
      errors.UserError: if there is none, or no person of a given name.
    """
    if not data.is_dir():
        raise errors.UserError(f"`data` {data} is not a directory; give one that fomm prepare --preset faces wrote.")
    clips = frames.find_splits(data)
    by_split = {
        split: {name: [path for path in found.paths if found.identity(path) == name] for name in _identities(found)}
        for split, found in clips.items()
    }
    people = []
    for name in sorted(by_split["train"].keys() & by_split["test"].keys()):
        paths = by_split["train"][name]
        if len(paths) > 1:
            count = max(1, round(_HELD_OUT * len(paths)))
            people.append(Person(name, paths[:-count], paths[-count:], by_split["test"][name]))
    known = [person.name for person in people]
    if not people:
        raise errors.UserError(f"no person has two clips in {data}/train and one in {data}/test; split `data` by time.")
    if unknown := [name for name in names or () if name not in known]:
        raise errors.UserError(f"`people` must be some of {', '.join(known)}; got {', '.join(unknown)}.")
    return [person for person in people if names is None or person.name in names]


def _identities(found: layout.Clips) -> set[str]:
    return {found.identity(path) for path in found.paths}


def run(
    data: Path,
    start: Path,
    out: Path,
    steps: int,
    overrides: Sequence[str] = (),
    people: Sequence[str] | None = None,
    detector: str = "auto",
    command: str = "fomm_tf.experiments.personalization.run",
    report: Callable[[str], object] = print,
) -> personalization_report.Table:
    """Fine-tunes a model for each person, evaluates it before and after, and writes `report.md` and `report.json`.

    Args:
      data: the data set.
      start: run directory of the model.
      out: output directory.
      steps: most steps of a fine-tuning.
      overrides: other `section.key=value` assignments.
      people: names; None is all with enough clips.
      detector: what AKD and AED detect, see `fomm_tf.evaluation`; `none` leaves them out.
      command: the command line, for the report and the runs' README.txt.
      report: receives lines for the user.

    Raises:
      errors.UserError: for data, a model or settings that cannot be used.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved.
    """
    files.check_other_directory(out, data, start)
    chosen = find_people(data, people)
    layout.inputs_of(path for person in chosen for paths in person[1:] for path in paths).check(out)
    measured = _ALWAYS if detector == "none" else _ALWAYS + _DETECTED
    settings = evaluation.Settings(metrics=measured, detector="auto" if detector == "none" else detector)
    results: dict[str, dict[str, evaluation.Report]] = {title: {} for title in (BEFORE, *VARIANTS)}
    counts: dict[str, dict[str, int]] = {title: {} for title in VARIANTS}
    for person in chosen:
        folder = out / files.safe_name(person.name)
        tested, clips = folder / "unseen", folder / "clips"
        for target, paths in (
            (tested, person.test),
            (clips / "train", person.train),
            (clips / "test", person.held_out),
        ):
            _link(target, paths)
        results[BEFORE][person.name] = evaluation.evaluate(start, tested, folder / "evaluation" / BEFORE, settings)
        for title, changes in VARIANTS.items():
            name = title.replace(", ", "-").replace(" ", "-")
            fine_tune(start, clips, folder / name, steps, [*overrides, *changes], command, report)
            best = folder / name / checkpoint.BEST
            counts[title][person.name] = checkpoint.read_count(best, "step")
            results[title][person.name] = evaluation.evaluate(best, tested, folder / "evaluation" / name, settings)
    table = personalization_report.Table(command, str(start), results, counts)
    files.write_text(out / "report.md", table.markdown())
    files.write_text(out / "report.json", table.json())
    return table


def fine_tune(
    start: Path,
    clips: Path,
    folder: Path,
    steps: int,
    overrides: Sequence[str],
    command: str,
    report: Callable[[str], object],
) -> None:
    """Fine-tunes a model on a person's clips as `fomm train --personalize`, or resumes that; see `run`.

    Raises:
      errors.UserError: as `run`; or if `folder` holds a run of another model or with other settings.
    """
    plan = planning.choose_personal_plan(start)
    settings = planning.plan_training(plan, clips, 0.0, [f"train.steps={steps}", *overrides], report)
    if (folder / "config.yaml").is_file():
        before = checkpoint.read_config(folder)
        train = dataclasses.replace(settings.train, feature_scales=before.train.feature_scales)
        now = dataclasses.replace(settings, train=dataclasses.replace(train, init_from=str(start.resolve())))
        if changes := config.differences(before, now):
            key, (was, is_now) = next(iter(changes.items()))
            raise errors.UserError(f"{folder} was trained with {key} {was}; got {is_now}; give another `out`.")
        loop.run(None, folder, resume=True, command=command, report=report)
        return
    loop.run(settings, folder, init_from=start, command=command, report=report)


def _link(folder: Path, paths: Sequence[Path]) -> None:
    """Makes a directory of links to clips, and removes other ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for link in folder.iterdir():
        if link.is_symlink():
            link.unlink()
    for path in paths:
        (folder / path.name).symlink_to(path.resolve())
