"""The sections of a run's configuration; a section goes only to the room that owns it."""

from __future__ import annotations

import dataclasses
import typing

from fomm_tf import errors
from fomm_tf.config.model import ModelConfig

Pair = tuple[float, float]


Precision = typing.Literal["float32", "float16", "bfloat16"]
PRECISIONS = typing.get_args(Precision)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How a training pair is varied; one draw serves both frames.

    Attributes:
      horizontal_flip: mirror half of the pairs that are not reversed in time.
      time_flip: exchange source and driving in half of the pairs.
      brightness: largest relative change of brightness, 0 for none.
      contrast: likewise of contrast.
      saturation: likewise of saturation.
      hue: largest shift of hue, as a share of the color circle, at most 0.5.
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
class PuppetsConfig:
    """Drawn characters to train on, where there is no footage; see `fomm_tf.data.puppets`.

    Attributes:
      identities: characters in the training set.
      test_identities: others, in the test set.
      clips: of each character.
      frames: of each clip.
      seed: another one is another set.
      portraits: head and shoulders only, before plain walls that keep still: easier to learn.
    """

    identities: int = 100
    test_identities: int = 10
    clips: int = 4
    frames: int = 64
    seed: int = 0
    portraits: bool = False


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the videos are, and how pairs are drawn from them.

    Attributes:
      root: folder with `train` and `test`, or with clips that are split into both; see `fomm_tf.data.frames`.
      cache: folder for the frames at the model's size; None keeps them below `root`.
      test_share: share of the identities that are for testing, where `root` has neither `train` nor `test`.
      split_seed: of that split.
      puppets: what to draw into `root` if it does not exist; None draws nothing.
      sample_by_identity: draw an identity first and then one of its clips, which are named `identity#clip`.
      repeats: how often an epoch goes through the training videos.
      augment: see `AugmentConfig`.
    """

    root: str = "data"
    cache: str | None = None
    test_share: float = 0.1
    split_seed: int = 0
    puppets: PuppetsConfig | None = None
    sample_by_identity: bool = False
    repeats: int = 1
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise errors.UserError(f"data.repeats must be at least 1; got {self.repeats}.")
        if not 0 < self.test_share < 1:
            raise errors.UserError(f"data.test_share must lie between 0 and 1; got {self.test_share:g}.")


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
      epochs: how many, each of `data.repeats` rounds through the training videos.
      milestones: epochs after which the learning rates are divided by ten.
      steps: how many, instead of `epochs`: the paper's way. The learning rates then follow `lr_decay_fractions`.
      lr_decay_fractions: shares of `steps` after which the learning rates are divided by ten.
      batch_size: pairs a step, over all replicas.
      learning_rate_generator: Adam's, generator and dense motion network.
      learning_rate_detector: Adam's, keypoint detector.
      learning_rate_discriminator: Adam's, discriminator.
      pyramid_scales: resolutions of the perceptual loss, as shares of the frame.
      backbone: network of the perceptual loss; see `fomm_tf.losses.backbones`.
      backbone_file: its weights; None fetches them, where they can be fetched.
      feature_scales: what each layer of the backbone is divided by; None measures it on the first batch, for the
        backbones that need it, and the run's config.yaml keeps what was measured.
      loss_weights: see `LossWeightsConfig`.
      transform: see `TransformConfig`.
      seed: of the first weights, the pairs, their variations and the transforms.
      precision: what the layers compute in; variables, coordinates and losses stay float32.
      xla: compile the step with XLA.
      recompute: keep less for the gradient and compute it again: a third less memory for a quarter more time.
      log_steps: steps between two lines of losses.
      checkpoint_steps: steps between two checkpoints, each with a test on unseen clips before it.
      keep: how many checkpoints to keep, beside the best.
      test_frames: how many frames of the test clips that test rebuilds.
    """

    epochs: int = 100
    milestones: tuple[int, ...] = (60, 90)
    steps: int | None = None
    lr_decay_fractions: tuple[float, ...] = (0.5, 0.75)
    batch_size: int = 20
    learning_rate_generator: float = 2e-4
    learning_rate_detector: float = 2e-4
    learning_rate_discriminator: float = 2e-4
    pyramid_scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    backbone: str = "vgg19"
    backbone_file: str | None = None
    feature_scales: tuple[float, ...] | None = None
    loss_weights: LossWeightsConfig = LossWeightsConfig()
    transform: TransformConfig = TransformConfig()
    seed: int = 0
    precision: Precision = "float32"
    xla: bool = False
    recompute: bool = False
    log_steps: int = 50
    checkpoint_steps: int = 1000
    keep: int = 3
    test_frames: int = 200

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "log_steps", "checkpoint_steps", "keep", "test_frames"):
            value = getattr(self, name)
            if value < 1:
                raise errors.UserError(f"train.{name} must be at least 1; got {value}.")
        if self.steps is not None and self.steps < 1:
            raise errors.UserError(f"train.steps must be at least 1, or null for epochs; got {self.steps}.")
        if self.seed < 0:
            raise errors.UserError(f"train.seed must not be negative; got {self.seed}.")
        for name in ("generator", "detector", "discriminator"):
            value = getattr(self, f"learning_rate_{name}")
            if not 0 <= value < float("inf"):
                raise errors.UserError(f"train.learning_rate_{name} must be a number from 0; got {value}.")
        if not all(0 < share <= 1 for share in self.lr_decay_fractions):
            raise errors.UserError(
                "train.lr_decay_fractions must be shares of train.steps in (0, 1]; "
                f"got {list(self.lr_decay_fractions)}."
            )
        if not self.pyramid_scales or not all(0 < scale <= 1 for scale in self.pyramid_scales):
            raise errors.UserError(
                f"train.pyramid_scales must be one or more in (0, 1]; got {list(self.pyramid_scales)}."
            )


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
