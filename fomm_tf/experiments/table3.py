"""The paper's Table 3 and the pages of its Table 2: the method beside X2Face and Monkey-Net, on the same data.

Convention: the runs are those of `ablation_runner`, of the recipe NAME.yaml of each model instead of variants of one
recipe; the recipes have the same data and as many steps.

This process does not load TensorFlow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fomm_tf import config, errors, files, workers
from fomm_tf.data import layout
from fomm_tf.experiments import ablation_plan, ablation_report, ablation_runner, study_build, table3_report
from fomm_tf.experiments.table3_report import METHODS

RECIPES = "table3"
# Part of the time of a run that steps take; the rest is validation, pictures and evaluation.
_SHARE_OF_STEPS = 0.85


def load_recipes(
    names: Sequence[str], folder: Path | None, steps: int | None, data: Path | None
) -> dict[str, config.Config]:
    """The config of each method.

    Args:
      names: some of `METHODS`.
      folder: directory with NAME.yaml of each; None for the recipes of this package.
      steps: of each run; None for the recipes'.
      data: another data set; None for the recipes'.

    Raises:
      errors.UserError: if a recipe cannot be read, or the recipes differ in data or schedule.
    """
    recipes, configs = config.recipes(), {}
    for name in names:
        path = recipes[f"{RECIPES}/{name}"] if folder is None else folder / f"{name}.yaml"
        settings = config.override(config.load(path), [] if steps is None else [f"train.steps={steps}"])
        configs[name] = ablation_plan.replace_data(settings, data)
    first = next(iter(configs))
    for name, settings in configs.items():
        for key, (here, there) in config.differences(settings, configs[first]).items():
            if key.startswith("data.") or key in ("train.steps", "train.epochs", "train.batch_size"):
                raise errors.UserError(
                    f"The recipes must have the same data and schedule; got {key} {here} for {name} and {there} for "
                    f"{first}."
                )
    return configs


def run(
    configs: Mapping[str, config.Config],
    seeds: Sequence[int],
    out: Path,
    detector: str | None,
    command: str,
    report: Callable[[str], object],
    estimate_only: bool = False,
) -> str | None:
    """Trains and evaluates every method with every seed; finished runs are reused, stopped ones are resumed.

    Args:
      configs: from `load_recipes`.
      seeds: of the runs.
      out: output directory.
      detector: see `fomm_tf.evaluation`; None is `none` for drawn characters and `auto` otherwise.
      command: the command line, for the report and the runs' README.txt.
      report: takes lines for the user.
      estimate_only: only report how long it will take.

    Returns:
      The table as Markdown; None with `estimate_only`. The whole report is written after each run.

    Raises:
      errors.UserError: for a bad recipe, data set or directory, or if a run fails; it names the run.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved.
    """
    base = next(iter(configs.values()))
    files.check_other_directory(out, Path(base.data.root))
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"`out` {out} is a file; name a directory.")
    runs = ablation_plan.plan(configs, seeds, out)
    data = ablation_plan.prepare_data(base, report)
    protocol = ablation_runner.choose_protocol(data, detector, command)._replace(videos=True)
    report(estimate(configs, runs, protocol, out / "cost.json"))
    if estimate_only:
        return None
    reports: dict[str, dict[int, ablation_plan.Reports]] = {}
    summary = None
    for finished, tasks, is_new in ablation_runner.finish_runs(runs, protocol, report):
        reports.setdefault(finished.variant, {})[finished.seed] = tasks
        if is_new or finished is runs[-1]:
            titles = {name: METHODS[name].title for name in configs}
            in_order = {name: reports[name] for name in configs if name in reports}
            images = ablation_runner.draw_images(out, titles, in_order, base.model.frame_size)
            about = ablation_report.About(
                command, "one for each model", base.train.steps, tuple(seeds), len(runs), str(data.root),
                None if data.pairs is None else str(data.pairs), images,
            )  # fmt: skip
            summary = table3_report.Report(about, in_order)
            files.write_text(out / "report.md", summary.markdown())
            files.write_text(out / "report.json", summary.json())
    for page in build_studies([run for run in runs if run.seed == seeds[0]], data, out / "study"):
        report(f"{page}: Table 2, a page for participants; its key is beside it")
    return summary.table()


def estimate(
    configs: Mapping[str, config.Config],
    runs: Sequence[ablation_plan.Run],
    protocol: ablation_plan.Protocol,
    cost: Path,
) -> str:
    """Says how long the unfinished runs will take on this machine, from a few steps of each method.

    Args:
      configs: of the methods; their data exists.
      runs: all runs.
      protocol: how they are evaluated.
      cost: file of the measured times, which are not measured again.
    """
    fingerprints = protocol.data.fingerprints()
    left = [each for each in runs if not each.is_finished(protocol, fingerprints)]
    seconds: dict[str, float] = files.read_json(cost) if cost.is_file() else {}
    missing = [name for name in configs if name not in seconds and any(each.variant == name for each in left)]
    if missing:
        tasks = [(name, configs[name]) for name in missing]
        measured = lambda task, result: seconds.update({task[0]: result})  # noqa: E731
        workers.run(
            time_steps, tasks, processes=1, name=lambda task: task[0], on_result=measured, on_line=lambda line: None,
            progress=False,
        )  # fmt: skip
        files.write_json(cost, seconds)
    hours = sum(seconds[each.variant] * max(_steps_left(each), 0) for each in left) / _SHARE_OF_STEPS / 3600
    each = ", ".join(f"{METHODS[name].title} {value:.2f} s a step" for name, value in seconds.items())
    return f"{len(left)} of {len(runs)} runs to do, about {hours:.1f} h on this machine ({each})"


def time_steps(task: tuple[str, config.Config]) -> float:
    """Seconds per step of a method; meant for a worker process."""
    from fomm_tf.training import planning, setup

    session = setup.prepare(task[1], setup.choose_strategy(), None, None, lambda line: None)
    return planning.dry_run(session, lambda line: None)


def _steps_left(run: ablation_plan.Run) -> int:
    """Steps to train; those of a recipe in epochs are not known without its data."""
    saved = [int(path.stem.partition("-")[2]) for path in run.folder.glob("ckpt-*.index")]
    return (run.config.train.steps or 0) - max(saved, default=0)


def build_studies(runs: Sequence[ablation_plan.Run], data: ablation_plan.Data, folder: Path) -> list[Path]:
    """Writes the page and the key of the user study (Table 2) of each pair of methods; existing ones stay.

    Args:
      runs: finished runs of one seed, with videos of their animations.
      data: with the pairs; without pairs there is no study.
      folder: directory for `A--B.html` and `A--B.key.json`.

    Returns:
      The new pages.
    """
    pages = []
    pairs = [] if data.pairs is None else layout.read_pairs(data.pairs)
    for one, other in itertools.combinations(runs, 2) if pairs else ():
        page = folder / f"{one.variant}--{other.variant}.html"
        key = page.with_suffix(".key.json")
        if key.exists():
            continue
        questions = [
            study_build.Pair(
                data.pairs.parent / pair.source,
                data.pairs.parent / pair.driving,
                tuple(each.results / ablation_plan.ANIMATION / f"{pair.name}.mp4" for each in (one, other)),
                (pair.source, pair.driving),
            )
            for pair in pairs
        ]
        methods = tuple(METHODS[each.variant].title for each in (one, other))
        study_build.build(questions, methods, page, key, name=" and ".join(methods), seed=one.seed)
        pages.append(page)
    return pages
