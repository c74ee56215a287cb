"""Checkpoints that other training scripts wrote: layouts, other methods, kernels of other sizes, wrong values."""

import functools
import pathlib

import numpy as np
import pytest

from fomm_tf import checkpoint, config, errors, models, torch_import, weights
from fomm_tf.torch_import import checkpoints, layouts

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
NETWORKS = ("generator", "kp_detector", "discriminator")
build_once = functools.cache(checkpoint.build)


def load():
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    return {name: dict(tree[name]) for name in NETWORKS} | {"epoch": 3}


def rename(tree, edit):
    return {part: {edit(name): value for name, value in tree[part].items()} for part in NETWORKS}


def flatten(tree, prefix="", detector="kp_detector"):
    names = {"generator": "generator", "kp_detector": detector, "discriminator": "discriminator"}
    return {f"{prefix}{names[part]}.{name}": value for part in NETWORKS for name, value in tree[part].items()}


def average(tree):
    """Other values, which must not be taken."""
    return {name: np.zeros_like(value) for name, value in tree.items()}


def networks(tree):
    return {part: tree[part] for part in NETWORKS}


LAYOUTS = {
    "as the reference": lambda tree: tree,
    "DataParallel": lambda tree: rename(tree, "module.{}".format),
    "DataParallel twice": lambda tree: rename(tree, "module.module.{}".format),
    "torch.compile": lambda tree: rename(tree, "_orig_mod.{}".format),
    "DataParallel of an inner network": lambda tree: rename(
        tree, lambda name: name.replace("dense_motion_network.", "dense_motion_network.module.")
    ),
    "with the network's name": lambda tree: {
        part: {f"{part}.{name}": value for name, value in tree[part].items()} for part in NETWORKS
    },
    "below state_dict": lambda tree: {"state_dict": networks(tree), "epoch": 3},
    "below model": lambda tree: {"model": networks(tree), "epoch": 3},
    "below another key": lambda tree: {"everything": networks(tree)},
    "below two keys": lambda tree: {"checkpoint": {"epoch": 3, "model": rename(tree, "module.{}".format)}},
    "a state dictionary each": lambda tree: {part: {"state_dict": tree[part], "lr": 1.0} for part in NETWORKS},
    "names with a suffix": lambda tree: {f"{part}_state_dict": tree[part] for part in NETWORKS},
    "flat": flatten,
    "flat below state_dict": lambda tree: {"state_dict": flatten(tree, "module.")},
    "the reference's training wrapper": lambda tree: flatten(tree, "module.", "kp_extractor"),
    "EMA copies": lambda tree: {f"{part}_ema": average(tree[part]) for part in NETWORKS} | tree,
    "EMA copies with a prefix": lambda tree: {f"ema_{part}": average(tree[part]) for part in NETWORKS} | tree,
    "EMA below its own key": lambda tree: {
        "ema": {part: average(tree[part]) for part in NETWORKS}, "model": networks(tree)
    },
    "EMA beside each tensor": lambda tree: {
        part: {f"ema.{name}": value * 0 for name, value in tree[part].items()} | tree[part] for part in NETWORKS
    },
    "AveragedModel": lambda tree: {
        part: {"n_averaged": np.array(5)} | {f"module.{name}": value for name, value in tree[part].items()}
        for part in NETWORKS
    },
    "EMA only": lambda tree: {f"{part}_ema": tree[part] for part in NETWORKS},
    "state of optimizers below the networks' names": lambda tree: {
        "optimizers": {part: {"state": {}, "param_groups": []} for part in NETWORKS}, "nets": networks(tree)
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_find_networks_reads_layout(layout):
    tree = load()
    changed = LAYOUTS[layout](tree)
    found = torch_import.find_networks(changed, "cpk")
    for part in NETWORKS:
        assert set(found[part]) == set(tree[part])
        assert all(found[part][name].tobytes() == value.tobytes() for name, value in tree[part].items())
    if "epoch" in str(list(changed)) or layout == "below two keys":
        assert found["epoch"] == 3


@pytest.mark.parametrize("empty", [{}, None])
def test_find_networks_drops_empty_discriminator(empty):
    found = torch_import.find_networks(load() | {"discriminator": empty}, "cpk")
    assert "discriminator" not in found


def test_find_networks_rejects_tensor_stored_twice():
    tree = load()
    tree["generator"]["module.final.bias"] = np.ones(3, "f4")
    with pytest.raises(errors.UserError, match=r"cpk: generator has the tensor final\.bias twice"):
        torch_import.find_networks(tree, "cpk")


@pytest.mark.parametrize(("name", "expected"), [("generator_ema", True), ("ema.x", True), ("schema", False)])
def test_is_average_compares_whole_words(name, expected):
    assert layouts.is_average(name) is expected


# Other methods --------------------------------------------------------------------------------------------------------


def zeros(*shape):
    return np.zeros(shape, "f4")


OTHERS = {
    "Thin-Plate-Spline Motion Model": [
        {"kp_detector": {"fg_encoder.fc.weight": zeros(100, 8)}, "inpainting_network": {"first.conv.weight": zeros(1)}},
        {"kp_detector": {"fg_encoder.fc.weight": zeros(100, 8)}},
    ],
    "MRAA": [
        {"generator": {"first.conv.weight": zeros(1)}, "region_predictor": {"regions.weight": zeros(10)}},
        {"generator": {"pixelwise_flow_predictor.mask.weight": zeros(1)}},
    ],
    "DaGAN": [
        {"generator": {"AttnModule.gamma": zeros(1)}, "kp_detector": {"kp.weight": zeros(15, 35, 7, 7)}},
        {
            "generator": {"first.conv.weight": zeros(64, 3, 7, 7)},
            "kp_detector": {"predictor.encoder.down_blocks.0.conv.weight": zeros(64, 4, 3, 3)},
        },
    ],
    "LIA": [
        {"gen": {"enc.net_app.convs.0.0.weight": zeros(8), "dec.direction.weight": zeros(8)}},
        {"enc.net_app.convs.0.0.weight": zeros(8)},
    ],
    "face-vid2vid": [
        {"generator": {}, "he_estimator": {"fc_yaw.weight": zeros(66)}},
        {"generator": {"first.conv.weight": zeros(1)}, "kp_detector": {"kp.weight": zeros(15, 4, 3, 3, 3)}},
    ],
}


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tree: tree,
        lambda tree: {"state_dict": tree, "epoch": 5},
        lambda tree: {
            part: {f"module.{name}": value for name, value in state.items()} if isinstance(state, dict) else state
            for part, state in tree.items()
        },
    ],
)
def test_find_networks_refuses_other_method_by_name(method, wrap):
    for tree in OTHERS[method]:
        with pytest.raises(errors.UserError, match=method) as caught:
            torch_import.import_checkpoint(wrap(tree), "vox-256", True, "cpk")
        assert str(caught.value).startswith("cpk is a checkpoint of another method, ")


