"""The paper's ablation (Table 1) and its comparison with the zeroth-order model (Table 3): trains and evaluates runs.

Convention:
  * a variant is the base recipe, which is "Full", with the keys in which `configs/ablation/VARIANT.yaml` differs from
    `configs/ablation/full.yaml`;
  * a run is a variant and a seed. It is an ordinary run directory, OUT/VARIANT-seedS, which `fomm_tf.training.loop`
    trains in a process of its own, as `fomm train` does, so that no state is left from the run before;
  * the last checkpoint of a run is evaluated, not the best one on the test clips;
  * the zeroth-order model, Full with `model.jacobian` false, is the paper's "Pyr.+O": the same runs stand for both.

This process does not load TensorFlow.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tqdm

from fomm_tf import config, errors, files, video, visualize, workers
from fomm_tf.experiments import ablation_plan, ablation_report

_ALWAYS, _DETECTED = ("l1", "psnr", "ssim"), ("akd", "mkr", "aed")
_CELL_HEIGHT = 128
_CAPTIONS = {
    ablation_plan.RECONSTRUCTION: "A test clip reconstructed by each model from its first frame and its keypoints",
    ablation_plan.ANIMATION: "An image, another character's clip, the ground truth, and each model's animation",
}


def run(
    base: config.Config,
    recipe: str,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    detector: str | None,
    command: str,
    report: Callable[[str], object],
) -> ablation_report.Report:
    """Trains and evaluates every variant with every seed; finished runs are reused, stopped ones are resumed.

    Args:
      base: the recipe of the full model, with its data.
      recipe: its name, for the report.
      variants: names from `ablation_plan.VARIANTS`, in their order.
      seeds: of the runs.
      out: output directory.
      detector: see `fomm_tf.evaluation`; None is `none` for drawn characters and `auto` otherwise.
      command: the command line, for the report and the runs' README.txt.
      report: takes lines for the user.

    Returns:
      The report, which is written after each run.

    Raises:
      errors.UserError: for a bad recipe, data set or directory, or if a run fails; it names the run.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved.
    """
    files.check_other_directory(out, Path(base.data.root))
    configs = ablation_plan.configure(base, variants)
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"`out` {out} is a file; name a directory.")
    runs = ablation_plan.plan(configs, seeds, out)
    data = ablation_plan.prepare_data(base, report)
    protocol = choose_protocol(data, detector, command)
    pairs = None if data.pairs is None else str(data.pairs)
    about = ablation_report.About(command, recipe, base.train.steps, tuple(seeds), len(runs), str(data.root), pairs)
    reports: dict[str, dict[int, ablation_plan.Reports]] = {}
    summary = None
    for ablation_run, tasks, is_new in finish_runs(runs, protocol, report):
        reports.setdefault(ablation_run.variant, {})[ablation_run.seed] = tasks
        if is_new or ablation_run is runs[-1]:
            in_order = {name: reports[name] for name in variants if name in reports}
            titles = {name: ablation_plan.VARIANTS[name].title for name in in_order}
            images = draw_images(out, titles, in_order, base.model.frame_size)
            summary = ablation_report.Report(about._replace(images=images), in_order)
            files.write_text(out / "report.md", summary.markdown())
            files.write_text(out / "report.json", summary.json())
    return summary


def choose_protocol(data: ablation_plan.Data, detector: str | None, command: str) -> ablation_plan.Protocol:
    """How runs are evaluated; `detector` None is `none` for drawn characters and `auto` otherwise."""
    detector = detector or ("none" if data.drawn else "auto")
    metrics = _ALWAYS if detector == "none" else _ALWAYS + _DETECTED
    return ablation_plan.Protocol(data, metrics, detector, command)


def finish_runs(
    runs: Sequence[ablation_plan.Run], protocol: ablation_plan.Protocol, report: Callable[[str], object]
) -> Iterator[tuple[ablation_plan.Run, ablation_plan.Reports, bool]]:
    """Trains and evaluates the runs that are not finished.

    Args:
      runs: in the order in which they are finished.
      protocol: how they are evaluated.
      report: takes lines for the user.

    Yields:
      Each run, its reports, and whether it was not finished before.

    Raises:
      errors.UserError: if a run fails; it names the run.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved.
    """
    fingerprints = protocol.data.fingerprints()
    with tqdm.tqdm(total=len(runs), unit="run", disable=None) as bar:
        for run in runs:
            bar.set_postfix_str(run.name)
            is_new = not run.is_finished(protocol, fingerprints)
            if is_new:
                _run_in_worker(run, protocol, report)
                run.mark_finished(protocol, fingerprints)
            yield run, run.read_reports(protocol), is_new
            bar.update()


def train_and_evaluate(run: ablation_plan.Run, protocol: ablation_plan.Protocol) -> None:
    """Trains a run, or resumes it, and evaluates it; meant for a worker process."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}")

    from fomm_tf import evaluation
    from fomm_tf.training import loop

    resume = (run.folder / "config.yaml").is_file()
    try:
        loop.run(None if resume else run.config, run.folder, resume=resume, command=protocol.command)
    except KeyboardInterrupt as interruption:
        print(interruption)  # a worker's exception does not reach the main process
        raise
    settings = evaluation.Settings(metrics=protocol.metrics, detector=protocol.detector)
    evaluation.evaluate(run.folder, protocol.data.root, run.results / ablation_plan.RECONSTRUCTION, settings)
    pairs = protocol.data.pairs
    if pairs is not None:
        settings = evaluation.Settings(metrics=("l1",), videos=protocol.videos)
        evaluation.evaluate(run.folder, pairs.parent, run.results / ablation_plan.ANIMATION, settings, pairs)


