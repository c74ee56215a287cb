"""Converts a reference checkpoint to a run in memory, and back."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from fomm_tf import checkpoint, config, errors
from fomm_tf.ops import resample
from fomm_tf.torch_import import configs, layouts, tensor_names

_STATES = {"kp_detector": "detector", "generator": "generator", "discriminator": "discriminator"}


def choose_config(tree: Mapping, reference_config: config.Config | str | None, source: str) -> config.Config:
    """Reads the config of a reference checkpoint, or infers it from the tensors.

    Args:
      tree: the contents of the checkpoint.
      reference_config: a config, a YAML file of the reference or of fomm-tf, the name of a recipe, or None to infer it.
      source: the checkpoint's name, for error messages.

    Raises:
      errors.UserError: if there is no such config, or the tensors do not determine it.
    """
    if isinstance(reference_config, config.Config):
        return reference_config
    if reference_config is None:
        shapes = {name: _shapes(tree[name]) for name in _STATES if isinstance(tree.get(name), Mapping)}
        return configs.from_tensors(shapes["kp_detector"], shapes["generator"], shapes.get("discriminator"), source)
    path = pathlib.Path(reference_config)
    if not path.is_file():
        recipes = config.recipes()
        if reference_config not in recipes:
            raise errors.UserError(
                f"`reference_config` {reference_config} is neither a file nor a recipe; the recipes are "
                f"{', '.join(recipes)}."
            )
        path = recipes[reference_config]
    content = config.read_yaml(path)
    if configs.is_reference(content):
        return configs.from_yaml(content, str(path))
    return config.parse(content, str(path))


def import_checkpoint(
    tree: Mapping, reference_config: config.Config | str | None, align_corners: bool, source: str
) -> checkpoint.Run:
    """Converts a reference checkpoint: weights and, where present, discriminator, optimizer moments and epoch.

    The anti-alias kernels of the checkpoint are used, of whatever size.

    Args:
      tree: as read by `fomm_tf.weights.load`.
      reference_config: see `choose_config`.
      align_corners: what -1 and +1 mean in a warp; see `fomm_tf.ops.to_pixels`.
      source: the checkpoint's name, for error messages.

    Raises:
      errors.UserError: if a network, a tensor or a moment is missing, unexpected, or has another shape or NaN, or if
        the checkpoint is of another method.
    """
    tree = layouts.find_networks(tree, source)
    for name in ("kp_detector", "generator"):
        if not isinstance(tree.get(name), Mapping):
            raise errors.UserError(
                f"{source} has no state dictionary {name!r}; it has {', '.join(map(str, tree)) or 'nothing'}."
            )
    settings = choose_config(tree, reference_config, source)
    model = dataclasses.replace(_with_stored_kernels(settings.model, tree), align_corners=align_corners)
    settings = dataclasses.replace(settings, model=model)
    epoch = _whole_number(tree.get("epoch", 0), f"{source}: epoch")
    optimizers = [f"optimizer_{name}" for name in _STATES if name in tree]
    run = checkpoint.build(
        settings,
        discriminator=isinstance(tree.get("discriminator"), Mapping),
        optimizers=all(isinstance(tree.get(name), Mapping) for name in optimizers),
    )
    run.epoch = epoch
    entries = _entries(run)
    for name, table in entries.items():
        restore_state(table, tree[name], f"{source}: {name}")
    for name, stepper in run.optimizers.items():
        network = _reference_name(name)
        state, label = tree[f"optimizer_{network}"], f"{source}: optimizer_{network}"
        _restore_moments(stepper, tensor_names.parameters(entries[network]), state, label)
    return run


def export_checkpoint(run: checkpoint.Run) -> dict:
    """Converts a run to the tree of a reference checkpoint, for `fomm_tf.weights.save`.

    Raises:
      errors.UserError: if the reference has no such model.
    """
    if not run.config.model.traits.has_reference:
        raise errors.UserError(
            f"model.kind: got {run.config.model.kind}; the PyTorch reference has no such model; keep the run "
            "directory, or use `fomm export`."
        )
    model = run.config.model
    for key, value in (
        ("resize_displacements", model.resize_displacements),
        ("generator.blend_source", model.generator.blend_source),
        ("generator.warp_skips", model.generator.warp_skips),
    ):
        if value:
            raise errors.UserError(
                f"model.{key}: got true; expected false, as the PyTorch reference has no such option; keep the run "
                "directory, or use `fomm export`."
            )
    entries = _entries(run)
    tree: dict = {
        name: {entry.name: entry.to_torch(entry.variable.numpy()) for entry in table} for name, table in entries.items()
    }
    for name, stepper in run.optimizers.items():
        network = _reference_name(name)
        initial_rate = getattr(run.config.train, f"learning_rate_{name}")
        tree[f"optimizer_{network}"] = _moments(stepper, tensor_names.parameters(entries[network]), initial_rate)
    return tree | {"epoch": run.epoch}


def restore_state(entries: list[tensor_names.Entry], state: Mapping, source: str) -> None:
    """Assigns a whole state dictionary, or none of it.

    Args:
      entries: the variables to assign.
      state: name -> array.
      source: its name, for error messages.

    Raises:
      errors.UserError: if a tensor is missing, unexpected, not a tensor, or has another shape, integers for weights,
        NaN or infinite values.
    """
    counters = [entry for entry in entries if entry.name.endswith(".num_batches_tracked")]
    # torch 0.4.0 and older had none.
    state = {entry.name: np.zeros((), np.int64) for entry in counters} | dict(state)
    known = {entry.name for entry in entries}
    for problem, wrong in (
        ("has no", [entry.name for entry in entries if entry.name not in state]),
        ("has the unexpected", [str(name) for name in state if name not in known]),
    ):
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise errors.UserError(
                f"{source} {problem} tensor {wrong[0]}{more}, unlike the config; give another `reference_config`."
            )
    for entry in entries:
        value = state[entry.name]
        shape = getattr(value, "shape", None)
        if shape != entry.torch_shape:
            got = type(value).__name__ if shape is None else list(shape)
            raise errors.UserError(
                f"{source}: {entry.name} must be {list(entry.torch_shape)}; got {got}; give another `reference_config`."
            )
        _check_values(value, entry, source)
    for entry in entries:
        entry.variable.assign(entry.from_torch(state[entry.name]))


def _check_values(value: np.ndarray, entry: tensor_names.Entry, source: str) -> None:
    dtype = getattr(value, "dtype", None)
    if dtype is None or dtype.kind not in "fiu" or (dtype.kind != "f" and entry.variable.dtype.is_floating):
        raise errors.UserError(f"{source}: {entry.name} must be of floating-point numbers; got {dtype}.")
    bad = value.size - np.count_nonzero(np.isfinite(value))
    if bad:
        raise errors.UserError(
            f"{source}: {entry.name} has {bad} NaN or infinite values of {value.size}; the training has diverged: give "
            "an earlier checkpoint."
        )


def _with_stored_kernels(model: config.ModelConfig, tree: Mapping) -> config.ModelConfig:
    """The model with the sizes of the checkpoint's anti-alias kernels."""
    for section, scale, network, name in (
        ("keypoint_detector", model.keypoint_detector.scale, "kp_detector", "down.weight"),
        ("dense_motion", model.motion_scale, "generator", "dense_motion_network.down.weight"),
    ):
        shape = getattr(tree[network].get(name), "shape", ())
        if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0:
            continue
        size = 0 if shape[2] == len(resample.antialias_kernel(scale)) else shape[2]
        sizes = dataclasses.replace(getattr(model, section), antialias_size=size)
        model = dataclasses.replace(model, **{section: sizes})
    return model


