"""Recognizes checkpoints of other methods by the names of their networks, to refuse them by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fomm_tf import errors
from fomm_tf.torch_import import layouts

_DEPTH = 6  # levels of the tree whose names are compared
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


def refuse(tree: Mapping, source: str) -> None:
    """Raises an error that names the method, if the checkpoint is of a known other one.

    Args:
      tree: the contents of the checkpoint.
      source: its name, for the message.

    Raises:
      errors.UserError: if the method is recognized.
    """
    method = _recognize(tree)
    if method:
        raise errors.UserError(
            f"{source} is a checkpoint of another method, {method}; give a checkpoint of the First Order Motion Model."
        )


def _recognize(tree: Mapping) -> str | None:
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
        names = (*path, *layouts.without_wrappers(str(key)).split("."))
        if isinstance(value, Mapping) and value and len(names) < _DEPTH:
            yield from _leaves(value, names)
        else:
            yield ".".join(names), tuple(getattr(value, "shape", ()))