# Imports --------------------------------------------------------------------------------------------------------------


def import_tree(tree, settings=DATA / "tiny.yaml"):
    return torch_import.import_checkpoint(tree, str(settings), True, "cpk")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["DataParallel", "below model", "EMA copies"])
def test_import_of_layout_has_the_same_weights(layout, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    tree = load()
    exported = torch_import.export_checkpoint(import_tree(LAYOUTS[layout](tree)))
    for part in NETWORKS:
        assert all(exported[part][name].tobytes() == value.tobytes() for name, value in tree[part].items())


@pytest.mark.slow
def test_import_without_batch_counters_sets_them_to_zero(monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    import_tree(load())
    tree = load()
    tree = {part: {k: v for k, v in tree[part].items() if not k.endswith("num_batches_tracked")} for part in NETWORKS}
    exported = torch_import.export_checkpoint(import_tree(tree))
    for part in NETWORKS:
        assert all(exported[part][name].tobytes() == value.tobytes() for name, value in tree[part].items())
    assert exported["generator"]["first.norm.num_batches_tracked"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_import_reads_weights_of_other_precision(dtype, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    tree = load()
    for part in NETWORKS:
        tree[part] = {k: v.astype(dtype) if v.dtype == "f4" else v for k, v in tree[part].items()}
    exported = torch_import.export_checkpoint(import_tree(tree))
    for part in NETWORKS:
        for name, value in tree[part].items():
            np.testing.assert_array_equal(exported[part][name], value.astype(exported[part][name].dtype))


@pytest.mark.slow
@pytest.mark.parametrize("part", NETWORKS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_import_refuses_nan_with_name_of_tensor(part, value, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    tree = load()
    name = next(name for name, array in tree[part].items() if array.ndim == 4)
    tree[part][name] = tree[part][name].copy()
    tree[part][name].flat[7] = value
    with pytest.raises(errors.UserError, match=rf"^cpk: {part}: {name} has 1 NaN or infinite values of"):
        import_tree(tree)


@pytest.mark.slow
def test_import_refuses_nan_in_moments(monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    tree = weights.load(DATA / "tiny-step5-checkpoint.pth.tar")
    tree["optimizer_generator"]["state"][0]["exp_avg_sq"].flat[0] = np.nan
    with pytest.raises(errors.UserError, match=r"^cpk: optimizer_generator: exp_avg_sq: dense_motion.* has 1 NaN"):
        import_tree(tree)


@pytest.mark.slow
def test_import_refuses_quantized_weights(monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    tree = load()
    tree["generator"]["final.weight"] = tree["generator"]["final.weight"].astype("i1")
    with pytest.raises(errors.UserError, match=r"generator: final\.weight must be of floating-point numbers; got int8"):
        import_tree(tree)


@pytest.mark.slow
def test_import_keeps_kernels_of_another_size_than_the_scale(tmp_path):
    text = (DATA / "tiny.yaml").read_text()
    settings = torch_import.choose_config({}, str(DATA / "tiny.yaml"), "tiny")
    assert settings.model.motion_scale == settings.model.keypoint_detector.scale == 0.25
    changed = text.replace("scale_factor: 0.25", "scale_factor: 0.125").replace("[64, 64, 3]", "[128, 128, 3]")
    (tmp_path / "at-512.yaml").write_text(changed)
    tree = load()
    tree["kp_detector"]["down.weight"] = np.arange(3 * 13 * 13, dtype="f4").reshape(3, 1, 13, 13)
    run = import_tree(tree, tmp_path / "at-512.yaml")
    model = run.config.model
    assert (model.motion_scale, model.keypoint_detector.scale, model.frame_size) == (0.125, 0.125, (128, 128))
    assert model.keypoint_detector.antialias_size == model.dense_motion.antialias_size == 13
    checkpoint.save(tmp_path / "run", run, "test")
    loaded = checkpoint.load(tmp_path / "run", training=True)
    exported = torch_import.export_checkpoint(loaded)
    for part in NETWORKS:
        assert all(exported[part][name].tobytes() == value.tobytes() for name, value in tree[part].items())
    lowres = loaded.model.dense_motion.downsample(np.ones((1, 128, 128, 3), "f4"))
    assert lowres.shape == (1, 16, 16, 3)
    np.testing.assert_allclose(lowres[0, 4:-4, 4:-4], 1.0, rtol=1e-5)


@pytest.mark.parametrize("size", [-1, 2, 12])
def test_config_rejects_even_antialias_size(size):
    with pytest.raises(errors.UserError, match=r"model\.dense_motion\.antialias_size must be 0 or odd"):
        config.parse({"model": {"dense_motion": {"antialias_size": size}}}, "test")


def test_antialias_of_given_size_sums_to_one():
    settings = config.parse({"model": {"keypoint_detector": {"antialias_size": 9}}}, "test").model
    detector = models.KeypointDetector(settings)
    detector.antialias.build((1, 64, 64, 3))
    assert detector.antialias.kernel.shape == (9, 9, 3, 1)
    np.testing.assert_allclose(detector.antialias.kernel.numpy().sum((0, 1, 3)), 1.0, rtol=1e-5)


@pytest.mark.parametrize("depth", [0, layouts._DEPTH, layouts._DEPTH + 1])
def test_find_networks_looks_a_few_levels_deep(depth):
    tree = networks(load())
    for _ in range(depth):
        tree = {"model": tree}
    found = torch_import.find_networks(tree, "cpk")
    assert ("generator" in found and "kp_detector" in found) == (depth <= layouts._DEPTH)


def test_import_ignores_what_is_no_antialias_kernel():
    settings = torch_import.choose_config({}, str(DATA / "tiny.yaml"), "tiny").model

    def with_kernels(*shape):
        tree = {part: {} for part in NETWORKS}
        tree["kp_detector"]["down.weight"] = np.zeros(shape, "f4")
        return checkpoints._with_stored_kernels(settings, tree)

    assert with_kernels(3, 1, 9, 9).keypoint_detector.antialias_size == 9
    for shape in ((3, 1, 9, 7), (3, 1, 8, 8), (3, 9, 9), ()):
        assert with_kernels(*shape) == settings
