"""The sections of a run's configuration; a section goes only to the room that owns it."""

from __future__ import annotations

import dataclasses
import operator
import typing

from fomm_tf import errors

Pair = tuple[float, float]

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
class AugmentConfig:
    """How a training pair is varied; one draw serves both frames.

    Attributes:
      horizontal_flip: mirror half of the pairs that are not reversed in time.
      time_flip: exchange source and driving in half of the pairs.
      brightness: largest relative change of brightness, 0 for none.
      contrast: likewise of contrast.
      saturation: likewise of saturation.
      hue: largest shift of hue, as a share of the colour circle, at most 0.5.
      resize: range of the random enlargement, or None.
      crop: cut a random window of the frame's size after resizing.
    """

    horizontal_flip: bool = True
    time_flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    resize: Pair | None = None
    crop: bool = False


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the videos are.

    Attributes:
      root: folder with `train` and `test`.
      sample_by_identity: draw an identity first and then one of its clips, which are named `identity#clip`.
      repeats: how often an epoch goes through the training videos.
      augment: see `AugmentConfig`.
    """

    root: str = "data"
    sample_by_identity: bool = False
    repeats: int = 1
    augment: AugmentConfig = AugmentConfig()


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
      heatmap_variance: sigma of Eq. 6, in normalised units squared.
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
    """

    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    num_residual_blocks: int = 6


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The patch discriminators of the adversarial fine-tuning.

    Attributes:
      scales: one discriminator a scale of the picture.
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


@dataclasses.dataclass(frozen=True)
class LossWeightsConfig:
    """Weights of the loss terms; 0 leaves a term out.

    Attributes:
      perceptual: one weight a layer of the backbone (Eq. 9).
      equivariance_value: Eq. 11.
      equivariance_jacobian: Eq. 13.
      generator_gan: LSGAN term of the generator; 0 switches the adversarial phase off.
      discriminator_gan: LSGAN term of the discriminator.
      feature_matching: one weight a block of the discriminator.
    """

    perceptual: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0, 10.0)
    equivariance_value: float = 10.0
    equivariance_jacobian: float = 10.0
    generator_gan: float = 0.0
    discriminator_gan: float = 1.0
    feature_matching: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0)


@dataclasses.dataclass(frozen=True)
class TransformConfig:
    """The equivariance transform (B.2).

    Attributes:
      sigma_affine: standard deviation of the affine part.
      sigma_tps: standard deviation of the thin-plate-spline weights.
      points: control points along each side.
    """

    sigma_affine: float = 0.05
    sigma_tps: float = 0.005
    points: int = 5


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training schedule and losses.

    Attributes:
      epochs: how many.
      batch_size: pairs a step, over all replicas.
      milestones: epochs after which the learning rates are divided by ten.
      learning_rate_generator: Adam's, generator and dense motion network.
      learning_rate_detector: Adam's, keypoint detector.
      learning_rate_discriminator: Adam's, discriminator.
      pyramid_scales: resolutions of the perceptual loss, as shares of the frame.
      checkpoint_epochs: epochs between two kept checkpoints.
      backbone: network of the perceptual loss.
      loss_weights: see `LossWeightsConfig`.
      transform: see `TransformConfig`.
    """

    epochs: int = 100
    batch_size: int = 20
    milestones: tuple[int, ...] = (60, 90)
    learning_rate_generator: float = 2e-4
    learning_rate_detector: float = 2e-4
    learning_rate_discriminator: float = 2e-4
    pyramid_scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    checkpoint_epochs: int = 50
    backbone: str = "vgg19"
    loss_weights: LossWeightsConfig = LossWeightsConfig()
    transform: TransformConfig = TransformConfig()


@dataclasses.dataclass(frozen=True)
class AnimateConfig:
    """Defaults of the animation, which the command line overrides.

    Attributes:
      mode: `relative` or `absolute`.
      relative_jacobian: carry Jacobians over relatively too, in relative mode.
      adapt_scale: scale the motion by the sizes of the two objects, in relative mode.
    """

    mode: typing.Literal["relative", "absolute"] = "relative"
    relative_jacobian: bool = True
    adapt_scale: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run: one section a room.

    Attributes:
      data: see `DataConfig`; the other three likewise.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    animate: AnimateConfig = AnimateConfig()
