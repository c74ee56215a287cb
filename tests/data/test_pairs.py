"""Training pairs: every batch a function of (seed, step)."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.data import frames, pairs

JITTERED = config.DataConfig(
    sample_by_identity=True,
    augment=config.AugmentConfig(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, resize=(0.9, 1.1), crop=True),
)
PLAIN = config.DataConfig(augment=config.AugmentConfig(horizontal_flip=False, time_flip=False))


def take(dataset, count):
    return [{name: value.numpy() for name, value in batch.items()} for batch in itertools.islice(dataset, count)]


def same(left, right):
    return len(left) == len(right) and all(
        np.array_equal(one[name], other[name])
        for one, other in zip(left, right, strict=True)
        for name in ("source", "driving")
    )


def draws_of(index, data_config, seed=0, batch_size=100, count=10_000):
    """The decisions of `count` pairs, as if they were one batch."""
    sampler = pairs.Sampler(index, data_config, batch_size, seed)
    return [sampler.draw(step) for step in range(count // batch_size)]


def joined(draws, name):
    return np.concatenate([getattr(draw, name) for draw in draws])


def test_make_dataset_yields_pairs_in_range(index):
    for batch in take(pairs.make_dataset(index, JITTERED, 4, seed=0), 6):
        assert set(batch) == {"source", "driving"}
        for values in batch.values():
            assert values.shape == (4, 48, 48, 3) and values.dtype == np.float32
            assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
        assert not np.array_equal(batch["source"], batch["driving"])


def test_make_dataset_has_static_shape(index):
    spec = pairs.make_dataset(index, JITTERED, 4, seed=0).element_spec
    assert spec["source"].shape == spec["driving"].shape == [4, 48, 48, 3]


def test_make_dataset_accepts_rectangular_frames(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a", size=(48, 64))
    index = frames.load(tmp_path, "train", (48, 64))
    assert take(pairs.make_dataset(index, JITTERED, 2, seed=0), 1)[0]["driving"].shape == (2, 48, 64, 3)


def test_make_dataset_yields_sampled_frames(index):
    batch = take(pairs.make_dataset(index, PLAIN, 5, seed=3, start_step=2), 1)[0]
    draw = pairs.Sampler(index, PLAIN, 5, seed=3).draw(2)
    for row in range(5):
        clip = index.clips[draw.clip[row]]
        assert np.array_equal(np.rint(batch["source"][row] * 255), clip.frame(draw.source[row]))
        assert np.array_equal(np.rint(batch["driving"][row] * 255), clip.frame(draw.driving[row]))


@pytest.mark.parametrize("start", [1, 4, 7])
def test_make_dataset_restart_equals_uninterrupted(index, start):
    straight = take(pairs.make_dataset(index, JITTERED, 3, seed=5), 9)
    assert same(take(pairs.make_dataset(index, JITTERED, 3, seed=5, start_step=start), 9 - start), straight[start:])


@pytest.mark.parametrize("threads", [1, 3])
def test_make_dataset_does_not_depend_on_threads(index, threads):
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.autotune.enabled = threads > 1
    few = pairs.make_dataset(index, JITTERED, 32, seed=1).with_options(options)
    assert same(take(few, 6), take(pairs.make_dataset(index, JITTERED, 32, seed=1), 6))


def test_make_dataset_depends_on_seed(index):
    one, other = (take(pairs.make_dataset(index, JITTERED, 4, seed=seed), 1) for seed in (0, 1))
    assert not same(one, other)


def test_make_dataset_augments_both_frames_equally(tmp_path, write_clip):
    # Frames differ in the bar at the top only, so that the rest must be equal after augmentation.
    write_clip(tmp_path / "train" / "a")
    index = frames.load(tmp_path, "train", (48, 48))
    settings = config.AugmentConfig(brightness=0.4, saturation=0.4, hue=0.4, resize=(1.0, 1.5), crop=True)
    for batch in take(pairs.make_dataset(index, config.DataConfig(augment=settings), 4, seed=0), 4):
        assert len({row.tobytes() for row in batch["source"]}) == 4
        np.testing.assert_allclose(batch["source"][:, 24:], batch["driving"][:, 24:], atol=0.02)


def test_sampler_frames_are_distinct_and_ordered_unless_reversed(index):
    draws = draws_of(index, config.DataConfig())
    source, driving = joined(draws, "source"), joined(draws, "driving")
    assert (source != driving).all()
    assert (source > driving).mean() == pytest.approx(0.5, abs=0.02)
    reverse = np.concatenate([draw.params.reverse for draw in draws]) > 0
    assert np.array_equal(source > driving, reverse)


def test_sampler_without_time_flip_source_is_earlier(index):
    draws = draws_of(index, PLAIN)
    assert (joined(draws, "source") < joined(draws, "driving")).all()


def test_sampler_frame_pairs_are_uniform(index):
    draws = draws_of(index, PLAIN, count=60_000)
    chosen = joined(draws, "clip") == 0
    early, late = joined(draws, "source")[chosen], joined(draws, "driving")[chosen]
    counts = np.array([np.sum((early == one) & (late == other)) for one, other in itertools.combinations(range(5), 2)])
    assert counts.sum() == chosen.sum()
    assert np.abs(counts / counts.sum() - 0.1).max() < 4 * np.sqrt(0.09 / counts.sum())


def test_sampler_by_clip_uses_clips_equally(index):
    counts = np.bincount(joined(draws_of(index, PLAIN), "clip"), minlength=6)
    assert counts.max() - counts.min() <= 1


def test_sampler_by_identity_uses_identities_and_clips_equally(index):
    counts = np.bincount(joined(draws_of(index, JITTERED), "clip"), minlength=6)
    identities = [counts[:3].sum(), counts[3], counts[4:].sum()]
    assert max(identities) - min(identities) <= 1
    for group in (counts[:3], counts[4:]):
        share = 1 / len(group)
        assert np.abs(group / group.sum() - share).max() < 4 * np.sqrt(share * (1 - share) / group.sum())


def test_sampler_shuffles_each_round(index):
    clips = joined(draws_of(index, PLAIN, batch_size=4, count=120), "clip").reshape(20, 6)
    assert all(sorted(order) == list(range(6)) for order in clips.tolist())
    assert len({tuple(order) for order in clips.tolist()}) > 10


def test_steps_per_epoch_counts_clips_or_identities(index):
    by_clip = config.DataConfig(repeats=10)
    by_identity = config.DataConfig(repeats=10, sample_by_identity=True)
    assert pairs.steps_per_epoch(index, by_clip, 4) == 15
    assert pairs.steps_per_epoch(index, by_identity, 4) == 7
    assert pairs.steps_per_epoch(index, config.DataConfig(), 40) == 1


def test_make_dataset_two_replicas_equal_one(index, two_replicas):
    whole = take(pairs.make_dataset(index, JITTERED, 6, seed=2, start_step=1), 3)
    dataset = two_replicas.distribute_datasets_from_function(
        lambda context: pairs.make_dataset(index, JITTERED, 6, seed=2, start_step=1, context=context)
    )
    shared = [
        {
            name: np.concatenate([part.numpy() for part in two_replicas.experimental_local_results(values)])
            for name, values in batch.items()
        }
        for batch in itertools.islice(dataset, 3)
    ]
    assert same(shared, whole)


def test_make_dataset_multiple_workers_equal_one(index):
    whole = take(pairs.make_dataset(index, JITTERED, 8, seed=2), 2)
    workers = []
    for worker in range(2):
        context = tf.distribute.InputContext(2, worker, num_replicas_in_sync=4)
        workers.append(take(pairs.make_dataset(index, JITTERED, 8, seed=2, context=context), 4))
    for step, batch in enumerate(whole):
        parts = [part for worker in workers for part in worker[2 * step : 2 * step + 2]]
        for name, values in batch.items():
            assert np.array_equal(np.concatenate([part[name] for part in parts]), values)


def test_make_dataset_rejects_batch_not_divisible_by_replicas(index):
    context = tf.distribute.InputContext(1, 0, num_replicas_in_sync=4)
    with pytest.raises(errors.UserError, match="batch_size must be a multiple of 4, the number of replicas; got 6"):
        pairs.make_dataset(index, JITTERED, 6, seed=0, context=context)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tf.errors.UnknownError(None, None, "UserError: a.tar is truncated; copy it.\nTraceback"),
            "a.tar is truncated; copy it.",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "out of memory"), None),
    ],
)
def test_unwrap_errors_raises_what_the_reading_thread_raised(error, message):
    def read():
        yield {"source": 1}
        raise error

    batches = pairs.unwrap_errors(read())
    assert next(batches) == {"source": 1}
    with pytest.raises(errors.UserError if message else type(error)) as caught:
        next(batches)
    assert str(caught.value) == message if message else caught.value is error