def _entries(run: checkpoint.Run) -> dict[str, list[tensor_names.Entry]]:
    detector, dense_motion, generator = run.model.layers
    entries = {
        "generator": tensor_names.generator_entries(dense_motion, generator),
        "kp_detector": tensor_names.detector_entries(detector),
    }
    if run.discriminator is not None:
        entries["discriminator"] = tensor_names.discriminator_entries(run.discriminator)
    return entries


def _reference_name(name: str) -> str:
    return {value: key for key, value in _STATES.items()}[name]


def _restore_moments(
    stepper: checkpoint.Adam, parameters: list[tensor_names.Entry], stored: Mapping, source: str
) -> None:
    try:
        (group,) = stored["param_groups"]
        order, states = group["params"], stored["state"]
        stepper.learning_rate.assign(float(group["lr"]))
        counts = {_whole_number(state["step"], "step") for state in states.values()}
        surplus = set(states) - set(order)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise errors.UserError(f"{source} is not the state of torch's Adam ({error!r}).") from error
    if len(order) != len(parameters) or len(counts) > 1:
        raise errors.UserError(
            f"{source} must have {len(parameters)} parameters with the same number of steps; got {len(order)} "
            f"with {sorted(counts)}."
        )
    if surplus:
        raise errors.UserError(f"{source} has moments of {len(surplus)} parameters that are not in its param_groups.")
    for key, entry in zip(order, parameters, strict=True):
        for name, moment in zip(("exp_avg", "exp_avg_sq"), stepper.moments(entry.variable), strict=True):
            if key not in states:
                continue
            value = states[key].get(name)
            if getattr(value, "shape", None) != entry.torch_shape:
                raise errors.UserError(f"{source}: {name} of {entry.name} must be {list(entry.torch_shape)}.")
            _check_values(value, entry, f"{source}: {name}")
            moment.assign(entry.from_torch(value))
    stepper.iterations.assign(max(counts, default=0))


def _moments(stepper: checkpoint.Adam, parameters: list[tensor_names.Entry], initial_rate: float) -> dict:
    """Converts to the state of torch's Adam."""
    steps = int(stepper.iterations.numpy())
    state = {}
    for i, entry in enumerate(parameters) if steps else ():
        first, second = (entry.to_torch(moment.numpy()) for moment in stepper.moments(entry.variable))
        state[i] = {"step": np.float32(steps).reshape(()), "exp_avg": first, "exp_avg_sq": second}
    group = {
        # The shortest decimal representation of the float32 is the value in the config.
        "lr": float(str(stepper.learning_rate.numpy())),
        # torch's schedulers do not resume without the initial rate.
        "initial_lr": initial_rate,
        "betas": (stepper.beta_1, stepper.beta_2),
        "eps": stepper.epsilon,
        "weight_decay": 0,
        "amsgrad": False,
        "params": list(range(len(parameters))),
    }
    return {"state": state, "param_groups": [group]}


def _whole_number(value: object, source: str) -> int:
    number = np.asarray(value, None if np.isscalar(value) or isinstance(value, np.ndarray) else object)
    if number.shape != () or number.dtype.kind not in "iuf" or not 0 <= number < 2**53 or number % 1:
        raise errors.UserError(f"{source} must be a whole number; got {' '.join(repr(value).split())[:80]}.")
    return int(number)


def _shapes(state: Mapping) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(getattr(value, "shape", ())) for name, value in state.items()}
