"""Choice of an engine: what is slow on a CPU is left out or refused; the rest is timed once, within a quality bound."""

import time
import types

import numpy as np
import pytest

from fomm_tf import config, errors, model_folders
from fomm_tf.inference import engines
from fomm_tf.inference.engines import choice
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

AVX2 = choice.Machine("old", frozenset(["avx2"]), 2, False)
AVX512 = choice.Machine("new", frozenset(["avx2", "avx512_bf16", "avx512_vnni"]), 2, False)
GPU = AVX2._replace(has_gpu=True)
KERAS = ("keras", "float32")


@pytest.mark.parametrize(
    ("on", "engine", "precision", "reason"),
    [
        (AVX2, "keras", "bfloat16", "no BF16 instructions"),
        (AVX2, "litert", "dynamic", "no VNNI instructions"),
        (AVX2, "litert", "int8", "no VNNI instructions"),
        (AVX512, "keras", "float16", "TensorFlow emulates it on CPUs"),
        (AVX512, "saved_model", "float16", "TensorFlow emulates it on CPUs"),
    ],
)
def test_slowness_gives_a_reason_and_a_factor(on, engine, precision, reason):
    assert reason in on.slowness(engine, precision)
    assert "times the time of float32" in on.slowness(engine, precision)


@pytest.mark.parametrize(
    ("on", "engine", "precision"),
    [
        (AVX512, "keras", "bfloat16"),
        (AVX512, "litert", "dynamic"),
        (AVX2, "litert", "float16"),
        (AVX2, "onnxruntime", "float16"),
        (GPU, "keras", "float16"),
        (AVX2._replace(flags=frozenset()), "keras", "bfloat16"),
    ],
)
def test_slowness_is_none_where_nothing_is_known_to_be_slow(on, engine, precision):
    assert on.slowness(engine, precision) is None