def _run_in_worker(run: ablation_plan.Run, protocol: ablation_plan.Protocol, report: Callable[[str], object]) -> None:
    try:
        workers.run(
            functools.partial(train_and_evaluate, protocol=protocol),
            [run],
            processes=1,
            name=lambda run: run.name,
            on_line=lambda line: report(f"{run.name}: {line}"),
            progress=False,
        )
    except errors.UserError as error:
        raise errors.UserError(f"{run.name}: {error}") from error
    except KeyboardInterrupt:
        report(f"{run.name}: stopped; run the same command again to resume")
        raise


def draw_images(
    out: Path, titles: Mapping[str, str], reports: ablation_report.RunReports, frame_size: tuple[int, int]
) -> dict[str, str]:
    """Draws a comparison of the variants for each task, of the first finished seed.

    Args:
      out: directory for the images, with the runs and their evaluations.
      titles: variant -> its name in the images, in their order.
      reports: of the finished runs, in the same order.
      frame_size: `(H, W)` of a frame.

    Returns:
      File name -> caption.
    """
    seed, tasks = next(iter(next(iter(reports.values())).items()))
    folders = {
        titles[name]: out / "evaluation" / f"{name}-seed{seed}" for name, by_seed in reports.items() if seed in by_seed
    }
    images = {}
    for task in tasks:
        video.write_image(out / f"{task}.png", _draw_comparison(folders, median_video(tasks[task]), task, frame_size))
        images[f"{task}.png"] = f"{_CAPTIONS[task]} (seed {seed})"
    return images


def median_video(report: Mapping[str, list]) -> str:
    """Name of the video with the median L1, which is typical rather than flattering; those without L1 do not count."""
    l1 = {result["name"]: result["model"].get("l1") for result in report["videos"]}
    known = [name for name in l1 if l1[name] is not None]
    ranked = sorted(known, key=lambda name: l1[name]["total"] / l1[name]["frames"]) or list(l1)
    return ranked[len(ranked) // 2]


def _draw_comparison(folders: Mapping[str, Path], name: str, task: str, size: tuple[int, int]) -> np.ndarray:
    """Source and driving frames, ground truth if it is another video, then the result of each variant.

    Args:
      folders: title of a variant -> directory of its evaluations.
      name: of the video.
      task: of the evaluation.
      size: `(H, W)` of a frame.
    """
    strips = {
        title: _split_strip(video.read_image(folder / task / "results" / task / f"{name}.png"), size)
        for title, folder in folders.items()
    }
    source, driving, _, *truth = next(iter(strips.values()))
    rows = [visualize.Row("driving", [source[0], *driving])]
    rows += [visualize.Row("truth", [None, *frames]) for frames in truth]
    rows += [visualize.Row(title, [None, *strip[2]]) for title, strip in strips.items()]
    cell = (_CELL_HEIGHT, round(_CELL_HEIGHT * size[1] / size[0]))
    return visualize.draw_grid(rows, ["source", *[""] * len(driving)], cell)


def _split_strip(strip: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Splits a strip of `fomm_tf.evaluation` into its frames, `[rows, moments, H, W, 3]`."""
    height, width = size
    rows, moments = strip.shape[0] // height, strip.shape[1] // width
    return strip.reshape(rows, height, moments, width, 3).swapaxes(1, 2)
