"""A checkpoint of the released size and shapes, downloaded and converted; files that PaddlePaddle itself wrote."""

import hashlib
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch_files

import fomm_tf
from fomm_tf import checkpoint, config, torch_import, weights
from tests.fetch.conftest import Server

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

# Installs vox-256 from one address, and prints seconds per stage and the peak of the resident memory.
_INSTALL = """
import json, re, sys, time
start = time.perf_counter()
from fomm_tf import fetch, presets
from fomm_tf.fetch import catalog
stages = {"imports": time.perf_counter() - start}
def timed(name, function):
    def call(*arguments, **options):
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            stages[name] = time.perf_counter() - start
    return call
from fomm_tf.fetch import http
http._Transfer.run = timed("download", http._Transfer.run)
presets._read_checkpoint = timed("read", presets._read_checkpoint)
presets.checkpoint.save = timed("write float32", presets.checkpoint.save)
presets.checkpoint.pack = timed("write float16", presets.checkpoint.pack)
address = catalog.Address(*json.loads(sys.argv[1]))
model = fetch.released("vox-256")._replace(addresses=(address,))
catalog.table = fetch.table = lambda: {"vox-256": model}
start = time.perf_counter()
presets.install("vox-256")
stages["all"] = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"stages": stages, "peak": peak}))
"""
_WRITE = """
import pickle, sys, numpy, paddle
arrays = dict(numpy.load(sys.argv[1]))
tree = {}
for name, value in arrays.items():
    network, _, tensor = name.partition(".")
    tree.setdefault(network, {})[tensor] = paddle.to_tensor(value)
for protocol in (2, 3, 4):
    paddle.save(tree, f"{sys.argv[2]}/saved-{protocol}.pdparams", protocol=protocol)
    plain = {network: {name: value.numpy() for name, value in state.items()} for network, state in tree.items()}
    with open(f"{sys.argv[2]}/pickled-{protocol}.pdparams", "wb") as file:
        pickle.dump(plain, file, protocol=protocol)
"""


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """A made-up training checkpoint like vox-cpk.pth.tar, whose discriminator was never trained."""
    settings = config.load(config.recipes()["vox-256"])
    tree = torch_import.export_checkpoint(checkpoint.build(settings, discriminator=True, optimizers=True))
    tree.pop("optimizer_discriminator")
    for network in ("generator", "kp_detector"):  # weights that keep the contrast of what they are applied to
        for name, value in tree[network].items():
            if value.ndim == 4 and not name.endswith("down.weight"):
                tree[network][name] = np.float32(np.sqrt(6)) * value
    random = np.random.default_rng(0)
    for network in ("generator", "kp_detector"):
        state = tree[f"optimizer_{network}"]
        names = [
            name for name in tree[network] if not name.endswith(("running_mean", "running_var", "batches_tracked"))
        ]
        arrays = [tree[network][name] for name in names if not name.endswith("down.weight")]
        state["state"] = {
            index: {"step": 1, "exp_avg": np.zeros_like(array), "exp_avg_sq": random.random(array.shape, np.float32)}
            for index, array in enumerate(arrays)
        }
    path = tmp_path_factory.mktemp("full") / "vox-cpk.pth.tar"
    torch_files.write_legacy(path, tree, "cuda:0")
    return path


def test_full_size_checkpoint_is_fetched_and_converted_in_little_memory(full_size, tmp_path):
    assert abs(full_size.stat().st_size - 728_766_691) < 2e6
    server = Server()
    server.content = full_size.read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with full_size.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    address = json.dumps([server.url("cut"), digest, full_size.stat().st_size])
    environment = os.environ | {"FOMM_TF_CACHE": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    output = subprocess.run(
        [sys.executable, "-c", _INSTALL, address], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    server.shutdown()
    report = json.loads(output.splitlines()[-1])
    sizes = {name: sum(p.stat().st_size for p in (tmp_path / "models" / "vox-256" / name).iterdir()) / 1e6
             for name in ("float32", "float16")}  # fmt: skip
    print(f"{report['peak'] / 1e9:.2f} GB peak; seconds: {report['stages']}; MB: {sizes}")
    assert report["peak"] < 1.5e9
    folder = tmp_path / "models" / "vox-256"
    random = np.random.default_rng(1)
    inputs = {
        name: random.random((1, 16, 16, 3), np.float32).repeat(16, 1).repeat(16, 2) for name in ("source", "driving")
    }
    single, half = (
        fomm_tf.FirstOrderMotionModel.from_preset(folder / name)(inputs).prediction for name in ("float32", "float16")
    )
    psnr = -10 * np.log10(np.mean((single - half) ** 2))
    print(f"float16 against float32: {psnr:.1f} dB; the frame's deviation: {np.std(single):.2f}")
    assert np.std(single) > 0.1
    assert psnr >= 45


def test_files_of_paddlepaddle_are_read(tmp_path):
    python = os.environ.get("FOMM_PADDLE_PYTHON")
    if not python:
        pytest.skip("set FOMM_PADDLE_PYTHON to a Python that has paddlepaddle")
    settings = config.load(config.recipes()["tiny"])
    tree = torch_import.export_checkpoint(checkpoint.build(settings))
    names = {".running_mean": "._mean", ".running_var": "._variance"}
    arrays = {}
    for network in ("generator", "kp_detector"):
        for name, value in tree[network].items():
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            if not name.endswith("num_batches_tracked"):
                arrays[f"{network}.{name}"] = value
    np.savez(tmp_path / "arrays.npz", **arrays)
    subprocess.run([python, "-c", _WRITE, str(tmp_path / "arrays.npz"), str(tmp_path)], check=True)
    files = sorted(tmp_path.glob("*.pdparams"))
    assert len(files) == 6
    for path in files:
        run = torch_import.import_checkpoint(weights.load(path), settings, True, path.name)
        back = torch_import.export_checkpoint(run)
        for network in ("generator", "kp_detector"):
            for name, value in tree[network].items():
                np.testing.assert_array_equal(back[network][name], value, err_msg=f"{path.name}: {name}")
