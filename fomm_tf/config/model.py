"""The sections that decide which tensors a model has and what they compute."""

from __future__ import annotations

import dataclasses
import operator

from fomm_tf import errors

# What a network needs to be one: the least value of each size in `ModelConfig`, and what must be above 0.
_LEAST = {
    "num_keypoints": 1,
    "keypoint_detector.block_expansion": 1,
    "keypoint_detector.max_features": 1,
    "keypoint_detector.num_blocks": 1,
    "keypoint_detector.pad": 0,
    "dense_motion.block_expansion": 1,
    "dense_motion.max_features": 1,
    "dense_motion.num_blocks": 1,
    "generator.block_expansion": 1,
    "generator.max_features": 1,
    "generator.num_down_blocks": 0,
    "generator.num_residual_blocks": 0,
    "discriminator.block_expansion": 1,
    "discriminator.max_features": 1,
    "discriminator.num_blocks": 1,
}
_POSITIVE = ("keypoint_detector.temperature", "dense_motion.heatmap_variance", "discriminator.heatmap_variance")


@dataclasses.dataclass(frozen=True)
class KeypointDetectorConfig:
    """The keypoint detector (B.1).

    Attributes:
      scale: the frame is reduced by this before it is looked at.
      block_expansion: channels of the hourglass before its first halving, doubled by each.
      max_features: upper bound of the channels.
      num_blocks: halvings of the hourglass.
      temperature: of the softmax over positions.
      pad: zeros around the hourglass' output before the 7x7 heads, in pixels.
      single_jacobian_map: one Jacobian map, averaged under each heatmap, instead of one a keypoint.
    """

    scale: float = 0.25
    block_expansion: int = 32
    max_features: int = 1024
    num_blocks: int = 5
    temperature: float = 0.1
    pad: int = 0
    single_jacobian_map: bool = False


@dataclasses.dataclass(frozen=True)
class DenseMotionConfig:
    """The dense motion network (sec. 3.2).

    Attributes:
      block_expansion: as in `KeypointDetectorConfig`.
      max_features: as in `KeypointDetectorConfig`.
      num_blocks: halvings of the hourglass.
      heatmap_variance: sigma of Eq. 6, in normalized units squared.
    """

    block_expansion: int = 64
    max_features: int = 1024
    num_blocks: int = 5
    heatmap_variance: float = 0.01


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """The generator (B.1).

    Attributes:
      block_expansion: channels before the first down block.
      max_features: upper bound of the channels.
      num_down_blocks: halvings before the features are warped.
      num_residual_blocks: residual blocks after that.
      blend_source: blend the warped source image into the result by a predicted alpha; not in the paper.
    """

    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    num_residual_blocks: int = 6
    blend_source: bool = False


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The patch discriminators of the adversarial fine-tuning.

    Attributes:
      scales: one discriminator a scale of the image.
      block_expansion: half the channels of the first block.
      max_features: upper bound of the channels.
      num_blocks: blocks of each.
      use_keypoints: the driving keypoints' heatmaps are seen too.
      spectral_norm: of every convolution.
      heatmap_variance: of those heatmaps.
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
    """Everything that decides which tensors there are and what they compute.

    Attributes:
      frame_size: [height, width] of the frames, in pixels.
      num_keypoints: K.
      jacobian: False is the zeroth-order model.
      occlusion: False leaves the occlusion map out.
      motion_scale: the dense motion network works on frames reduced by this.
      align_corners: what -1 and +1 mean in a warp; see `fomm_tf.ops.grid.to_pixels`.
      keypoint_detector: see `KeypointDetectorConfig`; the other three likewise.
    """

    frame_size: tuple[int, int] = (256, 256)
    num_keypoints: int = 10
    jacobian: bool = True
    occlusion: bool = True
    motion_scale: float = 0.25
    align_corners: bool = True
    keypoint_detector: KeypointDetectorConfig = KeypointDetectorConfig()
    dense_motion: DenseMotionConfig = DenseMotionConfig()
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()

    def __post_init__(self) -> None:
        for path, least in _LEAST.items():
            value = operator.attrgetter(path)(self)
            if value < least:
                raise errors.UserError(f"model.{path} must be at least {least}; got {value}.")
        for path in _POSITIVE:
            value = operator.attrgetter(path)(self)
            if not value > 0:
                raise errors.UserError(f"model.{path} must be greater than 0; got {value}.")
        scales = self.discriminator.scales
        if not scales or not all(0 < scale <= 1 for scale in scales):
            raise errors.UserError(f"model.discriminator.scales must be one or more in (0, 1]; got {list(scales)}.")
        self.check_frame_size(*self.frame_size)

    def check_frame_size(self, height: int, width: int) -> None:
        """Refuses a frame that the networks cannot halve as often as they do.

        Args:
          height: in pixels.
          width: in pixels.

        Raises:
          errors.UserError: with the multiple that is needed.
        """
        detector = self.keypoint_detector
        for key, scale, blocks in (
            ("model.motion_scale", self.motion_scale, self.dense_motion.num_blocks),
            ("model.keypoint_detector.scale", detector.scale, detector.num_blocks),
        ):
            if not 0 < scale <= 1:
                raise errors.UserError(f"{key} must be in (0, 1]; got {scale}.")
            reduced = [-(-size // int(1 / scale)) for size in (height, width)]
            if min(reduced) < 1 or any(size % 2**blocks for size in reduced):
                raise errors.UserError(
                    f"model.frame_size [{height}, {width}] times {key} {scale:g} is {reduced}; each side must be a "
                    f"multiple of {2**blocks} ({blocks} halvings in the hourglass)."
                )
        # The last `reduced` is the detector's; its 7x7 heads leave a map, which needs two pixels to span [-1, 1].
        if min(reduced) + 2 * detector.pad < 8:
            raise errors.UserError(
                f"model.frame_size [{height}, {width}] times model.keypoint_detector.scale {detector.scale:g} is "
                f"{reduced}; each side must be at least {8 - 2 * detector.pad} (heads of 7x7 pixels)."
            )
        multiple = 2**self.generator.num_down_blocks
        if height % multiple or width % multiple:
            raise errors.UserError(
                f"model.frame_size is [{height}, {width}]; each side must be a multiple of {multiple} "
                f"({self.generator.num_down_blocks} halvings in the generator)."
            )
