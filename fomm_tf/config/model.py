"""The config sections that determine the tensors of a model and what they compute."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping

from fomm_tf import errors

# Sizes in the sections of `ModelConfig` that may be 0; all others must be at least 1.
_MAY_BE_ZERO = ("pad", "num_down_blocks", "num_residual_blocks")


class Kind(typing.NamedTuple):
    """What configs and tools must know of a kind of model; `fomm_tf.models.create` knows its class.

    Attributes:
      orders: the model in words, without and with `model.jacobian`.
      fixed: keys of the model section that must have this value.
      has_keypoints: `detect` finds positions in the frame, which can be drawn and compared; otherwise the `value` of
        `Keypoints` is a code of 2 K numbers.
      equivariances: the loss weights of equivariance that may be other than 0.
      has_stages: can be exported in stages, as TFLite, ONNX and for the web.
      has_reference: the PyTorch reference implementation has this model.
    """

    orders: tuple[str, str]
    fixed: Mapping[str, object]
    has_keypoints: bool
    equivariances: tuple[str, ...]
    has_stages: bool
    has_reference: bool


KINDS = {
    "fomm": Kind(
        ("zeroth order", "first order"),
        {},
        True,
        ("equivariance_value", "equivariance_jacobian"),
        has_stages=True,
        has_reference=True,
    ),
    "monkey-net": Kind(
        ("Monkey-Net, one variance", "Monkey-Net, covariances"),
        {"occlusion": False, "generator.warp_skips": True, "generator.blend_source": False},
        True,
        ("equivariance_value",),
        has_stages=False,
        has_reference=False,
    ),
    "x2face": Kind(
        ("X2Face, codes instead of keypoints", ""),
        {
            "jacobian": False,
            "occlusion": False,
            "resize_displacements": False,
            "generator.warp_skips": False,
            "generator.blend_source": False,
        },
        False,
        (),
        has_stages=False,
        has_reference=False,
    ),
}


def require(valid: object, key: str, requirement: str, value: object) -> None:
    """Raises a `UserError` about the config key if its value is not valid."""
    if not valid:
        raise errors.UserError(f"{key} must be {requirement}; got {value}.")


def require_scales(key: str, scales: tuple[float, ...]) -> None:
    """Raises a `UserError` about the config key if it has no scales, or one outside (0, 1]."""
    require(scales and all(0 < scale <= 1 for scale in scales), key, "one or more in (0, 1]", list(scales))


@dataclasses.dataclass(frozen=True)
class KeypointDetectorConfig:
    """The keypoint detector (B.1).

    Attributes:
      scale: the frames are downsampled by this factor first.
      block_expansion: channels of the hourglass before its first halving; each halving doubles them.
      max_features: maximum number of channels.
      num_blocks: number of halvings of the hourglass.
      temperature: of the softmax over positions.
      pad: zero padding of the hourglass' output before the 7x7 heads, in pixels.
      single_jacobian_map: one Jacobian map, averaged under each heatmap, instead of one per keypoint.
      antialias_size: pixels per side of the kernel of the downsampling, odd; 0 for the size that belongs to the scale.
    """

    scale: float = 0.25
    block_expansion: int = 32
    max_features: int = 1024
    num_blocks: int = 5
    temperature: float = 0.1
    pad: int = 0
    single_jacobian_map: bool = False
    antialias_size: int = 0


@dataclasses.dataclass(frozen=True)
class DenseMotionConfig:
    """The dense motion network (sec. 3.2).

    Attributes:
      block_expansion: as in `KeypointDetectorConfig`.
      max_features: as in `KeypointDetectorConfig`.
      num_blocks: number of halvings of the hourglass.
      heatmap_variance: sigma of Eq. 6, in normalized units squared.
      antialias_size: as in `KeypointDetectorConfig`, for `motion_scale`.
    """

    block_expansion: int = 64
    max_features: int = 1024
    num_blocks: int = 5
    heatmap_variance: float = 0.01
    antialias_size: int = 0


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """The generator (B.1).

    Attributes:
      block_expansion: channels before the first down block.
      max_features: maximum number of channels.
      num_down_blocks: number of halvings before the features are warped.
      num_residual_blocks: number of residual blocks after the warp.
      blend_source: blend the warped source image into the result by a predicted alpha; not in the paper.
      warp_skips: warp the source's features of every resolution and give them to the decoder; not in the paper.
      scale: with `blend_source`, color and alpha are computed at this fraction of the frame size; not in the paper.
    """

    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    num_residual_blocks: int = 6
    blend_source: bool = False
    warp_skips: bool = False
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The patch discriminators of the adversarial fine-tuning.

    Attributes:
      scales: of the image, one discriminator per scale.
      block_expansion: half the channels of the first block.
      max_features: maximum number of channels.
      num_blocks: number of blocks of each discriminator.
      use_keypoints: the heatmaps of the driving keypoints are an input too.
      spectral_norm: normalize every convolution spectrally.
      heatmap_variance: of these heatmaps.
    """

    scales: tuple[float, ...] = (1.0,)
    block_expansion: int = 32
    max_features: int = 512
    num_blocks: int = 4
    use_keypoints: bool = False
    spectral_norm: bool = False
    heatmap_variance: float = 0.01


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The model: everything that determines its tensors and what they compute.

    Attributes:
      frame_size: [height, width] of the frames, in pixels.
      num_keypoints: K.
      jacobian: predict Jacobians; False is the zeroth-order model.
      occlusion: predict an occlusion map.
      motion_scale: the input of the dense motion network is downsampled by this factor.
      align_corners: what -1 and +1 mean in a warp; see `fomm_tf.ops.to_pixels`.
      resize_displacements: resize the dense motion to an image as displacements, so that no motion leaves every image
        as it is. The reference resizes positions, which magnifies the image: by 1.2 % with motion at a quarter of
        256x256, by 2.8 % at an eighth.
      kind: the method: `fomm`, or a baseline, `monkey-net` or `x2face`, whose docstrings in
        `fomm_tf.models.baselines` say what the other keys mean for them.
      keypoint_detector: see `KeypointDetectorConfig`.
      dense_motion: see `DenseMotionConfig`.
      generator: see `GeneratorConfig`.
      discriminator: see `DiscriminatorConfig`.
    """

    frame_size: tuple[int, int] = (256, 256)
    num_keypoints: int = 10
    jacobian: bool = True
    occlusion: bool = True
    motion_scale: float = 0.25
    align_corners: bool = True
    resize_displacements: bool = False
    kind: typing.Literal["fomm", "monkey-net", "x2face"] = "fomm"
    keypoint_detector: KeypointDetectorConfig = KeypointDetectorConfig()
    dense_motion: DenseMotionConfig = DenseMotionConfig()
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()

    def __post_init__(self) -> None:
        require(self.num_keypoints >= 1, "model.num_keypoints", "at least 1", self.num_keypoints)
        for section in ("keypoint_detector", "dense_motion", "generator", "discriminator"):
            for name, value in vars(getattr(self, section)).items():
                key, minimum = f"model.{section}.{name}", 0 if name in _MAY_BE_ZERO else 1
                if name == "antialias_size":
                    require(value == 0 or (value > 0 and value % 2), key, "0 or odd", value)
                elif name in ("temperature", "heatmap_variance"):
                    require(value > 0, key, "greater than 0", value)
                elif type(value) is int:  # not a bool
                    require(value >= minimum, key, f"at least {minimum}", value)
        require_scales("model.discriminator.scales", self.discriminator.scales)
        scale, key = self.generator.scale, "model.generator.scale"
        require(0 < scale <= 1 and (1 / scale).is_integer(), key, "1 divided by a whole number", scale)
        require(scale == 1 or self.generator.blend_source, key, "1 without model.generator.blend_source", scale)
        for key, expected in self.traits.fixed.items():
            section, _, name = key.rpartition(".")
            value = getattr(getattr(self, section) if section else self, name)
            require(value == expected, f"model.{key}", f"{expected} for model.kind {self.kind}", value)
        self.check_frame_size(*self.frame_size)

    @property
    def traits(self) -> Kind:
        """What tools must know of the kind."""
        return KINDS[self.kind]

    def check_has_keypoints(self, option: str, value: object) -> None:
        """Raises a `UserError` if an option is set that compares keypoints, and the model has codes instead."""
        if value and not self.traits.has_keypoints:
            raise errors.UserError(f"`{option}`: got {value}; a model of kind {self.kind} has no keypoints to compare.")

    def check_frame_size(self, height: int, width: int) -> None:
        """Checks that the networks can halve frames of this size.

        Args:
          height: in pixels.
          width: in pixels.

        Raises:
          errors.UserError: if not; it states the required multiple.
        """
        detector = self.keypoint_detector
        for key, scale, blocks in (
            ("model.motion_scale", self.motion_scale, self.dense_motion.num_blocks),
            ("model.keypoint_detector.scale", detector.scale, detector.num_blocks),
        ):
            require(0 < scale <= 1, key, "in (0, 1]", scale)
            downsampled = [-(-size // int(1 / scale)) for size in (height, width)]
            if min(downsampled) < 1 or any(size % 2**blocks for size in downsampled):
                raise errors.UserError(
                    f"model.frame_size [{height}, {width}] times {key} {scale:g} is {downsampled}; each side must be "
                    f"a multiple of {2**blocks} ({blocks} halvings in the hourglass)."
                )
        # `downsampled` is now the detector's. The output of its 7x7 heads needs two pixels per side to span [-1, 1].
        if min(downsampled) + 2 * detector.pad < 8:
            raise errors.UserError(
                f"model.frame_size [{height}, {width}] times model.keypoint_detector.scale {detector.scale:g} is "
                f"{downsampled}; each side must be at least {8 - 2 * detector.pad} (heads of 7x7 pixels)."
            )
        generator = self.generator
        multiple = 2**generator.num_down_blocks * round(1 / generator.scale)
        if height % multiple or width % multiple:
            scaled = f" at model.generator.scale {generator.scale:g}" if generator.scale != 1 else ""
            raise errors.UserError(
                f"model.frame_size is [{height}, {width}]; each side must be a multiple of {multiple} "
                f"({generator.num_down_blocks} halvings in the generator{scaled})."
            )
