"""Finds the reference's networks in a checkpoint, whatever a training script stored around them.

Convention:
  * wrappers of modules (`DataParallel`, `torch.compile`, `AveragedModel`) put a prefix before names, which is removed;
  * the networks may be below other keys (`state_dict`, `model`), or all in one state dictionary, with the network's
    name before each tensor's;
  * of weights and their moving average (EMA), the weights are taken; the average only if there are no others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fomm_tf import errors

NETWORKS = ("generator", "kp_detector", "discriminator")
_REQUIRED = ("generator", "kp_detector")
_ALIASES = {"kp_extractor": "kp_detector"}  # as in the reference's training wrapper
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module")
_CONTAINERS = ("state_dict", "model_state_dict", "model", "models", "net", "network", "networks", "weights", "params")
_DEPTH = 4  # levels that are searched for the networks

_COMPARED_DEPTH = 6  # levels of the tree whose names are compared with those of other methods
_DAGAN = "DaGAN (Depth-Aware Generative Adversarial Network)"
_FACE_VID2VID = "One-Shot Free-View Neural Talking-Head Synthesis (face-vid2vid)"
# Method -> parts of names that only its checkpoints have: dotted paths, or the beginning of one.
_METHODS = {
    "Thin-Plate-Spline Motion Model (TPSMM)": ("inpainting_network", "fg_encoder"),
    "Motion Representations for Articulated Animation (MRAA)": ("region_predictor", "pixelwise_flow_predictor"),
    _DAGAN: (
        "AttnModule", "depth_encoder", "depth_decoder", "generator.src_first",
    ),
    "Latent Image Animator (LIA)": ("enc.net_app", "dec.direction", "gen.enc", "gen.dec"),
    _FACE_VID2VID: (
        "he_estimator", "kp_detector.predictor.down_blocks", "kp_extractor.predictor.down_blocks",
    ),
    "LivePortrait": ("appearance_feature_extractor", "motion_extractor", "spade_generator"),
    "Monkey-Net": ("dense_motion_module", "generator.appearance_encoder", "generator.refinement_module"),
    "PIRenderer": ("net_G.warpping_net", "net_G_ema.warpping_net", "warpping_net"),
    "Wav2Lip": ("face_encoder_blocks", "face_decoder_blocks"),
    "GFPGAN": ("stylegan_decoder",),
}  # fmt: skip


def find_networks(tree: Mapping, source: str) -> dict[str, Any]:
    """Returns the reference's own layout of a checkpoint.

    Args:
      tree: the contents of the checkpoint.
      source: its name, for error messages.

    Returns:
      Each network's state dictionary below its name, with the reference's names of tensors, beside the epoch, the
      optimizers and other entries; a copy of `tree` if it has no networks.

    Raises:
      errors.UserError: if the checkpoint is of another method, or a state dictionary has the same tensor twice.
    """
    _refuse_other_methods(tree, source)
    candidates = itertools.chain(_candidates(tree, {}, 0, False), _candidates(tree, {}, 0, True))
    # `max` returns the first of equals: the outermost, without moving averages.
    found = max(candidates, key=_rank, default=dict(tree))
    for name in NETWORKS:
        if isinstance(found.get(name), Mapping):
            found[name] = _clean(found[name], name, source)
    if not found.get("discriminator"):
        found.pop("discriminator", None)
    return found


def without_wrappers(name: str) -> str:
    """Removes the names of wrappers from a dotted name."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS) or name


def is_average(name: str) -> bool:
    """Whether a name is that of a moving average (EMA), or of its state."""
    return bool(re.search(r"(^|[._])(ema|n_averaged)\d*($|[._])", name.lower()))


def _rank(candidate: Mapping) -> tuple[int, int]:
    return sum(name in candidate for name in _REQUIRED), sum(name in candidate for name in NETWORKS)


def _candidates(node: Mapping, outer: Mapping, level: int, averages: bool) -> Iterator[dict[str, Any]]:
    """Every mapping that holds a network, with the counts and optimizers of the mappings around it."""
    outer = {**outer, **{key: node[key] for key in node if key == "epoch" or str(key).startswith("optimizer_")}}
    networks = _by_name(node, averages)
    if networks:
        yield {**node, **outer, **networks}
    networks = _by_prefix(node, averages)
    if networks:
        yield {**networks, **outer}
    if level == _DEPTH:
        return
    for key in sorted(node, key=lambda key: key not in _CONTAINERS):
        if isinstance(node[key], Mapping) and (averages or not is_average(str(key))):
            yield from _candidates(node[key], outer, level + 1, averages)


