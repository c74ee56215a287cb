"""The benchmarks run on the smallest recipe, and two runs can be compared."""

import json
import pathlib
import subprocess
import sys

import pytest

from fomm_tf import checkpoint
from fomm_tf.data.people import dataset as people
from fomm_tf.data.puppets import __main__ as command

pytestmark = [pytest.mark.slow, pytest.mark.conformance]
BENCH = pathlib.Path(__file__).parent


def run(script, *arguments):
    done = subprocess.run([sys.executable, BENCH / script, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_animator_benchmark_times_stages_and_compares(tmp_path):
    file = tmp_path / "bench.json"
    printed = run("animator.py", "--config", "tiny", "--rounds", 1, "--frames", 8, "--out", file)
    assert "frames/s" in printed and "first frame" in printed
    bench = json.loads(file.read_text())["animate tiny, batch 8, float32"]
    assert bench["measured"]["cores"] >= 1
    parts = bench["parts"]
    assert {"decode 1080p", "resize", "detect", "dense motion", "warp", "generator", "end to end"} <= set(parts)
    assert all(part["ms"] > 0 for part in parts.values())
    assert parts["detect"]["gflop"] + parts["render"]["gflop"] == pytest.approx(parts["end to end"]["gflop"], abs=2e-3)
    slower = json.loads(file.read_text())
    slower["animate tiny, batch 8, float32"]["parts"]["resize"]["ms"] *= 2
    (tmp_path / "old.json").write_text(json.dumps(slower))
    lines = run("compare.py", tmp_path / "old.json", file).splitlines()
    assert "x2.00" in next(line for line in lines if "resize" in line)
    assert "x1.00, against the ceiling x1.00" in next(line for line in lines if "end to end" in line)


def test_exports_bench_times_exported_and_keras_networks(tmp_path):
    line = ("--config", "tiny", "--rounds", 1, "--kinds", "tflite-dynamic", "onnx-float32")
    printed = run("exports.py", *line, "--out", tmp_path / "bench.json")
    parts = json.loads((tmp_path / "bench.json").read_text())["exports tiny"]["parts"]
    for kind in ("keras", "tflite-dynamic", "onnx-float32"):
        stages = ("source_encoder", "detector", "motion", "warp", "renderer", "driving frame")
        assert all(parts[f"{kind}: {stage}"]["ms"] > 0 for stage in stages)
    assert "tflite-dynamic: " in printed and "frames/s" in printed


@pytest.mark.parametrize("python", ["false", "no/such/python"])
def test_engines_bench_times_engines_and_skips_a_missing_reference(python, tmp_path):
    few = ("--config", "tiny", "--rounds", 1, "--frames", 2, "--engines", "litert float32", "--no-auto")
    printed = run("engines.py", *few, "--torch-python", python, "--out", tmp_path / "bench.json")
    assert f"{python} has no PyTorch" in printed
    parts = json.loads((tmp_path / "bench.json").read_text())["engines tiny"]["parts"]
    assert set(parts) == {"keras float32", "litert float32"}
    assert all(part["ms"] > 0 and part["psnr"] > 60 for part in parts.values())


def test_startup_bench_times_the_first_frame_without_tensorflow():
    printed = run("startup.py", "--rounds", 1, "--engines", "litert-float32")
    assert "wall" in printed and "no TensorFlow" in printed


def test_decoding_bench_compares_frames_with_the_exact_result():
    printed = run("decoding.py", "--rounds", 1, "--frames", 8)
    assert "crop and resize" in printed and "filters against today" in printed


def test_convolutions_bench_times_each_convolution():
    printed = run("convolutions.py", "--rounds", 1)
    assert printed.count("padded") == 24


@pytest.mark.network
def test_web_bench_compares_builds_and_runtimes(export_once, tmp_path):
    site, _ = export_once("bundled-web", "--to", "web")
    line = (site, "--run", checkpoint.BUNDLED, "--rounds", 1, "--frames", 1, "--out", tmp_path / "bench.json")
    printed = run("web.py", *line)
    parts = json.loads((tmp_path / "bench.json").read_text())["web people-256"]["parts"]
    assert {"threads, 2", "simd, 1 thread", "compatible, 1 thread", "onnxruntime-web, 1"} < set(parts)
    assert all(part["ms"] > 0 for part in parts.values()) and "native, 1 thread" in printed


def test_joints_bench_regresses_joints(tmp_path):
    printed = run("joints.py", "--characters", 20, "--out", tmp_path / "joints.json")
    assert "joints with Jacobians" in printed
    assert 0 < json.loads((tmp_path / "joints.json").read_text())["without Jacobians"]["head"] < 0.5


def test_jacobians_bench_measures_jacobians(tmp_path):
    drawn = {"identities": 1, "test-identities": 2, "clips": 1, "frames": 4, "size": 64}
    options = [part for name, number in drawn.items() for part in (f"--{name}", str(number))]
    assert command.main(["--out", str(tmp_path / "data"), "--portraits", *options]) == 0
    run("jacobians.py", checkpoint.BUNDLED, "--data", tmp_path / "data", "--out", tmp_path / "jacobians.json")
    (found,) = json.loads((tmp_path / "jacobians.json").read_text()).values()
    assert 0 < found["Eq. 13"] < found["Eq. 13 with constant Jacobians"]
    assert 0 < found["L1"] < found["L1 with the first frame's Jacobians"]


def test_landmarks_bench_measures_detectors_of_landmarks(tmp_path):
    data, out = tmp_path / "data", tmp_path / "bench.json"
    people.write(data, identities=1, test_identities=2, clips_per_identity=1, frames=4, frame_step=8, size=256, seed=0)
    run("landmarks.py", checkpoint.BUNDLED, "--data", data, "--out", out)
    found = json.loads(out.read_text())
    assert found["true landmarks"]["mouth opening"] > 0.8
    measured = found[str(checkpoint.BUNDLED)]
    assert 0 < measured["result"] < 1 and 0 < measured["warped source"] < 1 and measured["pixels off"] > 0


def test_true_motion_bench_measures_motions(tmp_path):
    data, out = tmp_path / "data", tmp_path / "bench.json"
    people.write(data, identities=1, test_identities=2, clips_per_identity=1, frames=4, frame_step=8, size=256, seed=0)
    run("true_motion.py", checkpoint.BUNDLED, "--data", data, "--out", out)
    (measured,) = json.loads(out.read_text()).values()
    assert 0.5 < measured["visible"] < 1
    visible = measured["L1, visible pixels"]
    assert 0 < visible["true motion"] < visible["estimated motion"] < measured["L1"]["estimated motion"]
    distances = measured["pixels from the true motion"]
    assert distances["true motion"] == 0 < distances["best local motion"] < distances["estimated motion"]


def test_shards_bench_compares_shards_and_files(tmp_path):
    few = ("--clips", 90, "--shards", 2, "--rounds", 1)
    printed = run("shards.py", *few, "--out", tmp_path / "bench.json")
    parts = json.loads((tmp_path / "bench.json").read_text())["shards"]["parts"]
    assert all(parts[f"{name}, 90 clips"]["ms"] > 0 for name in ("shards", "files"))
    assert "4 files" in printed and "MB after step 2" in printed


def test_load_bench_measures_embedded_server(tmp_path):
    few = ("--requests", 1, "--clients", 2, "--seconds", 0.5)
    printed = run("load.py", *few, "--out", tmp_path / "bench.json")
    measured = json.loads((tmp_path / "bench.json").read_text())["serving"]["parts"]
    assert all(parts["gRPC"] > 0 and parts["REST codec"] > 0 for parts in measured["overhead"].values())
    assert len(measured["load"]) == 4
    for record in measured["load"].values():
        assert record["per_second"] > 0 and record["p50_ms"] <= record["p99_ms"] and not record["rejected"]
    assert measured["full"]["completed"] and list(measured["full"]["rejected"]) == ["RESOURCE_EXHAUSTED"]
    assert "2 clients, unbatched" in printed
