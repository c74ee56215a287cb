"""Runs the checks of a device, one after the other, whatever becomes of one of them."""

from __future__ import annotations

import functools
import gc
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf
import tqdm

from fomm_tf import config, devices, errors
from fomm_tf.checkpoint import BUNDLED
from fomm_tf.device_check import frames, modes, report, steps
from fomm_tf.inference.engines import choice

# XLA and TF32 change how a SavedModel is run, not what is exported.
_EXPORTED = ("float32", "float16", "bfloat16")


class Options(NamedTuple):
    """What is checked.

    Attributes:
      settings: a recipe, whose animation and training step are timed with random weights.
      batch_size: driving frames a call and pairs a training step.
      rounds: how often each is timed.
      folder: the model whose frames and exports are compared.
    """

    settings: config.Config
    batch_size: int
    rounds: int = 5
    folder: str = str(BUNDLED)


class _Check(NamedTuple):
    name: str
    mode: str
    skip: str | None
    run: Callable[[], tuple[str, str]]


def run(
    device: str, options: Options, report_line: Callable[[str], object] = print
) -> tuple[dict[str, str], list[report.Row]]:
    """Runs all checks in all modes.

    TensorFlow then sees this device only, and of several GPUs the first one.

    Args:
      device: `gpu` or `cpu`.
      options: what is checked.
      report_line: receives a line for each check as soon as it is done.

    Returns:
      What the results depend on, and the results.

    Raises:
      errors.UserError: if there is no GPU, with the reason; or TensorFlow has been used before on another device.
    """
    gpu = _select(device)
    facts = report.describe_machine(gpu)
    size, batch = options.settings.model.frame_size, options.batch_size
    facts["timed"] = f"{size[1]}x{size[0]}, batch {batch}, random weights, medians of {options.rounds} (quartiles)"
    rows, checks = [], list(_list_checks(device, gpu, options))
    with tqdm.tqdm(total=len(checks), unit="check", disable=None) as bar:
        for check in checks:
            bar.set_postfix_str(f"{check.name}, {check.mode}")
            rows.append(_run_check(check))
            bar.update()
            report_line(rows[-1].describe())
            tf.keras.backend.clear_session()
            gc.collect()
    return facts, rows


def _select(device: str) -> devices.Gpu | None:
    """Makes one device visible; None is the CPU."""
    gpu = next(iter(devices.list_gpus()), None) if device == "gpu" else None
    if device == "gpu" and gpu is None:
        raise errors.UserError(f"{devices.explain_missing_gpu()}.")
    listed = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(listed[:1] if gpu else [], "GPU")
    return gpu


def _list_checks(device: str, gpu: devices.Gpu | None, options: Options) -> Iterator[_Check]:
    folder, batch, rounds = options.folder, options.batch_size, options.rounds
    machine = choice.current_machine()
    skips = {mode: modes.explain_skip(mode, gpu, machine) for mode in modes.MODES}
    # Built when first needed, so that what is wrong with it is in the table.
    parity = functools.cache(lambda: frames.Parity(folder))
    training = functools.cache(lambda size: steps.Training(options.settings, size))

    def make(name: str, mode: modes.Mode, call: Callable[..., tuple[str, str]], skip: str | None = None) -> _Check:
        def run() -> tuple[str, str]:
            with mode.scope():
                return call()

        return _Check(name, mode.name, skips[mode] or skip, run)

    for mode in modes.MODES:
        yield make("parity with float64", mode, lambda mode=mode: parity().check(mode))
    for mode in modes.MODES:
        if mode.name in _EXPORTED:
            call = functools.partial(frames.check_saved_model, folder, mode)
            yield make("SavedModel", mode, call, frames.explain_no_saved_model())
    yield make("ONNX", modes.FLOAT32, functools.partial(frames.check_onnx, folder), frames.explain_no_onnx(device))
    for mode in modes.MODES:
        yield make("matrix product", mode, functools.partial(frames.time_product, device, mode, rounds))
    for mode in modes.MODES:
        yield make("animation", mode, functools.partial(frames.time_animation, options.settings, batch, mode, rounds))
    for mode in modes.MODES:
        yield make("training step", mode, lambda mode=mode: training(batch).check(mode, rounds))
    if device == "gpu" and batch > 1:  # with the batch above, what a pair takes of the memory
        half = batch // 2
        yield make(f"training step, batch {half}", modes.FLOAT32, lambda: training(half).check(modes.FLOAT32, rounds))


def _run_check(check: _Check) -> report.Row:
    if check.skip is not None:
        return report.Row(check.name, check.mode, report.SKIPPED, check.skip)
    try:
        return report.Row(check.name, check.mode, *check.run())
    except errors.UserError as error:
        return report.Row(check.name, check.mode, report.FAILED, str(error))
    except Exception as error:  # the table says what failed, and the other checks say more
        reason = next(iter(str(error).splitlines()), "")
        text = f"{type(error).__name__}: {reason[:200]}"
        return report.Row(check.name, check.mode, report.FAILED, text, traceback.format_exc())
