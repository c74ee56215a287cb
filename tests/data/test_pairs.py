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


def test_batches_are_pairs_in_range(index):
    for batch in take(pairs.pairs(index, JITTERED, 4, seed=0), 6):
        assert set(batch) == {"source", "driving"}
        for values in batch.values():
            assert values.shape == (4, 48, 48, 3) and values.dtype == np.float32
            assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
        assert not np.array_equal(batch["source"], batch["driving"])


def test_the_static_shape_is_known(index):
    spec = pairs.pairs(index, JITTERED, 4, seed=0).element_spec
    assert spec["source"].shape == spec["driving"].shape == [4, 48, 48, 3]


def test_frames_may_be_wider_than_high(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a", size=(48, 64))
    index = frames.load(tmp_path, "train", (48, 64))
    assert take(pairs.pairs(index, JITTERED, 2, seed=0), 1)[0]["driving"].shape == (2, 48, 64, 3)


def test_a_batch_is_what_was_drawn_for_it(index):
    batch = take(pairs.pairs(index, PLAIN, 5, seed=3, start_step=2), 1)[0]
    draw = pairs.Sampler(index, PLAIN, 5, seed=3).draw(2)
    for row in range(5):
        clip = index.clips[draw.clip[row]]
        assert np.array_equal(np.rint(batch["source"][row] * 255), clip.frame(draw.source[row]))
        assert np.array_equal(np.rint(batch["driving"][row] * 255), clip.frame(draw.driving[row]))


@pytest.mark.parametrize("start", [1, 4, 7])
def test_a_restart_yields_what_the_uninterrupted_run_does(index, start):
    straight = take(pairs.pairs(index, JITTERED, 3, seed=5), 9)
    assert same(take(pairs.pairs(index, JITTERED, 3, seed=5, start_step=start), 9 - start), straight[start:])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_change_a_batch(index, threads):
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.autotune.enabled = threads > 1
    few = pairs.pairs(index, JITTERED, 32, seed=1).with_options(options)
    assert same(take(few, 6), take(pairs.pairs(index, JITTERED, 32, seed=1), 6))


def test_another_seed_gives_other_batches(index):
    one, other = (take(pairs.pairs(index, JITTERED, 4, seed=seed), 1) for seed in (0, 1))
    assert not same(one, other)


def test_both_frames_of_a_pair_are_varied_alike(tmp_path, write_clip):
    # All frames but for the bar at the top are the same image, so that the rest has to come out the same.
    write_clip(tmp_path / "train" / "a")
    index = frames.load(tmp_path, "train", (48, 48))
    settings = config.AugmentConfig(brightness=0.4, saturation=0.4, hue=0.4, resize=(1.0, 1.5), crop=True)
    for batch in take(pairs.pairs(index, config.DataConfig(augment=settings), 4, seed=0), 4):
        assert len({row.tobytes() for row in batch["source"]}) == 4
        np.testing.assert_allclose(batch["source"][:, 24:], batch["driving"][:, 24:], atol=0.02)


def test_the_two_frames_of_a_pair_are_distinct_and_ordered_but_for_the_reversed_half(index):
    draws = draws_of(index, config.DataConfig())
    source, driving = joined(draws, "source"), joined(draws, "driving")
    assert (source != driving).all()
    assert (source > driving).mean() == pytest.approx(0.5, abs=0.02)
    reverse = np.concatenate([draw.variation.reverse for draw in draws]) > 0
    assert np.array_equal(source > driving, reverse)


def test_without_time_flip_the_source_is_the_earlier_frame(index):
    draws = draws_of(index, PLAIN)
    assert (joined(draws, "source") < joined(draws, "driving")).all()


def test_every_two_frames_of_a_clip_come_equally_often(index):
    draws = draws_of(index, PLAIN, count=60_000)
    chosen = joined(draws, "clip") == 0
    early, late = joined(draws, "source")[chosen], joined(draws, "driving")[chosen]
    counts = np.array([np.sum((early == one) & (late == other)) for one, other in itertools.combinations(range(5), 2)])
    assert counts.sum() == chosen.sum()
    assert np.abs(counts / counts.sum() - 0.1).max() < 4 * np.sqrt(0.09 / counts.sum())


def test_by_clip_every_clip_comes_equally_often(index):
    counts = np.bincount(joined(draws_of(index, PLAIN), "clip"), minlength=6)
    assert counts.max() - counts.min() <= 1


def test_by_identity_every_identity_comes_equally_often_and_its_clips_too(index):
    counts = np.bincount(joined(draws_of(index, JITTERED), "clip"), minlength=6)
    identities = [counts[:3].sum(), counts[3], counts[4:].sum()]
    assert max(identities) - min(identities) <= 1
    for group in (counts[:3], counts[4:]):
        share = 1 / len(group)
        assert np.abs(group / group.sum() - share).max() < 4 * np.sqrt(share * (1 - share) / group.sum())


def test_each_round_goes_through_all_clips_in_another_order(index):
    clips = joined(draws_of(index, PLAIN, batch_size=4, count=120), "clip").reshape(20, 6)
    assert all(sorted(order) == list(range(6)) for order in clips.tolist())
    assert len({tuple(order) for order in clips.tolist()}) > 10


def test_steps_of_an_epoch_count_clips_or_identities(index):
    by_clip = config.DataConfig(repeats=10)
    by_identity = config.DataConfig(repeats=10, sample_by_identity=True)
    assert pairs.steps_per_epoch(index, by_clip, 4) == 15
    assert pairs.steps_per_epoch(index, by_identity, 4) == 7
    assert pairs.steps_per_epoch(index, config.DataConfig(), 40) == 1


def test_two_replicas_share_the_batch_of_one(index, two_replicas):
    whole = take(pairs.pairs(index, JITTERED, 6, seed=2, start_step=1), 3)
    dataset = two_replicas.distribute_datasets_from_function(
        lambda context: pairs.pairs(index, JITTERED, 6, seed=2, start_step=1, context=context)
    )
    shared = [
        {
            name: np.concatenate([part.numpy() for part in two_replicas.experimental_local_results(values)])
            for name, values in batch.items()
        }
        for batch in itertools.islice(dataset, 3)
    ]
    assert same(shared, whole)


def test_workers_with_two_replicas_each_share_the_batch_of_one(index):
    whole = take(pairs.pairs(index, JITTERED, 8, seed=2), 2)
    workers = []
    for worker in range(2):
        context = tf.distribute.InputContext(2, worker, num_replicas_in_sync=4)
        workers.append(take(pairs.pairs(index, JITTERED, 8, seed=2, context=context), 4))
    for step, batch in enumerate(whole):
        parts = [part for worker in workers for part in worker[2 * step : 2 * step + 2]]
        for name, values in batch.items():
            assert np.array_equal(np.concatenate([part[name] for part in parts]), values)


def test_a_batch_that_does_not_divide_by_the_replicas_is_refused(index):
    context = tf.distribute.InputContext(1, 0, num_replicas_in_sync=4)
    with pytest.raises(errors.UserError, match="batch_size 6 does not divide by 4 replicas"):
        pairs.pairs(index, JITTERED, 6, seed=0, context=context)
