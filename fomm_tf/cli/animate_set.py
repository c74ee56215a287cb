"""`fomm animate-set`: animations of many pairs."""

from __future__ import annotations

import argparse
import copy
import functools
import pathlib
import tempfile
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fomm_tf import console, errors, files, model_folders
from fomm_tf.cli import animate, options, scaling
from fomm_tf.data import layout, storage

if TYPE_CHECKING:
    from fomm_tf.inference import animator
    from fomm_tf.scale import animation


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    add("--data", metavar="DIR", required=True, help="the directory that its paths are relative to")
    add("--out", metavar="DIR", required=True, help="output directory for SOURCE--DRIVING.mp4 files")
    animate.add_shared_arguments(parser)
    scaling.add_runner(parser)


def _run(arguments: argparse.Namespace) -> None:
    pairs = layout.read_pairs(arguments.pairs)
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    files.check_name(out)
    is_remote = arguments.runner is not None and storage.is_url(arguments.data)
    if not (is_remote or data.is_dir()):
        raise errors.UserError(f"--data {data} is not a directory; give the one that the pairs' paths are relative to.")
    used = [data / path for pair in pairs for path in pair if path]
    inputs = files.Inputs([arguments.pairs, *used, *options.list_model_files(arguments.folder)])
    failures = (_run_on_beam if arguments.runner is not None else _run_here)(arguments, pairs, inputs)
    if failures:
        raise errors.UserError(f"{len(failures)} of {len(pairs)} pairs could not be animated: {' | '.join(failures)}")


def _run_here(arguments: argparse.Namespace, pairs: Sequence[layout.Pair], inputs: files.Inputs) -> list[str]:
    """Animates the pairs one after the other; returns what could not be animated, with the reasons."""
    data = pathlib.Path(arguments.data)
    model = animate.load(arguments, str(data / pairs[0].source))
    failures = []
    for number, pair in enumerate(pairs, 1):
        target = pathlib.Path(arguments.out) / f"{pair.name}.mp4"
        try:
            inputs.check(target)
            count = animate.animate_pair(
                model, arguments, str(data / pair.source), str(data / pair.driving), str(target)
            )
        except errors.UserError as error:
            failures.append(f"{_describe(pair)}: {error}")
            continue
        if not arguments.quiet:
            print(f"{number}/{len(pairs)} {target}: {count} frames")
    return failures


def _run_on_beam(arguments: argparse.Namespace, pairs: Sequence[layout.Pair], inputs: files.Inputs) -> list[str]:
    """As `_run_here`, as a pipeline."""
    with scaling.requires_beam(arguments):
        from fomm_tf.scale import animation
        from fomm_tf.scale import storage as scaled
    from fomm_tf.inference import engines

    executor = scaling.make_executor(arguments, animation.AnimatePairs)
    data, report = arguments.data, (lambda line: None) if arguments.quiet else print
    folder = model_folders.read(arguments.folder or model_folders.BUNDLED)
    with tempfile.TemporaryDirectory() as place:
        source = scaled.join(data, pairs[0].source)
        if engines.AUTO in (arguments.engine, arguments.precision):
            source = str(scaled.Names(place).fetch(source))
        engine, precision = animate.choose_engine(arguments, folder, source, report)
    todo, reasons = {}, {}
    for number, pair in enumerate(pairs, 1):
        target = scaled.join(arguments.out, f"{pair.name}.mp4")
        try:
            inputs.check(target)
            task = animation.Task(scaled.join(data, pair.source), scaled.join(data, pair.driving), target)
            todo[task] = number, pair
        except errors.UserError as error:
            reasons[pair] = str(error)

    def on_result(task: animation.Task, animated: animation.Animated) -> None:
        for line in animated.lines:
            report(line)
        for warning in animated.warnings:
            warnings.warn(warning, stacklevel=2)
        report(f"{todo[task][0]}/{len(pairs)} {task.out}: {animated.frames} frames")

    animate_task = functools.partial(_animate_task, _for_workers(arguments), (str(folder.path), engine, precision))
    function = functools.partial(animation.animate_urls, animate_task)
    executor(
        function,
        list(todo),
        on_result=on_result,
        on_failure=lambda task, reason: reasons.update({todo[task][1]: reason}),
    )
    scaling.report(executor, ((_describe(pair), reason) for pair, reason in reasons.items()), arguments.quiet)
    return [f"{_describe(pair)}: {reasons[pair]}" for pair in pairs if pair in reasons]


def _animate_task(
    arguments: argparse.Namespace, model: tuple[str, str | None, str | None], task: animation.Task
) -> animation.Animated:
    """Animates a pair on a worker."""
    from fomm_tf.scale import animation

    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        frames = animate.animate_pair(_load(*model), arguments, *task, report=lines.append)
    messages = dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    return animation.Animated(frames, tuple(lines), tuple(messages))


@functools.cache
def _load(folder: str, engine: str | None, precision: str | None) -> animator.Animator:
    from fomm_tf.inference import animator

    return animator.Animator.load(folder, precision, engine)


def _for_workers(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options of `animate.add_shared_arguments`, without a progress bar."""
    chosen = copy.copy(arguments)
    del chosen.run, chosen.parser
    chosen.quiet = True
    return chosen


def _describe(pair: layout.Pair) -> str:
    return f"{pair.source} by {pair.driving}"


ANIMATE_SET = console.Command("animate many pairs of image and video, listed in a CSV file", _add_arguments, _run)
