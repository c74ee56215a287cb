"""Backbones by name and from files, and the error messages."""

import backbone_states
import h5py
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import errors, fetch, weights
from fomm_tf.losses import backbones
from fomm_tf.losses.backbones import pretrained

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


def assert_rejected(*parts, name, file=None):
    with pytest.raises(errors.UserError) as caught:
        backbones.load(name, file)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    return message


def assert_same(one, other):
    inputs = tf.constant(backbone_states.images(1, 32, 32, 3))
    for mine, theirs in zip(one(inputs), other(inputs), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_load_lists_known_backbones_for_unknown_name():
    assert_rejected("'vgg16'", "vgg19, vgg19-keras, efficientnet_lite0, random", name="vgg16")


def test_vgg19_loads_torchvision_file_with_classifier(tmp_path, vgg19):
    path = str(tmp_path / "vgg19-dcbb9e9d.pth")
    weights.save(path, backbone_states.vgg19() | {"classifier.6.bias": np.zeros(1000, np.float32)})
    loaded = backbones.load("vgg19", path)
    assert type(loaded) is backbones.Vgg19
    assert_same(loaded, vgg19)


def test_efficientnet_loads_file(tmp_path, efficientnet):
    path = str(tmp_path / "mine.pth")
    weights.save(path, backbone_states.efficientnet())
    assert_same(backbones.load("efficientnet_lite0", path), efficientnet)


def test_efficientnet_without_path_is_downloaded(tmp_path, monkeypatch, efficientnet):
    reported = []
    weights.save(tmp_path / "kept.pth", backbone_states.efficientnet())

    def give(name, report):
        reported.append((name, report))
        return {"efficientnet-lite0-57934424.pth": tmp_path / "kept.pth"}

    monkeypatch.setattr(fetch, "fetch", give)
    assert_same(backbones.load("efficientnet_lite0", report=reported.append), efficientnet)
    assert reported == [("backbone", reported.append)]


def test_vgg19_without_path_explains_where_to_get_it():
    assert_rejected("vgg19-dcbb9e9d.pth", "train.backbone_file", "torchvision", "vgg19-keras", name="vgg19")


def test_random_backbone_rejects_file():
    assert_rejected(
        "random is randomly initialized", "got mine.pth", "train.backbone_file", name="random", file="mine.pth"
    )


@pytest.mark.parametrize("name", ["vgg19", "vgg19-keras", "efficientnet_lite0"])
def test_load_names_missing_file(tmp_path, name):
    assert_rejected(str(tmp_path / "nothing"), name=name, file=str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "tensor"), [("vgg19", "features.0.weight"), ("efficientnet_lite0", "_conv_stem.weight")]
)
def test_load_rejects_file_of_another_network(tmp_path, name, tensor):
    path = str(tmp_path / "other.pth")
    weights.save(path, {"conv1.weight": np.zeros([64, 3, 7, 7], np.float32)})
    assert_rejected(f"{path} is not ", f"{tensor} must be [", "got nothing", ".pth", name=name, file=path)


def test_efficientnet_names_tensor_with_wrong_shape():
    state = backbone_states.efficientnet() | {"_blocks.3._bn1.running_var": np.zeros([7], np.float32)}
    with pytest.raises(
        errors.UserError, match=r"mine is not .* _blocks\.3\._bn1\.running_var must be \[144\]; got shape \[7\]"
    ):
        backbones.EfficientNetLite0(state, "mine")


def test_keras_vgg19_matches_keras(tmp_path):
    network = tf.keras.applications.VGG19(include_top=False, weights=None)
    random = np.random.RandomState(0)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([1.4 * kernel, random.uniform(-1.0, 1.0, bias.shape)])
    network.save_weights(tmp_path / KERAS_FILE)
    names = [f"block{block}_conv1" for block in range(1, 6)]
    layers_of_keras = tf.keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    inputs = backbone_states.images(2, 48, 33, 3)
    theirs = layers_of_keras(tf.keras.applications.vgg19.preprocess_input(255.0 * inputs))
    loaded = backbones.load("vgg19-keras", str(tmp_path / KERAS_FILE))
    for name, mine, expected in zip(names, loaded(inputs), theirs, strict=True):
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(mine, expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_keras_vgg19_explains_failed_download(tmp_path, monkeypatch):
    for variable, value in {"HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setitem(tf.keras.applications.VGG19.__globals__, "WEIGHTS_PATH_NO_TOP", "http://127.0.0.1:9/weights.h5")
    assert_rejected("Connection refused", "go online", KERAS_FILE, "train.backbone_file", name="vgg19-keras")
    assert not list(tmp_path.rglob("*.h5")), "no partial download is left"


@pytest.mark.parametrize("damage", ["not h5", "cut short", "another network"])
def test_keras_vgg19_rejects_wrong_file(tmp_path, damage):
    path = tmp_path / "weights.h5"
    if damage == "another network":
        layers = tf.keras.layers
        other = tf.keras.Sequential([layers.Input([8, 8, 3]), layers.Conv2D(4, 3, name="block1_conv1")])
        other.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            file["numbers"] = np.arange(10000)
        path.write_bytes(b"<html>log in</html>" if damage == "not h5" else path.read_bytes()[:20000])
    assert_rejected(f"{path} is not Keras' file of VGG-19 (", KERAS_FILE, name="vgg19-keras", file=str(path))


def test_keras_vgg19_is_read_from_the_cache_of_keras_without_network(tmp_path, monkeypatch):
    """Keras would wait for a server, though it has the file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "is_offline", lambda: True)
    cached = tmp_path / ".keras" / "models" / KERAS_FILE
    assert_rejected(f"{cached} is not a file", "train.backbone_file", name="vgg19-keras")
    cached.parent.mkdir(parents=True)
    cached.touch()
    built = []
    monkeypatch.setattr(tf.keras.applications, "VGG19", lambda include_top, weights: built.append(weights))
    pretrained._build_keras(None)
    assert built == [str(cached)]
