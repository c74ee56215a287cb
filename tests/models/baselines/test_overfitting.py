"""Each baseline learns one clip by heart: a smooth image that is deformed, which both can represent."""

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config
from fomm_tf.ops import tps
from fomm_tf.training import step
from fomm_tf.training.objective import Objective

SIDE, FRAMES = 32, 4
# 32 pixels are halved three times; without the discriminator, whose game takes longer.
SIZES = ["frame_size=[32,32]", "motion_scale=1.0", "keypoint_detector.scale=1.0", "keypoint_detector.num_blocks=3"]
CHANGES = {
    "monkey-net": ["dense_motion.num_blocks=3", "generator.block_expansion=16", "generator.num_residual_blocks=1"],
    "x2face": ["dense_motion.num_blocks=3", "generator.num_down_blocks=3"],
}
STEPS = {"monkey-net": 700, "x2face": 900}


def draw_clip():
    """The source, and the deformed frames."""
    rough = tf.random.stateless_uniform([1, 5, 5, 3], [1, 3])
    source = tf.clip_by_value(tf.image.resize(rough, [SIDE, SIDE], "bicubic"), 0, 1)
    copies = tf.repeat(source, FRAMES, axis=0)
    return copies, tps.warp_image(tps.sample(tf.constant([4, 5]), FRAMES, 0.1, 0.02), copies)


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGES)
def test_model_overfits_one_clip(kind):
    changes = [f"model.{change}" for change in SIZES + CHANGES[kind]]
    changes += [f"train.learning_rate_{name}=1.0e-3" for name in ("generator", "detector")]
    changes += [f"train.batch_size={FRAMES}", "train.loss_weights.generator_gan=0.0"]
    settings = config.override(config.load(config.recipes()[f"table3/{kind}"]), changes)
    tf.keras.utils.set_random_seed(0)
    run = checkpoint.build(settings, optimizers=True)
    objective = Objective(settings, run.model, None, None)
    train_step = step.compile_step(run, objective, settings.train, tf.distribute.get_strategy())
    source, driving = draw_clip()
    pair = {"source": source, "driving": driving}
    for number in range(STEPS[kind]):
        if number == STEPS[kind] * 4 // 5:
            for optimizer in run.optimizers.values():
                optimizer.learning_rate.assign(1e-4)
        train_step(pair, tf.constant(number, tf.int64))
    l1 = np.abs(run.model(pair).prediction - driving).mean()
    assert l1 < 0.1 * np.abs(source - driving).mean()
