"""The sections of a run's configuration; a section goes only to the room that owns it."""

from __future__ import annotations

import dataclasses
import typing

from fomm_tf import errors
from fomm_tf.config.model import ModelConfig

Pair = tuple[float, float]


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

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "hue"):
            value, most = getattr(self, name), 0.5 if name == "hue" else float("inf")
            if not 0 <= value <= most:
                limits = "between 0 and 0.5" if name == "hue" else "at least 0"
                raise errors.UserError(f"data.augment.{name} must be {limits}; got {value}.")
        if self.resize is not None and not 0 < self.resize[0] <= self.resize[1]:
            raise errors.UserError(f"data.augment.resize must be [low, high] above 0; got {list(self.resize)}.")


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

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise errors.UserError(f"data.repeats must be at least 1; got {self.repeats}.")


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
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = TrainConfig()
    animate: AnimateConfig = AnimateConfig()
