"""Round trips of the eight released models at full size, as written by torch 1.0 on a GPU, with time and memory limits.

The weights are random; names and shapes are the reference's (`released-shapes.json`).
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch_files

from fomm_tf import checkpoint, config, torch_import, weights

pytestmark = pytest.mark.slow

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
SHAPES = json.loads((DATA / "released-shapes.json").read_text())
COMMON = "all configs, but for the entries below"
RECIPES = sorted(set(SHAPES) - {COMMON})
# One model per architecture.
ARCHITECTURES = ("vox-256", "taichi-256", "mgif-256", "taichi-adv-256")
STATES = ("generator", "kp_detector", "discriminator")
BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "down.weight", "weight_u", "weight_v")
# Maximum CPU time, in units of TensorFlow's import time (measured: 3 to 6 units).
MAX_IMPORTS, GIB = 20, 2.0**30
# A small process in between, since the peak memory of a child includes that of the process it was forked from.
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(used.ru_maxrss); print(used.ru_utime + used.ru_stime); sys.exit(code)"
)


def shapes_of(recipe, part):
    return SHAPES[COMMON].get(part, {}) | SHAPES[recipe].get(part, {})


def draw_state(recipe, part, random):
    """A state dictionary with different values in every tensor."""
    state = {}
    for name, shape in shapes_of(recipe, part).items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(random.integers(2**40), "i8")
        else:
            state[name] = random.standard_normal(shape, "f4")
        if name.endswith(("running_var", "down.weight")):
            state[name] = np.abs(state[name]) + np.float32(0.01)
    return state


def draw_adam(state, steps, random):
    """The state of torch 1.0's Adam: the keys of parameters are addresses, steps are plain integers."""
    parameters = [name for name in state if not name.endswith(BUFFERS)]
    addresses = [140000000000000 + int(number) for number in random.permutation(len(parameters)) * 72]
    moments = {
        address: {
            "step": steps,
            "exp_avg": random.random(state[name].shape, "f4") - np.float32(0.5),
            "exp_avg_sq": random.random(state[name].shape, "f4"),
        }
        for address, name in sorted(zip(addresses, parameters, strict=True))
    }
    group = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "initial_lr": 2e-4}
    return {"state": moments, "param_groups": [group | {"params": addresses}]}


def draw_tree(recipe, moments=False):
    random = np.random.default_rng(RECIPES.index(recipe))
    tree = {part: draw_state(recipe, part, random) for part in STATES}
    if moments:
        steps = {"generator": 40001, "discriminator": 40002, "kp_detector": 40003}
        tree |= {f"optimizer_{part}": draw_adam(tree[part], steps[part], random) for part in STATES}
    return tree | {"epoch": 99}


def measure(*arguments):
    """Runs the command; returns its output, its CPU time in seconds and its peak memory in GiB."""
    command = [sys.executable, "-c", MEASURE, sys.executable, *map(str, arguments)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, kilobytes, seconds = done.stdout.splitlines()
    return lines, float(seconds), int(kilobytes) * 1024 / GIB


@pytest.fixture(scope="module")
def max_seconds():
    """Maximum CPU time of a conversion."""
    _, seconds, _ = measure("-c", "import tensorflow")
    return MAX_IMPORTS * seconds


def assert_bit_equal(left, right):
    assert list(left) == list(right)
    for name, array in left.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape), name
        assert array.tobytes() == right[name].tobytes(), name


def assert_same_adam(theirs, ours):
    (their_group,), (our_group,) = theirs["param_groups"], ours["param_groups"]
    assert our_group["params"] == list(range(len(their_group["params"])))
    assert list(ours["state"]) == our_group["params"]
    for key in ("lr", "betas", "eps", "weight_decay", "amsgrad", "initial_lr"):
        assert our_group[key] == their_group[key], key
    for ordinal, address in enumerate(their_group["params"]):
        left, right = theirs["state"][address], ours["state"][ordinal]
        assert right["step"] == left["step"]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert left[moment].shape == right[moment].shape and left[moment].tobytes() == right[moment].tobytes()


def as_recipe(inferred):
    """The inferred model with the recipe's max_features of 512, which the generator's 256 channels do not reach."""
    assert inferred.generator.max_features == 256
    return dataclasses.replace(inferred, generator=dataclasses.replace(inferred.generator, max_features=512))


def report(record_property, name, seconds, gib):
    record_property(name, f"{seconds:.1f} s, {gib:.2f} GiB")
    print(f"{name}: {seconds:.1f} s, {gib:.2f} GiB")