def test_current_machine_hides_what_onednn_may_not_use(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    choice.current_machine.cache_clear()
    limited = choice.current_machine()
    choice.current_machine.cache_clear()
    assert not limited.flags & {"avx512_bf16", "amx_bf16"}
    assert limited.cores >= 1 and limited.processor


def test_candidates_leave_out_what_is_slow():
    pairs, omitted = choice.candidates("auto", "auto", AVX512)
    assert pairs == [
        KERAS,
        ("keras", "bfloat16"),
        ("litert", "float32"),
        ("litert", "dynamic"),
        ("onnxruntime", "float32"),
    ]
    assert not omitted
    pairs, omitted = choice.candidates("auto", "auto", AVX2)
    assert pairs == [KERAS, ("litert", "float32"), ("onnxruntime", "float32")]
    assert [line.split(",")[0] for line in omitted] == ["no keras bfloat16", "no litert dynamic"]
    assert ("keras", "bfloat16") in choice.candidates("auto", "auto", AVX2, force=True)[0]
    assert choice.candidates("litert", "int8", AVX512)[0] == [("litert", "int8")]
    assert {name for name, _ in choice.candidates("auto", "auto", GPU)[0]} == {"keras"}


def test_fastest_is_within_the_quality_bound_and_worth_leaving_keras():
    timings = {KERAS: choice.Timing(100, 100), ("litert", "dynamic"): choice.Timing(20, 39.9)}
    assert choice.fastest(timings) == KERAS
    timings[("onnxruntime", "float32")] = choice.Timing(98, 90)
    assert choice.fastest(timings) == KERAS
    timings[("litert", "float32")] = choice.Timing(90, 90)
    assert choice.fastest(timings) == ("litert", "float32")


class FakeEngine(engines.Engine):
    """Takes `seconds` on a clock that only it moves, and returns gray frames off by `error`."""

    name, precision, calls = "fake", "float32", 0

    def __init__(self, clock, seconds, error):
        self._clock, self._seconds, self._error = clock, seconds, error

    def detect(self, frames):
        self._clock[0] += self._seconds
        self.calls += 1
        return Keypoints(np.zeros([len(frames), 1, 2]), None)

    def encode_source(self, image):
        return EncodedSource(image, image, self.detect(image), image)

    def render(self, source, keypoints, details=False):
        return Rendering(np.full([len(keypoints.value), *source.image.shape[1:]], 0.5 + self._error))

    def weights_sha256(self):
        return ""

    def device(self):
        return ""


def test_measure_gives_times_and_quality_and_drops_what_is_hopeless(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    made = {name: FakeEngine(clock, *values) for name, values in {"a": (1, 0), "b": (1.2, 0.01), "c": (4, 0)}.items()}
    loaders = {(name, "float32"): lambda engine=engine: engine for name, engine in made.items()}
    timings = choice.measure(loaders, np.zeros([8, 8, 3], np.uint8))
    assert [timing.milliseconds for timing in timings.values()] == [250, 300, 1000]
    assert [timing.psnr for timing in timings.values()] == [100, 40, 100]
    assert made["c"].calls == made["a"].calls - 2


@pytest.fixture
def run(small_files, tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    return model_folders.read(small_files("run"))


def test_choose_measures_once_a_machine_and_model(run, tmp_path, monkeypatch):
    measured, lines = [], []

    def measure(loaders, image):
        measured.append(sorted(loaders))
        return {pair: choice.Timing(10 - number, 50) for number, pair in enumerate(loaders)}

    monkeypatch.setattr(choice, "measure", measure)

    def choose(on=AVX512, engine="auto", precision=None):
        return choice.choose(run, engine, precision, lambda: None, report=lines.append, on=on)

    assert choose() == choose() == ("onnxruntime", "float32")
    assert len(measured) == 1
    assert lines[0] == "timing 5 engines, once for this machine and model"
    assert lines[1] == lines[2]
    assert lines[1].startswith("engine: onnxruntime float32, 6 ms a frame, 50 dB from float32 (keras float32 10 ms;")
    assert choose(engine="litert") == ("litert", "dynamic")
    assert len(measured) == 1
    assert choose(on=AVX2) == ("onnxruntime", "float32")
    assert len(measured) == 2 and "no keras bfloat16, this CPU has no BF16 instructions" in lines[-1]
    for path in tmp_path.rglob("timings-*.json"):
        path.write_text("{damaged")
    choose()
    assert len(measured) == 3


def test_choose_takes_the_only_candidate_without_measuring(run):
    lines = []
    assert choice.choose(run, "keras", "auto", lambda: None, report=lines.append, on=AVX2) == KERAS
    assert lines == [f"engine: keras float32 (no keras bfloat16, {AVX2.slowness('keras', 'bfloat16')})"]


def test_choose_rejects_a_precision_that_no_engine_has(run):
    with pytest.raises(errors.UserError, match="`precision`: got bfloat16 for the engine litert: no engine has it"):
        choice.choose(run, "litert", "bfloat16", lambda: None, on=AVX512)
    with pytest.raises(
        errors.UserError, match="got bfloat16 for the engine auto: no keras bfloat16, this CPU has no BF16"
    ):
        choice.choose(run, "auto", "bfloat16", lambda: None, on=AVX2)


def test_check_refuses_what_is_slow_unless_forced(run):
    with pytest.raises(errors.UserError, match=r"keras is slow in bfloat16 here: this CPU has no BF16 .* add `force`"):
        choice.check(run, None, "bfloat16", on=AVX2)
    with pytest.warns(UserWarning, match=r"litert is slow in int8 here: .* 1.2 times the time of float32"):
        choice.check(run, "litert", "int8", force=True, on=AVX2)
    choice.check(run, None, None, on=AVX2)
    choice.check(run, None, "bfloat16", on=AVX512)


def machine(monkeypatch, folder):
    """The machine whose files are in a directory."""
    fake = types.SimpleNamespace(Path=lambda path: folder / path.lstrip("/"))
    monkeypatch.setattr(choice, "pathlib", fake)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    return choice.current_machine.__wrapped__()


def test_current_machine_reads_the_first_processor(tmp_path, monkeypatch):
    (tmp_path / "proc" / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "proc" / "driver" / "nvidia" / "version").touch()
    for model in ("One", "Two"):
        with (tmp_path / "proc" / "cpuinfo").open("a") as file:
            file.write(f"model name\t: CPU {model}\nflags\t\t: avx2 avx512_bf16\n\n")
    read = machine(monkeypatch, tmp_path)
    assert (read.processor, read.flags, read.has_gpu) == ("CPU One", {"avx2", "avx512_bf16"}, True)


def test_current_machine_without_proc_has_no_known_flags(tmp_path, monkeypatch):
    read = machine(monkeypatch, tmp_path)
    assert read.processor and not read.flags and not read.has_gpu
    assert read.slowness("keras", "bfloat16") is None


def test_candidates_name_the_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None if "onnx" in name else name)
    pairs, omitted = choice.candidates("auto", "auto", AVX512)
    assert not [pair for pair in pairs if pair[0] == "onnxruntime"]
    assert omitted == ["onnxruntime needs onnxruntime"]


def test_fastest_is_the_best_where_none_is_within_the_quality_bound():
    timings = {("litert", "int8"): choice.Timing(10, 20), ("litert", "dynamic"): choice.Timing(30, 35)}
    assert choice.fastest(timings) == ("litert", "dynamic")


@pytest.mark.parametrize(
    ("engine", "precision", "expected"),
    [("auto", "auto", (None, None)), (None, "float16", (None, "float16")), ("litert", "auto", ("litert", None))],
)
def test_choose_leaves_the_choice_of_an_export_to_its_files(tmp_path, engine, precision, expected):
    folder = model_folders.ModelFolder(tmp_path, "tflite", config.Config())
    assert choice.choose(folder, engine, precision, None) == expected


def test_choose_runs_other_methods_on_keras(tmp_path):
    settings = config.Config(
        model=config.parse({"model": {"kind": "x2face", "occlusion": False, "jacobian": False}}, "test").model
    )
    folder, lines = model_folders.ModelFolder(tmp_path, "run", settings), []
    assert choice.choose(folder, "auto", "float32", None, report=lines.append, on=AVX2) == KERAS
    assert "a model of kind x2face runs on keras only" in lines[-1]
    with pytest.raises(errors.UserError, match="got int8 for the engine litert: a model of kind x2face runs on keras"):
        choice.choose(folder, "litert", "int8", None, on=AVX512)
