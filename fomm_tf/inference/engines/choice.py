"""The fastest engine for a run on this machine: what its CPU cannot run fast is left out, and the rest is timed once.

Engines are timed in turns on the source image, shifted a little as driving frames. The result is cached for the
machine and the run. An engine whose frames are too far from those of Keras in float32 is not chosen.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, files, model_folders, workers
from fomm_tf.inference import engines
from fomm_tf.inference.engines import AUTO, PRECISIONS, Engine, stages

MIN_PSNR_DB = 40.0
_REFERENCE = ("keras", "float32")
# By less than this, another engine is not worth leaving Keras in float32.
_MARGIN = 1.03
_FRAMES, _ROUNDS = 4, 3
# Engines that are slower by this factor after one round are not timed again.
_HOPELESS = 1.5
# int8 is calibrated on few images, so that its quality on others is for the user to judge; float16 is for GPUs.
_NOT_TIMED = ("int8", "float16")
_MODULES = {"keras": ("tensorflow",), "litert": ("ai_edge_litert",), "onnxruntime": ("onnxruntime", "tf2onnx")}
_PACKAGES = ("tensorflow", "ai-edge-litert", "onnxruntime")

# Flags of x86 and Arm CPUs, as Linux names them.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
# Measured with the networks of vox-256 at 256 x 256 on 2 cores: time relative to float32 in the same engine.
_SLOWDOWN_BFLOAT16, _SLOWDOWN_8_BITS = 3.8, 1.2
# The same with mobile-128 in TensorFlow; the other engines convert float16 to float32.
_SLOWDOWN_FLOAT16 = 12

Pair = tuple[str, str]  # engine, precision


class Machine(NamedTuple):
    """The hardware that engines run on.

    Attributes:
      processor: its name.
      flags: of the CPU; empty if they are unknown.
      cores: that this process may use.
      has_gpu: whether an NVIDIA GPU is there.
    """

    processor: str
    flags: frozenset[str]
    cores: int
    has_gpu: bool

    def slowness(self, engine: str, precision: str) -> str | None:
        """Why a precision is slower than float32 here, with the measured factor; None if it is not known to be."""
        if precision == "bfloat16" and not self.has_gpu and self.flags and not self.flags & _BFLOAT16:
            return f"this CPU has no BF16 instructions: {_SLOWDOWN_BFLOAT16} times the time of float32"
        if precision == "float16" and not self.has_gpu and engine in ("keras", "saved_model"):
            return f"TensorFlow emulates it on CPUs: {_SLOWDOWN_FLOAT16} times the time of float32"
        if precision in ("dynamic", "int8") and self.flags and not self.flags & _DOT_PRODUCTS:
            return f"this CPU has no VNNI instructions: {_SLOWDOWN_8_BITS} times the time of float32"
        return None


class Timing(NamedTuple):
    """How an engine did.

    Attributes:
      milliseconds: of a driving frame, in the fastest round: other processes disturb it least.
      psnr: of its worst frame against Keras in float32, in dB.
    """

    milliseconds: float
    psnr: float


@functools.cache
def current_machine() -> Machine:
    """This machine."""
    name, flags = platform.processor() or platform.machine(), frozenset()
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.exists():
        lines = [line.partition(":") for line in cpu.read_text(encoding="utf-8", errors="replace").splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        name = facts.get("model name", name)
        flags = frozenset((facts.get("flags") or facts.get("Features") or "").split())
    # Settings that keep oneDNN, and so TensorFlow, from these instructions.
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT") not in ("DEFAULT", "ALL")
    if limited or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        flags -= _BFLOAT16
    has_gpu = pathlib.Path("/proc/driver/nvidia/version").exists()
    return Machine(name, flags, workers.available_cores(), has_gpu)


def choose(
    folder: model_folders.ModelFolder,
    engine: str | None,
    precision: str | None,
    read_image: Callable[[], np.ndarray],
    force: bool = False,
    report: Callable[[str], object] = print,
    on: Machine | None = None,
) -> tuple[str | None, str | None]:
    """Chooses engine and precision, of which one or both are `auto`.

    Args:
      folder: from `model_folders.read`; exported files have their own engine and default precision.
      engine: `auto`, or the engine to choose a precision for; None is Keras.
      precision: `auto`, or the precision to choose an engine for; None is `auto`.
      read_image: returns a source, `[H, W, 3]` uint8 of the model's size, to time engines on.
      force: time also what is known to be slow.
      report: receives the choice in one line, and a line before timings and exports.
      on: the machine; default: this one.

    Returns:
      Both, for `fomm_tf.inference.engines.load`.

    Raises:
      errors.UserError: if no engine has that precision, or the run cannot be read.
    """
    if folder.kind != "run":
        return tuple(None if name == AUTO else name for name in (engine, precision))
    engine, precision, on = engine or "keras", precision or AUTO, on or current_machine()
    pairs, omitted = candidates(engine, precision, on, force)
    if not folder.config.model.traits.has_stages:
        pairs = [pair for pair in pairs if pair[0] == "keras"]
        omitted = [*omitted, f"a model of kind {folder.config.model.kind} runs on keras only"]
    if not pairs:
        reasons = "; ".join(omitted) or "no engine has it"
        raise errors.UserError(f"`precision`: got {precision} for the engine {engine}: {reasons}; choose another one.")
    timings = {}
    if pairs != [_REFERENCE]:
        place = stages.cache_folder(folder) / f"timings-{_machine_key(on)}.json"
        timings, timed = _read(place), list(dict.fromkeys([_REFERENCE, *pairs]))
        if not timings.keys() >= set(timed):
            report(f"timing {len(timed)} engines, once for this machine and model")
            loaders = {pair: functools.partial(engines.load, folder, *pair, report) for pair in timed}
            timings = measure(loaders, read_image())
            files.write_json(place, {" ".join(pair): list(timing) for pair, timing in timings.items()})
    chosen = fastest({pair: timings[pair] for pair in pairs}) if timings else _REFERENCE
    report(_line(chosen, timings, omitted))
    return chosen


def check(
    folder: model_folders.ModelFolder,
    engine: str | None,
    precision: str | None,
    force: bool = False,
    on: Machine | None = None,
) -> None:
    """Refuses a precision that is known to be slow on this machine.

    Args:
      folder: see `choose`.
      engine: see `fomm_tf.inference.engines.load`; also the next argument.
      precision: what the networks compute in.
      force: warn only.
      on: the machine; default: this one.

    Warns:
      UserWarning: with `force`, by which factor it is slower.

    Raises:
      errors.UserError: without `force`.
    """
    engine, precision = engine or engines.OWN[folder.kind], precision or engines.default_precision(folder)
    reason = (on or current_machine()).slowness(engine, precision)
    if reason is None:
        return
    text = f"{engine} is slow in {precision} here: {reason}"
    if not force:
        raise errors.UserError(f"`precision`: {text}; choose another one, or add `force`.")
    warnings.warn(f"{text}.", stacklevel=2)


def candidates(engine: str, precision: str, on: Machine, force: bool = False) -> tuple[list[Pair], list[str]]:
    """The engines and precisions to time, and why others are left out."""
    pairs, omitted = [], []
    for name, precisions in PRECISIONS.items():
        if engine not in (AUTO, name):
            continue
        missing = [module for module in _MODULES[name] if importlib.util.find_spec(module) is None]
        if missing:
            omitted.append(f"{name} needs {missing[0]}")
            continue
        for each in precisions:
            if precision not in (AUTO, each) or (precision == AUTO and each in _NOT_TIMED and not on.has_gpu):
                continue
            if on.has_gpu and name != "keras":
                continue
            if (reason := on.slowness(name, each)) and not force:
                omitted.append(f"no {name} {each}, {reason}")
            else:
                pairs.append((name, each))
    return pairs, omitted


def fastest(timings: Mapping[Pair, Timing]) -> Pair:
    """The fastest of those that are close enough to float32; Keras in float32 unless another one is faster by 3 %."""
    good = {pair: timing.milliseconds for pair, timing in timings.items() if timing.psnr >= MIN_PSNR_DB}
    if not good:
        return max(timings, key=lambda pair: timings[pair].psnr)
    best = min(good, key=good.get)
    return _REFERENCE if good.get(_REFERENCE, np.inf) < _MARGIN * good[best] else best


def measure(loaders: Mapping[Pair, Callable[[], Engine]], image: np.ndarray) -> dict[Pair, Timing]:
    """Times engines in turns.

    Args:
      loaders: load each engine; the first one is the reference of quality.
      image: `[H, W, 3]` uint8 of the model's size.
    """
    source = image[np.newaxis] / np.float32(255)
    frames = np.concatenate([np.roll(source, shift, axis=2) for shift in range(1, _FRAMES + 1)])
    calls, psnr, exact = {}, {}, None
    for pair, load in loaders.items():
        engine = load()
        encoded = engine.encode_source(source)
        calls[pair] = lambda engine=engine, encoded=encoded: np.asarray(
            engine.render(encoded, engine.detect(frames)).prediction
        )
        predictions = calls[pair]()  # the first call is slower
        exact = predictions if exact is None else exact
        errors_squared = np.square(predictions - exact).mean(axis=(1, 2, 3)).max()
        psnr[pair] = float(np.round(-10 * np.log10(max(errors_squared, 1e-10)), 1))
    milliseconds = {pair: [] for pair in calls}
    for number in range(_ROUNDS):
        limit = _HOPELESS * min(map(min, milliseconds.values())) if number else np.inf
        for pair, call in calls.items():
            if number and min(milliseconds[pair]) > limit:
                continue
            begin = time.perf_counter()
            call()
            milliseconds[pair].append(1000 * (time.perf_counter() - begin) / _FRAMES)
    return {pair: Timing(round(min(milliseconds[pair]), 2), psnr[pair]) for pair in calls}


def _line(chosen: Pair, timings: Mapping[Pair, Timing], omitted: list[str]) -> str:
    """The choice in one line."""
    line = f"engine: {' '.join(chosen)}"
    if chosen in timings:
        line += f", {timings[chosen].milliseconds:.3g} ms a frame, {timings[chosen].psnr:.0f} dB from float32"
    others = [
        f"{' '.join(pair)} {timing.milliseconds:.3g} ms{f', {timing.psnr:.0f} dB' if timing.psnr < MIN_PSNR_DB else ''}"
        for pair, timing in timings.items()
        if pair != chosen
    ]
    return f"{line} ({'; '.join([*others, *omitted])})" if others or omitted else line


def _machine_key(on: Machine) -> str:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            versions.append(None)
    return files.digest(on.processor, sorted(on.flags), on.cores, on.has_gpu, *versions).hex()[:16]


def _read(place: pathlib.Path) -> dict[Pair, Timing]:
    """Earlier timings; empty if there are none, or the file is damaged."""
    try:
        return {tuple(name.split()): Timing(*values) for name, values in files.read_json(place).items()}
    except (errors.UserError, AttributeError, TypeError, ValueError):
        return {}