def _by_name(node: Mapping, averages: bool) -> dict[str, Mapping]:
    """The networks that have a state dictionary each."""
    networks: dict[str, Mapping] = {}
    for key in sorted(node, key=lambda key: is_average(str(key))):
        name = _network_name(str(key))
        if name in NETWORKS and _is_state(node[key]) and (averages or not is_average(str(key))):
            networks.setdefault(name, node[key])
    return networks


def _is_state(value: Any) -> bool:
    """Whether a value is a state dictionary, unlike the state of an optimizer, or has one below a container's name."""
    return isinstance(value, Mapping) and any(
        hasattr(entry, "shape") or (key in _CONTAINERS and isinstance(entry, Mapping)) for key, entry in value.items()
    )


def _by_prefix(node: Mapping, averages: bool) -> dict[str, Mapping]:
    """The networks of a single state dictionary with their names before the tensors' names."""
    networks: dict[str, dict[str, Any]] = {}
    for key in sorted(node, key=lambda key: is_average(str(key))):
        prefix, _, name = without_wrappers(str(key)).partition(".")
        if prefix in _CONTAINERS:
            prefix, _, name = name.partition(".")
        network = _network_name(prefix)
        if network in NETWORKS and name and hasattr(node[key], "shape") and (averages or not is_average(prefix)):
            networks.setdefault(network, {}).setdefault(name, node[key])
    return networks


def _network_name(key: str) -> str:
    """The network that a key of the checkpoint names, such as `kp_detector_ema` or `generator_state_dict`."""
    name = re.sub(r"^(ema|model|netg?)_|_(ema|average|averaged|state_dict|state|model|weights)$", "", key)
    name = without_wrappers(re.sub(r"^(ema)_|_(ema)$", "", name))
    return _ALIASES.get(name, name)


def _clean(state: Mapping, network: str, source: str) -> dict[str, Any]:
    """A state dictionary with the reference's names only."""
    for key in _CONTAINERS:
        if isinstance(state.get(key), Mapping):
            return _clean(state[key], network, source)
    names = {key: without_wrappers(str(key)) for key in state}
    prefixes = {name.partition(".")[0] for name in names.values() if not is_average(name)}
    common = next(iter(prefixes), "") if len(prefixes) == 1 else ""
    if common in (*_CONTAINERS, *_ALIASES, network):
        names = {key: name.removeprefix(f"{common}.") for key, name in names.items()}
    cleaned: dict[str, Any] = {}
    for key, name in names.items():
        if is_average(name):
            continue
        if name in cleaned:
            raise errors.UserError(
                f"{source}: {network} has the tensor {name} twice, as {key} and without a prefix; delete one of them."
            )
        cleaned[name] = state[key]
    return cleaned


def _refuse_other_methods(tree: Mapping, source: str) -> None:
    """Raises an error that names the method, if the checkpoint is of a known other one."""
    if method := _recognize_method(tree):
        raise errors.UserError(
            f"{source} is a checkpoint of another method, {method}; give a checkpoint of the First Order Motion Model."
        )


def _recognize_method(tree: Mapping) -> str | None:
    leaves = list(_leaves(tree, ()))
    paths = [f".{path}." for path, _ in leaves]
    for method, markers in _METHODS.items():
        if any(f".{marker}." in path for marker in markers for path in paths):
            return method
    for path, shape in leaves:
        name = f".{path}"
        if name.endswith((".kp_detector.kp.weight", ".kp_extractor.kp.weight")) and len(shape) == 5:
            return _FACE_VID2VID
        if name.endswith(".kp_detector.predictor.encoder.down_blocks.0.conv.weight") and shape[1:2] == (4,):
            return _DAGAN
    return None


def _leaves(node: Mapping, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The dotted paths of all values, without the prefixes of wrappers, and their shapes."""
    for key, value in node.items():
        names = (*path, *without_wrappers(str(key)).split("."))
        if isinstance(value, Mapping) and value and len(names) < _COMPARED_DEPTH:
            yield from _leaves(value, names)
        else:
            yield ".".join(names), tuple(getattr(value, "shape", ()))
