"""Training pairs: two frames of one clip; every batch is a function of (seed, step).

Convention:
  * step s of a run trains on batch s; its row r is pair number s * batch_size + r of an infinite sequence, which
    repeats the clips (or identities) in another order each time: no remainder is dropped between epochs;
  * NumPy samples everything random in a batch from (seed, step) before any file is read, so that it depends neither on
    threads nor on the number of replicas; only images are processed in parallel, in TensorFlow;
  * the source is the earlier of two distinct random frames, unless the pair is reversed, as in the reference (which
    also allows the same frame twice).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.data import augment, frames, storage

Element = TypeVar("Element")

# Independent random streams of one seed.
_PAIRS, _ORDER = 0, 1
# Uniform random numbers per pair, besides those of the augmentation: clip of an identity, first and second frame.
_NUMBERS = 3
# Batches to prefetch; one of 40 pairs at 256x256 takes 63 MB.
_PREFETCH = 2


class Draws(NamedTuple):
    """Random choices for N pairs.

    Attributes:
      clip: `[N]` int, indices of clips.
      source: `[N]` int, frame indices; reversed pairs are swapped already.
      driving: `[N]` int, frame indices.
      params: augmentation, of shape `[N]`.
    """

    clip: np.ndarray
    source: np.ndarray
    driving: np.ndarray
    params: augment.AugmentParams


class Sampler:
    """Samples the pairs of each batch.

    Args:
      index: the clips.
      data_config: whether identities are sampled first, and the augmentation.
      batch_size: pairs per step, over all replicas.
      seed: 0 or more.
    """

    def __init__(self, index: frames.Index, data_config: config.DataConfig, batch_size: int, seed: int) -> None:
        self._augment, self._batch_size, self._seed = data_config.augment, batch_size, seed
        self._lengths = np.array([len(clip) for clip in index.clips])
        self._groups = _groups(index, data_config)
        self._order = functools.lru_cache(maxsize=8)(self._shuffle)

    def draw(self, step: int) -> Draws:
        """Samples the batch of `step`, counted from 0."""
        count = self._batch_size
        numbers = self._random(_PAIRS, step).random((count, _NUMBERS + augment.NUM_UNIFORMS))
        chosen, first, second = numbers[:, :_NUMBERS].T
        params = augment.sample(self._augment, numbers[:, _NUMBERS:])
        rounds, places = np.divmod(step * count + np.arange(count), len(self._groups))
        groups = [self._groups[self._order(turn)[place]] for turn, place in zip(rounds, places, strict=True)]
        clip = np.array([group[int(share * len(group))] for group, share in zip(groups, chosen, strict=True)])
        first = (first * self._lengths[clip]).astype(int)
        second = (second * (self._lengths[clip] - 1)).astype(int)
        second += second >= first
        early, late = np.minimum(first, second), np.maximum(first, second)
        reverse = params.reverse > 0
        return Draws(clip, np.where(reverse, late, early), np.where(reverse, early, late), params)

    def _shuffle(self, turn: int) -> np.ndarray:
        return self._random(_ORDER, turn).permutation(len(self._groups))

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(stream, int(number))))


def _groups(index: frames.Index, data_config: config.DataConfig) -> tuple[tuple[int, ...], ...]:
    """Groups of clips; an epoch takes one clip of each group, `repeats` times."""
    if data_config.sample_by_identity:
        return index.by_identity()
    return tuple((number,) for number in range(len(index)))


def steps_per_epoch(index: frames.Index, data_config: config.DataConfig, batch_size: int) -> int:
    """Steps that use each clip (with `sample_by_identity` each identity, as in the reference) `repeats` times.

    Rounded down, at least 1; the remainder is part of the next epoch.
    """
    return max(1, len(_groups(index, data_config)) * data_config.repeats // batch_size)


def check_batch(batch_size: int, replicas: int) -> None:
    """Checks that the batch can be split evenly between replicas.

    Raises:
      UserError: if it cannot; the message names a valid size.
    """
    if batch_size < 1 or batch_size % replicas:
        raise errors.UserError(
            f"train.batch_size must be a multiple of {replicas}, the number of replicas; got {batch_size}."
        )


def make_dataset(
    index: frames.Index,
    data_config: config.DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """An infinite dataset of batches; starting at step k yields the same bits as skipping the first k batches.

    Each of n replicas gets batch_size / n rows: replica r (over all workers) gets those from r * batch_size / n on, so
    that the concatenated rows of all replicas are the batch of a single one:

        strategy.distribute_datasets_from_function(
            lambda context: pairs.make_dataset(index, settings.data, batch_size, seed, step, context))

    Args:
      index: the clips, which must not change while the dataset is in use.
      data_config: sampling and augmentation.
      batch_size: pairs per step, over all replicas.
      seed: of everything random, 0 or more.
      start_step: step of the first batch, counted from 0.
      context: of a distribution strategy; each element is then the part of one replica, and the replicas of this
        worker follow each other in each step.

    Returns:
      A dataset of {source, driving}: `[B, H, W, 3]` float32 in [0, 1].

    Raises:
      UserError: if the batch cannot be split evenly between replicas.
    """
    replicas = context.num_replicas_in_sync if context else 1
    check_batch(batch_size, replicas)
    share = batch_size // replicas
    local = batch_size // (context.num_input_pipelines if context else 1)
    begin = local * (context.input_pipeline_id if context else 0)
    sampler = Sampler(index, data_config, batch_size, seed)

    def read(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        draws = sampler.draw(int(step))
        ranges = [
            index.clips[draws.clip[row]].locate(frame[row])
            for row in range(begin, begin + local)
            for frame in (draws.source, draws.driving)
        ]
        encoded = np.array(storage.read_ranges(ranges), object).reshape(local, 2)
        return encoded, np.stack(draws.params, axis=-1)[begin : begin + local]

    def open_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, params = tf.numpy_function(read, [step], [tf.string, tf.float32])
        return tf.ensure_shape(encoded, [local, 2]), tf.ensure_shape(params, [local, augment.NUM_UNIFORMS])

    def load_frame(encoded: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        frame = tf.ensure_shape(frames.decode(encoded), [*index.frame_size, 3])
        frame = tf.image.convert_image_dtype(frame, tf.float32)
        return augment.apply(data_config.augment, augment.AugmentParams(*tf.unstack(params)), frame)

    def make_pair(encoded: tf.Tensor, params: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"source": load_frame(encoded[0], params), "driving": load_frame(encoded[1], params)}

    dataset = tf.data.Dataset.counter(start_step)
    dataset = dataset.map(open_batch, num_parallel_calls=2, deterministic=True).unbatch()
    dataset = dataset.map(make_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    # One thread per operation: a sum over pixels must not depend on the number of cores.
    options.threading.max_intra_op_parallelism = 1
    return dataset.batch(share, drop_remainder=True).prefetch(_PREFETCH * local // share).with_options(options)


def unwrap_errors(batches: Iterator[Element]) -> Iterator[Element]:
    """Yields batches; a `UserError` of a reading thread, which TensorFlow wraps, is raised as it was."""
    try:
        yield from batches
    except tf.errors.OpError as error:
        wrapped = re.search(rf"{errors.UserError.__name__}: (.*)", error.message)
        if wrapped is None:
            raise
        raise errors.UserError(wrapped[1]) from error


def training_dataset(
    root: str | Path,
    frame_size: tuple[int, int],
    batch_size: int = 8,
    *,
    seed: int = 0,
    start_step: int = 0,
    **settings: object,
) -> tf.data.Dataset:
    """Training pairs of the clips in a directory, for `FirstOrderMotionModel.fit`.

    Args:
      root: directory with `train` and `test`, or with clips that are split into both; or directory or URL of shards.
        See `fomm_tf.data.frames`.
      frame_size: `(H, W)`, the model's.
      batch_size: pairs per step, over all replicas.
      seed: of everything random, 0 or more.
      start_step: step of the first batch, counted from 0.
      **settings: other fields of `config.DataConfig`, such as `augment`.

    Returns:
      An infinite dataset of {source, driving}: `[B, H, W, 3]` float32 in [0, 1]. Its attribute `steps_per_epoch` is
      the number of steps that use each clip once, and `from_step` a function of a step that starts the dataset there.

    Raises:
      UserError: if there is no usable clip, or a setting is invalid.
    """
    data_config = config.DataConfig(root=str(root), **settings)
    index = _load(data_config, "train", frame_size)
    return _dataset_from(index, data_config, batch_size, seed, start_step)


def _dataset_from(
    index: frames.Index, data_config: config.DataConfig, batch_size: int, seed: int, step: int
) -> tf.data.Dataset:
    dataset = make_dataset(index, data_config, batch_size, seed, step)
    dataset.steps_per_epoch = steps_per_epoch(index, data_config, batch_size)
    dataset.from_step = functools.partial(_dataset_from, index, data_config, batch_size, seed)
    return dataset


def test_dataset(
    root: str | Path, frame_size: tuple[int, int], batch_size: int = 8, *, count: int = 200, **settings: object
) -> tf.data.Dataset:
    """Pairs of a test clip's first frame and another one, for `evaluate` and as `validation_data`; always the same.

    Args:
      root: as for `training_dataset`.
      frame_size: `(H, W)`, the model's.
      batch_size: pairs per batch.
      count: maximum number of pairs; they are spread evenly over the clips and over each clip.
      **settings: other fields of `config.DataConfig`.

    Returns:
      A finite dataset of {source, driving}: `[B, H, W, 3]` float32 in [0, 1].

    Raises:
      UserError: if there is no usable clip.
    """
    index = _load(config.DataConfig(root=str(root), **settings), "test", frame_size)
    chosen = np.array([(clip, number) for clip, numbers in select_frames(index, count) for number in numbers])

    def read(clip: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        return index.clips[clip].frame(0), index.clips[clip].frame(number)

    def load_pair(row: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.numpy_function(read, [row[0], row[1]], [tf.uint8, tf.uint8])
        images = (tf.ensure_shape(image, [*index.frame_size, 3]) for image in images)
        return dict(zip(("source", "driving"), (tf.cast(image, tf.float32) / 255.0 for image in images), strict=True))

    return tf.data.Dataset.from_tensor_slices(chosen).map(load_pair).batch(batch_size).prefetch(_PREFETCH)


def select_frames(index: frames.Index, count: int) -> list[tuple[int, Sequence[int]]]:
    """Chooses frames to test, spread evenly over the clips and over each clip.

    Args:
      index: the test clips.
      count: maximum number of frames; each chosen clip contributes at least one.

    Returns:
      (index of the clip, indices of its frames) of each chosen clip; never a clip's first frame.
    """
    per_clip = max(1, count // len(index))
    clips = spread(0, len(index) - 1, min(len(index), count))
    lengths = [len(index.clips[clip]) - 1 for clip in clips]
    return [(clip, spread(1, length, min(per_clip, length))) for clip, length in zip(clips, lengths, strict=True)]


def spread(first: int, last: int, count: int) -> Sequence[int]:
    """`count` whole numbers spread evenly from `first` to `last`."""
    return np.unique(np.linspace(first, last, count).round().astype(int))


def _load(data_config: config.DataConfig, split: str, frame_size: tuple[int, int]) -> frames.Index:
    return frames.load(
        data_config.root,
        split,
        frame_size,
        cache=data_config.cache,
        test_share=data_config.test_share,
        seed=data_config.split_seed,
    )
