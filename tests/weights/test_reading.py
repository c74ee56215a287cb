"""Reading checkpoints: those of the reference, both containers, views and types, and the memory it takes."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch_files
from weight_files import CONTAINERS, DATA, ORDERED, REBUILD, assert_equal, load_error, make_tree, trace_memory, write

from fomm_tf import weights

ADAM = {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused",
        "decoupled_weight_decay", "params"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "container", "counts", "epoch"),
    [
        ("tiny", "zip", {"generator": 112, "kp_detector": 47, "discriminator": 26}, 0),
        ("tiny-step5", "zip", {"generator": 112, "kp_detector": 47, "discriminator": 26}, 5),
        ("tiny-legacy-cuda", "legacy", {"generator": 112, "kp_detector": 47}, 0),
        ("tiny-disc2", "zip", {"discriminator": 24}, 0),
        ("single-jacobian", "zip", {"generator": 112, "kp_detector": 47}, 0),
        ("wide", "zip", {"generator": 70, "kp_detector": 33}, 0),
        ("zero-order", "zip", {"generator": 110, "kp_detector": 45}, 0),
    ],
)
def test_load_reads_reference_checkpoints(name, container, counts, epoch):
    path = DATA / f"{name}-checkpoint.pth.tar"
    tree = weights.load(path)
    assert weights.describe(path) == container
    assert {key: len(part) for key, part in tree.items() if key != "epoch" and "optimizer" not in key} == counts
    assert tree["epoch"] == epoch
    for part in counts:
        for key, array in tree[part].items():
            counter = key.endswith("num_batches_tracked")
            assert array.dtype == ("i8" if counter else "f4")
            assert (array.ndim == 0) == counter
            assert np.isfinite(array).all() and array.flags.writeable


def test_load_keeps_shapes_of_torch():
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    assert tree["generator"]["dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight"].shape == (16, 24, 3, 3)
    assert tree["discriminator"]["discs.1.down_blocks.0.conv.weight_u"].shape == (16,)
    assert tree["kp_detector"]["predictor.encoder.down_blocks.0.norm.num_batches_tracked"].shape == ()


def test_load_reads_optimizer_moments():
    tree = weights.load(DATA / "tiny-step5-checkpoint.pth.tar")
    for name, count in (("generator", 66), ("discriminator", 16), ("kp_detector", 28)):
        optimizer = tree[f"optimizer_{name}"]
        assert list(optimizer) == ["state", "param_groups"]
        assert list(optimizer["state"]) == list(range(count))
        shapes = [moments["exp_avg"].shape for moments in optimizer["state"].values()]
        assert sorted(shapes) == sorted(
            array.shape for key, array in tree[name].items()
            if not key.endswith(("running_mean", "running_var", "num_batches_tracked", "down.weight", "_u", "_v"))
        )  # fmt: skip
        for moments in optimizer["state"].values():
            assert list(moments) == ["step", "exp_avg", "exp_avg_sq"]
            assert moments["step"].shape == () and moments["step"] == 5
            assert moments["exp_avg"].shape == moments["exp_avg_sq"].shape
        (group,) = optimizer["param_groups"]
        assert set(group) == ADAM and group["betas"] == (0.5, 0.999) and group["params"] == list(range(count))


def test_load_reads_same_tree_from_both_containers():
    legacy = weights.load(DATA / "tiny-legacy-cuda-checkpoint.pth.tar")
    today = weights.load(DATA / "tiny-checkpoint.pth.tar")
    for part in ("generator", "kp_detector"):
        assert_equal(legacy[part], today[part])


@pytest.mark.parametrize("name", ["tiny-step5", "tiny-legacy-cuda"])
def test_save_keeps_reference_checkpoints(name, tmp_path):
    tree = weights.load(DATA / f"{name}-checkpoint.pth.tar")
    weights.save(tmp_path / "again.pth.tar", tree)
    assert_equal(weights.load(tmp_path / "again.pth.tar"), tree)


def test_load_returns_what_save_wrote_bit_for_bit(tmp_path):
    weights.save(tmp_path / "a.pth.tar", make_tree())
    assert_equal(weights.load(tmp_path / "a.pth.tar"), make_tree())
    assert os.listdir(tmp_path) == ["a.pth.tar"]


def test_save_is_deterministic(tmp_path):
    weights.save(tmp_path / "a.pth", make_tree())
    weights.save(tmp_path / "b.pth", make_tree())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_load_reads_files_of_torch_1_0_bit_for_bit(device, tmp_path):
    torch_files.write_legacy(tmp_path / "a.pth.tar", make_tree(), device)
    assert weights.describe(tmp_path / "a.pth.tar") == "legacy"
    assert_equal(weights.load(tmp_path / "a.pth.tar"), make_tree())


def test_save_converts_views_byte_orders_and_scalars(tmp_path):
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    views = {"t": array.T, "back": array[:, ::-2]}
    weights.save(tmp_path / "a.pth", views | {"big": array.astype(">f4"), "n": np.float32(3), "flag": np.bool_(True)})
    plain = views | {"big": array, "n": np.array(3, "f4"), "flag": np.array(True)}
    assert_equal(weights.load(tmp_path / "a.pth"), plain)


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_follows_strides_offsets_and_shared_storages(container, tmp_path):
    first = torch_files.pickle_tensor((2, 3), (1, 2))
    second = torch_files.pickle_tensor((2,), (3,), offset=1)
    scalar = torch_files.pickle_tensor((), (), offset=5)
    void = torch_files.pickle_tensor((0, 4), (4, 1), offset=99)
    write(container, tmp_path / "a", torch_files.pickle_dict(a=first, b=second, c=scalar, d=void))
    tree = weights.load(tmp_path / "a")
    np.testing.assert_array_equal(tree["a"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(tree["b"], [1, 4])
    assert tree["c"] == 5 and tree["c"].shape == () and tree["d"].shape == (0, 4)
    assert np.shares_memory(tree["a"], tree["b"])


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_converts_bfloat16_to_float32(container, tmp_path):
    halves = (np.array([1, -2.5, np.inf, 3.140625], "<f4").view("<u4") >> 16).astype("<u2")
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2, 2), (1, 2), count=4, kind="BFloat16Storage"))
    if container == "zip":
        torch_files.write_zip(tmp_path / "a", body, {"data/0": halves.tobytes()})
    else:
        (tmp_path / "a").write_bytes(torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", 4) + halves.tobytes())
    array = weights.load(tmp_path / "a")["a"]
    assert array.dtype == "f4"
    np.testing.assert_array_equal(array, [[1, np.inf], [-2.5, 3.140625]])


def test_load_follows_legacy_views_of_storages(tmp_path):
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2,), (1,), offset=1, view=("7", 2, 3)))
    write("legacy", tmp_path / "a", body)
    np.testing.assert_array_equal(weights.load(tmp_path / "a")["a"], [3, 4])
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2,), (1,), view=("7", 5, 2)))
    write("legacy", tmp_path / "b", body)
    assert "a view exceeds its storage" in load_error(tmp_path / "b")


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_reads_parameters_sizes_and_metadata(container, tmp_path):
    tensor = torch_files.pickle_tensor((2,), (1,))
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor + b"\x88" + ORDERED + b")RtR"
    old = tensor.replace(REBUILD, b"ctorch._utils\n_rebuild_tensor\n").replace(b"\x89" + ORDERED + b")R", b"")
    size = b"ctorch\nSize\n" + torch_files.put(((1, 2),)) + b"R"
    metadata = torch_files.put({"_metadata": {"": {"version": 1}}})
    state = ORDERED + b")R(" + torch_files.put("w") + tensor + b"u" + metadata + b"b"
    write(container, tmp_path / "a", torch_files.pickle_dict(p=parameter, o=old, n=size, s=state))
    tree = weights.load(tmp_path / "a")
    assert tree["n"] == (1, 2) and list(tree["s"]) == ["w"]
    assert tree["p"].tolist() == tree["o"].tolist() == tree["s"]["w"].tolist() == [0, 1]


# Malicious files ------------------------------------------------------------------------------------------------------


def test_load_accepts_any_root_directory_name(tmp_path):
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(epoch=torch_files.put(3)), root="vox-cpk.pth")
    assert weights.load(tmp_path / "a") == {"epoch": 3}


def test_load_and_save_use_no_more_memory_than_the_file(tmp_path):
    tree = {"w": np.ones((40, 1 << 18), "f4"), "v": np.ones(1 << 20, "f8")}
    size = sum(array.nbytes for array in tree.values())
    weights.save(tmp_path / "zip", tree)
    torch_files.write_legacy(tmp_path / "legacy", tree)
    for container in CONTAINERS:
        with trace_memory() as get_peak:
            loaded = weights.load(tmp_path / container)
            assert size <= get_peak() < size + (8 << 20)
        assert_equal(loaded, tree)
    with trace_memory() as get_peak:
        weights.save(tmp_path / "zip", tree)
        assert get_peak() < 4 << 20


def test_import_loads_neither_torch_nor_tensorflow():
    code = (
        "import sys; from fomm_tf import weights; weights.load(sys.argv[1]); "
        "print([name for name in ('torch', 'tensorflow', 'keras') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(DATA / "tiny-checkpoint.pth.tar")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"
