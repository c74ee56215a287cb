"""`python -m fomm_tf.ablation`: all runs, one after the other, and the report."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import tqdm

from fomm_tf import config, console, errors, files, video
from fomm_tf.ablation import material, numbers, pictures, process, report, runs, variants, work

_NAME = "python -m fomm_tf.ablation"
_RECIPE = "ablation-64"
_ALWAYS, _DETECTED = ("l1", "psnr", "ssim"), ("akd", "mkr", "aed")

_TEXT = "Trains the variants of the paper's ablation (Table 1) from the same data and seeds, and compares them."
_MORE = """\
variants, all in what configs/ablation/ says against full:
  baseline                   no occlusion map, no Jacobians, the loss at full resolution only
  pyramid                    with the loss on a pyramid of resolutions
  pyramid-occlusion          and with the occlusion map: also the zeroth-order model (full with model.jacobian=false)
  no-jacobian-equivariance   and with Jacobians, but without their equivariance loss (Eq. 12)
  full                       the whole method

examples:
  python -m fomm_tf.ablation                                    drawn heads, 15 runs, some two hours on 2 cores
  python -m fomm_tf.ablation --data data/faces --config my.yaml --steps 3000 --seeds 0 1 --out runs/faces-ablation
  python -m fomm_tf.ablation --variants baseline full --seeds 0

data: DIR/test (or a tenth of the identities, where there are no parts) is rebuilt. Where DIR/pairs.csv or
DIR/transfers/pairs.csv has a column truth, its pairs are animated too and compared with the true animation; python -m
fomm_tf.data.puppets --transfers N --out DIR/transfers makes such of drawn characters.

what is written:
  OUT/VARIANT-seedS/            run folders, as train.py makes them
  OUT/evaluation/VARIANT-seedS/ what fomm evaluate says of each
  OUT/report.md, report.json    the tables, anew after each run; reconstruction.png, animation.png

Stopped, by Ctrl-C (it saves) or by kill -9, and started again by the same command, it goes on where it was, bit for
bit.
exit code: 0 done, 2 a mistake or a full disk, 130 stopped and saved
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the arguments; default those of the process.

    Returns:
      The exit code.
    """
    return console.run("ablation", lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    options = _parser().parse_args(argv)
    command = shlex.join(["python", "-m", "fomm_tf.ablation", *argv])
    chosen = [name for name in variants.VARIANTS if name in options.variants]
    seeds = tuple(dict.fromkeys(options.seeds))
    base = config.load(config.recipes().get(options.config, options.config))
    if options.steps is not None:
        base = config.override(base, [f"train.steps={options.steps}"])
    base = material.point_at(base, options.data)
    configs = variants.configure(base, chosen, f"--config {options.config}")
    if options.out.exists() and not options.out.is_dir():
        raise errors.UserError(f"--out {options.out} is a file; name a folder.")
    planned = runs.plan(configs, seeds, options.out)
    shown = material.prepare(base, _say)
    detector = options.detector or ("none" if shown.drawn else "auto")
    metrics = _ALWAYS if detector == "none" else _ALWAYS + _DETECTED
    stamps = shown.stamps()
    found: dict[str, dict[int, numbers.Reports]] = {}
    about = report.About(command, options.config, base.train.steps, seeds, len(planned), *shown.names())
    with tqdm.tqdm(total=len(planned), unit="run", disable=None) as bar:
        for run in planned:
            bar.set_postfix_str(run.name)
            task = run.task(shown, metrics, detector, command)
            finished = run.is_finished(task, stamps)
            if not finished:
                _work(run, task)
                run.finish(task, stamps)
            found.setdefault(run.variant, {})[run.seed] = run.read(task)
            if not finished or run is planned[-1]:
                made = _write(options.out, about, {name: found[name] for name in chosen if name in found}, base)
            bar.update()
    print(f"{made.table()}\n\n{options.out}: report.md, report.json and pictures")


def _work(run: runs.Run, task: work.Task) -> None:
    """Trains and judges a run; what goes wrong is told with its name."""
    try:
        process.run(task, lambda line: _say(f"{run.name}: {line}"))
    except errors.UserError as error:
        raise errors.UserError(f"{run.name}: {error}") from error
    except KeyboardInterrupt:
        _say(f"{run.name}: stopped; the same command goes on from here")
        raise


def _write(out: Path, about: report.About, found: report.Found, base: config.Config) -> report.Report:
    """Writes the report of the runs that are done."""
    first = next(iter(found.values()))
    seed, reports = next(iter(first.items()))
    places = {
        variants.VARIANTS[name].title: out / "evaluation" / f"{name}-seed{seed}"
        for name, of in found.items()
        if seed in of
    }
    drawn = {}
    for task in reports:
        picture = pictures.draw(places, pictures.choose(reports, task), task, base.model.frame_size)
        video.write_image(out / f"{task}.png", picture)
        drawn[f"{task}.png"] = f"{pictures.caption(task)} (seed {seed})"
    made = report.Report(about._replace(pictures=drawn), found)
    for name, text in (("report.md", made.markdown()), ("report.json", made.json())):
        with files.replace_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return made


def _say(line: str) -> None:
    """A line above the bar."""
    with tqdm.tqdm.external_write_mode():
        print(line, flush=True)


def _parser() -> console.Parser:
    parser = console.Parser(
        prog=_NAME, description=_TEXT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="what to train on and to test on (default: the recipe's, drawn if need be)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of each run (default: the recipe's)")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=(0, 1, 2),
        metavar="S",
        help="which, each trains every variant once (default: 0 1 2)",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=list(variants.VARIANTS),
        default=list(variants.VARIANTS),
        metavar="NAME",
        help="which of those below (default: all)",
    )
    parser.add_argument(
        "--config",
        default=_RECIPE,
        metavar="RECIPE",
        help="the full model's sizes, schedule and loss weights: a name in configs/ or a file (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        metavar="none|faces|bodies|auto",
        help="what AKD, MKR and AED look for; or module:function, see fomm_tf.detectors (default: none for drawn "
        "characters, else auto, by the first frames)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/ablation"),
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
    return parser