def test_shapes_have_the_parameter_counts_of_the_released_models():
    def count(recipe, part):
        return sum(
            int(np.prod(shape, dtype=int))
            for name, shape in shapes_of(recipe, part).items()
            if not name.endswith(BUFFERS)
        )

    for recipe in RECIPES:
        assert count(recipe, "generator") == 45_575_391
        assert count(recipe, "kp_detector") == (14_153_592 if recipe == "mgif-256" else 14_215_368)
        assert count(recipe, "discriminator") == (2_769_089 if "adv" in recipe else 2_758_849)
        assert len(shapes_of(recipe, "generator")) == 196 and len(shapes_of(recipe, "kp_detector")) == 75
    assert len(RECIPES) == 8


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_released_model_has_a_tested_architecture(recipe):
    def parts(name):
        return [shapes_of(name, part) for part in STATES], config.load(config.recipes()[name]).model

    assert sum(parts(recipe) == parts(name) for name in ARCHITECTURES) == 1


@pytest.mark.conformance
@pytest.mark.parametrize("recipe", ARCHITECTURES)
def test_convert_of_released_model_is_bit_identical_below_2_gib(recipe, tmp_path, record_property, max_seconds):
    file, run, back = tmp_path / "cpk.pth.tar", tmp_path / "run", tmp_path / "back.pth.tar"
    tree = draw_tree(recipe)
    torch_files.write_legacy(file, tree, "cuda:0")
    lines, seconds, gib = measure("-m", "fomm_tf", "convert", file, "--config", recipe, "--out", run)
    report(record_property, recipe, seconds, gib)
    assert lines == [f"{run}: 10 keypoints, frames of 256x256, epoch 99, with discriminator."]
    assert seconds < max_seconds and gib < 2
    assert config.load(run / "config.yaml") == config.load(config.recipes()[recipe])
    file.unlink()

    weights.save(back, torch_import.export_checkpoint(checkpoint.load(run, training=True)))
    again = weights.load(back)
    assert set(again) == set(tree) and again["epoch"] == 99
    for part in STATES:
        assert_bit_equal(tree[part], again[part])
    back.unlink()
    shutil.rmtree(run)


@pytest.mark.conformance
def test_convert_with_adam_moments_is_bit_identical_below_3_gib(tmp_path, record_property, max_seconds):
    recipe = "vox-adv-256"
    file, run, back = tmp_path / "cpk.pth.tar", tmp_path / "run", tmp_path / "back.pth.tar"
    tree = draw_tree(recipe, moments=True)
    torch_files.write_legacy(file, tree, "cuda:0")
    lines, seconds, gib = measure("-m", "fomm_tf", "convert", file, "--config", recipe, "--out", run)
    report(record_property, f"{recipe} with moments", seconds, gib)
    assert lines == [f"{run}: 10 keypoints, frames of 256x256, epoch 99, with discriminator, with Adam moments."]
    assert seconds < max_seconds and gib < 3
    file.unlink()

    _, seconds, gib = measure("-m", "fomm_tf", "convert", run, "--to-torch", back)
    report(record_property, f"{recipe} with moments, back", seconds, gib)
    assert seconds < max_seconds and gib < 3
    again = weights.load(back)
    assert set(again) == set(tree) and again["epoch"] == 99
    for part in STATES:
        assert_bit_equal(tree[part], again[part])
        assert_same_adam(tree[f"optimizer_{part}"], again[f"optimizer_{part}"])
    back.unlink()
    shutil.rmtree(run)


@pytest.mark.parametrize("recipe", RECIPES)
def test_choose_config_infers_the_recipe_of_a_released_model(recipe):
    class Tensor:
        def __init__(self, shape):
            self.shape = shape

    tree = {part: {name: Tensor(tuple(shape)) for name, shape in shapes_of(recipe, part).items()} for part in STATES}
    assert torch_import.choose_config(tree, recipe, "cpk.pth.tar") == config.load(config.recipes()[recipe])
    inferred = torch_import.choose_config(tree, None, "cpk.pth.tar")
    assert as_recipe(inferred.model) == config.load(config.recipes()[recipe]).model
    assert inferred == dataclasses.replace(config.Config(), model=inferred.model)


@pytest.mark.parametrize("recipe", [pytest.param("vox-256", marks=pytest.mark.conformance), "mgif-256"])
def test_convert_of_released_model_needs_no_config(recipe, tmp_path, record_property, max_seconds):
    file, run = tmp_path / "cpk.pth.tar", tmp_path / "run"
    torch_files.write_legacy(file, draw_tree(recipe), "cuda:0")
    lines, seconds, gib = measure("-m", "fomm_tf", "convert", file, "--out", run)
    report(record_property, f"{recipe} without --config", seconds, gib)
    assert lines == [
        f"{run}: 10 keypoints, frames of 256x256, epoch 99, with discriminator.",
        "The tensors do not determine the frame size; 256x256 is assumed, as in all released models (--config).",
    ]
    assert seconds < max_seconds and gib < 2
    assert as_recipe(config.load(run / "config.yaml").model) == config.load(config.recipes()[recipe]).model
    file.unlink()
    shutil.rmtree(run)
