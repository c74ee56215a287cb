"""The config sections of a run; each is passed only to the package that uses it."""

from __future__ import annotations

import dataclasses
import typing

from fomm_tf.config.model import ModelConfig, require, require_scales

Precision = typing.Literal["float32", "float16", "bfloat16"]
PRECISIONS = typing.get_args(Precision)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training pairs, with the same random parameters for both frames.

    Attributes:
      horizontal_flip: mirror half of the pairs that are not reversed in time.
      time_flip: swap source and driving frame in half of the pairs.
      brightness: maximum relative change of brightness, 0 for none.
      contrast: maximum relative change of contrast.
      saturation: maximum relative change of saturation.
      hue: maximum shift of hue, as a fraction of the color circle, at most 0.5.
      resize: range of the random scale factor, or None.
      crop: crop a random window of the frame size after resizing.
    """

    horizontal_flip: bool = True
    time_flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    resize: tuple[float, float] | None = None
    crop: bool = False

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            require(getattr(self, name) >= 0, f"data.augment.{name}", "at least 0", getattr(self, name))
        require(0 <= self.hue <= 0.5, "data.augment.hue", "between 0 and 0.5", self.hue)
        if self.resize is not None:
            low, high = self.resize
            require(0 < low <= high, "data.augment.resize", "[low, high] above 0", [low, high])


@dataclasses.dataclass(frozen=True)
class PuppetsConfig:
    """Drawn characters to train on without videos; see `fomm_tf.data.puppets`.

    Attributes:
      identities: number of characters in the training set.
      test_identities: number of other characters, in the test set.
      clips: number of clips per character.
      frames: number of frames per clip.
      seed: of the data set.
      portraits: draw only head and shoulders, in front of a static plain background, which is easier to learn.
    """

    identities: int = 100
    test_identities: int = 10
    clips: int = 4
    frames: int = 64
    seed: int = 0
    portraits: bool = False


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The videos, and how pairs are sampled from them.

    Attributes:
      root: directory with `train` and `test`, or with clips that are split into both; or directory or URL of shards.
        See `fomm_tf.data.frames`.
      cache: directory for the frames at the model's size; None is a directory in `root`.
      test_share: fraction of the identities in the test set, if `root` has neither `train` nor `test`.
      split_seed: of that split.
      puppets: what to draw into `root` if it does not exist; None draws nothing.
      sample_by_identity: sample an identity first, then one of its clips, which are named `identity#clip`.
      repeats: passes through the training videos per epoch.
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
        require(self.repeats >= 1, "data.repeats", "at least 1", self.repeats)
        require(0 < self.test_share < 1, "data.test_share", "between 0 and 1", f"{self.test_share:g}")


@dataclasses.dataclass(frozen=True)
class LossWeightsConfig:
    """Weights of the loss terms; 0 disables a term.

    Attributes:
      perceptual: one weight per layer of the backbone (Eq. 9); if all are 0, no backbone is loaded.
      pixel: mean absolute difference of the pixels; not in the paper, but in those of its baselines.
      equivariance_value: Eq. 11.
      equivariance_jacobian: Eq. 13.
      generator_gan: LSGAN term of the generator; 0 disables adversarial training.
      discriminator_gan: LSGAN term of the discriminator.
      feature_matching: one weight per block of the discriminator.
    """

    perceptual: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0, 10.0)
    pixel: float = 0.0
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
      points: number of control points along each side.
    """

    sigma_affine: float = 0.05
    sigma_tps: float = 0.005
    points: int = 5


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training schedule and losses.

    Attributes:
      epochs: number of epochs, each of `data.repeats` passes through the training videos.
      milestones: epochs after which the learning rates are divided by ten.
      steps: number of steps, instead of `epochs`, as in the paper. The learning rates then follow `lr_decay_fractions`.
      lr_decay_fractions: fractions of `steps` after which the learning rates are divided by ten.
      batch_size: pairs per step, over all replicas.
      init_from: run directory or name of the model whose weights a new run starts from; None initializes randomly.
      learning_rate_generator: of the generator and the dense motion network.
      learning_rate_detector: of the keypoint detector.
      learning_rate_discriminator: of the discriminator.
      landmark_steps: number of batches on which a new run first trains the keypoint detector alone, with the landmarks
        of rendered people, which `data.root` must then hold; see `fomm_tf.training.landmarks`.
      freeze_detector: keep the keypoint detector as it is, with its moving statistics, which it then normalizes with in
        training too. There are no equivariance losses then, which only the detector could lower.
      freeze_statistics: normalize with the moving statistics of the weights to start from, and keep these: for
        fine-tuning, where batches of few clips have other statistics than those that the weights were trained with.
      clip_norm: maximum norm of each optimizer's gradient, which is scaled down to it; None does not clip.
      pyramid_scales: resolutions of the perceptual loss, as fractions of the frame size.
      backbone: network of the perceptual loss; see `fomm_tf.losses.backbones`.
      backbone_file: its weights; None downloads them, if possible.
      feature_scales: divisors of the layers of the backbone; None measures them on the first batch, for the backbones
        that need them, and stores them in the run's config.yaml.
      loss_weights: see `LossWeightsConfig`.
      transform: see `TransformConfig`.
      seed: of the initial weights, the pairs, their augmentation and the transforms.
      precision: what the layers compute in; variables, coordinates and losses stay float32.
      xla: compile the step with XLA.
      recompute: recompute activations for the gradient: a third less memory, a quarter more time.
      log_steps: steps between two reports of losses; there is one a minute at least.
      checkpoint_steps: steps between two checkpoints.
      checkpoint_minutes: minutes after which a checkpoint is due in any case; null for no limit.
      test_steps: steps between two validations on unseen clips, each with a checkpoint; null for `checkpoint_steps`.
      test_minutes: minutes after which a validation is due in any case; null for no limit.
      picture_steps: steps between two pictures of test clips; there is one with each validation anyway.
      picture_minutes: minutes after which a picture is due in any case; the first ones come after the first step, and
        1, 2, 4 ... minutes later; null for none of these.
      patience: validations in a row without a lower L1 after which the run ends; it is validated before the first step
        too, so that `best/` is never worse than the start. Null trains to the end of the schedule.
      keep: number of checkpoints to keep, in addition to the best.
      test_frames: number of frames of the test clips that the validation reconstructs.
      dry_run: only make a few steps, and report their time and memory and an estimate for the run; no run is written.
      learning_rate_test: only raise the learning rates until the loss explodes, and suggest one; no run is written.
    """

    epochs: int = 100
    milestones: tuple[int, ...] = (60, 90)
    steps: int | None = None
    lr_decay_fractions: tuple[float, ...] = (0.5, 0.75)
    batch_size: int = 20
    init_from: str | None = None
    learning_rate_generator: float = 2e-4
    learning_rate_detector: float = 2e-4
    learning_rate_discriminator: float = 2e-4
    landmark_steps: int = 0
    freeze_detector: bool = False
    freeze_statistics: bool = False
    clip_norm: float | None = None
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
    checkpoint_minutes: float | None = 15.0
    test_steps: int | None = None
    test_minutes: float | None = None
    picture_steps: int | None = None
    picture_minutes: float | None = 10.0
    patience: int | None = None
    keep: int = 3
    test_frames: int = 200
    dry_run: bool = False
    learning_rate_test: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "log_steps", "checkpoint_steps", "keep", "test_frames"):
            require(getattr(self, name) >= 1, f"train.{name}", "at least 1", getattr(self, name))
        for name in ("test_steps", "picture_steps", "patience"):
            steps = getattr(self, name)
            require(steps is None or steps >= 1, f"train.{name}", "at least 1, or null", steps)
        for name in ("checkpoint_minutes", "test_minutes", "picture_minutes"):
            minutes = getattr(self, name)
            require(minutes is None or minutes > 0, f"train.{name}", "above 0, or null", minutes)
        require(self.steps is None or self.steps >= 1, "train.steps", "at least 1, or null for epochs", self.steps)
        require(self.landmark_steps >= 0, "train.landmark_steps", "at least 0", self.landmark_steps)
        require(self.seed >= 0, "train.seed", "at least 0", self.seed)
        for name in ("learning_rate_generator", "learning_rate_detector", "learning_rate_discriminator"):
            rate = getattr(self, name)
            require(0 <= rate < float("inf"), f"train.{name}", "at least 0 and finite", rate)
        require(self.clip_norm is None or self.clip_norm > 0, "train.clip_norm", "above 0, or null", self.clip_norm)
        fractions = self.lr_decay_fractions
        is_valid = all(0 < fraction <= 1 for fraction in fractions)
        require(is_valid, "train.lr_decay_fractions", "fractions of train.steps in (0, 1]", list(fractions))
        require_scales("train.pyramid_scales", self.pyramid_scales)


@dataclasses.dataclass(frozen=True)
class AnimateConfig:
    """Defaults of `fomm animate`, which the command line overrides.

    Attributes:
      mode: `relative` or `absolute`.
      relative_jacobian: transfer Jacobians relatively too, in relative mode.
      adapt_scale: scale the motion by the sizes of the two objects, in relative mode.
      crop: what the training clips were cropped to, and so what `--crop auto` looks for: `face`, `body` or `none`.
    """

    mode: typing.Literal["relative", "absolute"] = "relative"
    relative_jacobian: bool = True
    adapt_scale: bool = False
    crop: typing.Literal["face", "body", "none"] = "none"


@dataclasses.dataclass(frozen=True)
class Config:
    """The config of a run.

    Attributes:
      data: see `DataConfig`.
      model: see `ModelConfig`.
      train: see `TrainConfig`.
      animate: see `AnimateConfig`.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = TrainConfig()
    animate: AnimateConfig = AnimateConfig()
