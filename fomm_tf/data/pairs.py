"""Training pairs: two frames of one clip, every batch a function of (seed, step).

Convention:
  * step s of a run trains on batch s, and row r of it is pair number s * batch_size + r of an endless sequence, which
    goes through the clips (or identities) again and again, each time in another order: nothing is left out between
    epochs;
  * all decisions of a batch are drawn by numpy from (seed, step) before anything is read, so that they depend neither
    on threads nor on the number of replicas; only images are worked on in parallel, in TensorFlow;
  * the source is the earlier of two distinct random frames, unless the pair is reversed, as in the reference (which
    also lets both be the same frame).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.data import augment, frames

# Names of independent random streams of one seed.
_PAIRS, _ORDER = 0, 1
# Uniform numbers a pair beside those of its variation: clip of an identity, first frame, second frame.
_NUMBERS = 3
# Batches ready ahead of time; each of 40 pairs at 256x256 takes 63 MB.
_AHEAD = 2


class Draws(NamedTuple):
    """What was decided for N pairs, before any frame is read.

    Attributes:
      clip: `[N]` int, which clip of the index.
      source: `[N]` int, which frame of it; the exchange of reversed pairs is done.
      driving: likewise.
      variation: of shape `[N]`.
    """

    clip: np.ndarray
    source: np.ndarray
    driving: np.ndarray
    variation: augment.Variation


class Sampler:
    """Decides which pairs make up each batch.

    Args:
      index: the clips.
      data_config: whether an identity is drawn first, and what may vary.
      batch_size: pairs a step, over all replicas.
      seed: not negative.
    """

    def __init__(self, index: frames.Index, data_config: config.DataConfig, batch_size: int, seed: int) -> None:
        self._augment, self._batch_size, self._seed = data_config.augment, batch_size, seed
        self._lengths = np.array([len(clip) for clip in index.clips])
        self._groups = _groups(index, data_config)
        self._order = functools.lru_cache(maxsize=8)(self._shuffle)

    def draw(self, step: int) -> Draws:
        """Draws the batch of `step`, counted from 0."""
        count = self._batch_size
        numbers = self._random(_PAIRS, step).random((count, _NUMBERS + augment.NUMBERS))
        chosen, first, second = numbers[:, :_NUMBERS].T
        variation = augment.draw(self._augment, numbers[:, _NUMBERS:])
        rounds, places = np.divmod(step * count + np.arange(count), len(self._groups))
        groups = [self._groups[self._order(turn)[place]] for turn, place in zip(rounds, places, strict=True)]
        clip = np.array([group[int(share * len(group))] for group, share in zip(groups, chosen, strict=True)])
        one = (first * self._lengths[clip]).astype(int)
        other = (second * (self._lengths[clip] - 1)).astype(int)
        other += other >= one
        early, late = np.minimum(one, other), np.maximum(one, other)
        reverse = variation.reverse > 0
        return Draws(clip, np.where(reverse, late, early), np.where(reverse, early, late), variation)

    def _shuffle(self, turn: int) -> np.ndarray:
        return self._random(_ORDER, turn).permutation(len(self._groups))

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(stream, int(number))))


def _groups(index: frames.Index, data_config: config.DataConfig) -> tuple[tuple[int, ...], ...]:
    """The clips that one place of an epoch chooses from."""
    if data_config.sample_by_identity:
        return index.by_identity()
    return tuple((number,) for number in range(len(index)))


def steps_per_epoch(index: frames.Index, data_config: config.DataConfig, batch_size: int) -> int:
    """Steps in which each clip comes up `repeats` times; with `sample_by_identity` each identity, as in the reference.

    Rounded down, and at least one; what is left over comes in the next epoch.
    """
    return max(1, len(_groups(index, data_config)) * data_config.repeats // batch_size)


def check_batch(batch_size: int, replicas: int) -> None:
    """Refuses a batch that replicas cannot share evenly.

    Raises:
      UserError: with what would do.
    """
    if batch_size < 1 or batch_size % replicas:
        raise errors.UserError(
            f"train.batch_size {batch_size} does not divide by {replicas} replicas; give a multiple of {replicas}."
        )


def pairs(
    index: frames.Index,
    data_config: config.DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """An endless dataset of batches; one that starts at step k yields what another yields from step k on, bit for bit.

    With replicas, each of n takes batch_size / n rows: replica r of all those of all workers the rows from r * b / n
    on, so that the rows of all replicas put together are the batch of one:

        strategy.distribute_datasets_from_function(
            lambda context: pairs.pairs(index, settings.data, batch_size, seed, step, context))

    Args:
      index: the clips, which must stay as they are while it is read.
      data_config: how to sample and vary them.
      batch_size: pairs a step, over all replicas.
      seed: of everything random, not negative.
      start_step: the step whose batch comes first, counted from 0.
      context: which replicas to read for; each element is then the share of one replica, and those of this worker
        follow each other step by step.

    Returns:
      A dataset of {source, driving}: `[B, H, W, 3]` float32 in [0, 1].

    Raises:
      UserError: if the replicas cannot share the batch evenly.
    """
    replicas = context.num_replicas_in_sync if context else 1
    check_batch(batch_size, replicas)
    share = batch_size // replicas
    local = batch_size // (context.num_input_pipelines if context else 1)
    begin = local * (context.input_pipeline_id if context else 0)
    sampler = Sampler(index, data_config, batch_size, seed)

    def read(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        draws = sampler.draw(int(step))
        encoded = [
            [index.clips[draws.clip[row]].encoded(frame[row]) for frame in (draws.source, draws.driving)]
            for row in range(begin, begin + local)
        ]
        return np.array(encoded, object), np.stack(draws.variation, axis=-1)[begin : begin + local]

    def open_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, variations = tf.numpy_function(read, [step], [tf.string, tf.float32])
        return tf.ensure_shape(encoded, [local, 2]), tf.ensure_shape(variations, [local, augment.NUMBERS])

    def make_pair(encoded: tf.Tensor, variation: tf.Tensor) -> dict[str, tf.Tensor]:
        variation = augment.Variation(*tf.unstack(variation))
        made = {}
        for place, name in enumerate(("source", "driving")):
            frame = tf.ensure_shape(frames.decode(encoded[place]), [*index.frame_size, 3])
            frame = tf.image.convert_image_dtype(frame, tf.float32)
            made[name] = augment.apply(data_config.augment, variation, frame)
        return made

    dataset = tf.data.Dataset.counter(start_step)
    dataset = dataset.map(open_batch, num_parallel_calls=2, deterministic=True).unbatch()
    dataset = dataset.map(make_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    # One thread an operation: a sum over pixels must not depend on how many cores there are.
    options.threading.max_intra_op_parallelism = 1
    return dataset.batch(share, drop_remainder=True).prefetch(_AHEAD * local // share).with_options(options)
