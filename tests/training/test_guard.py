"""Losses are averaged, and the first that is no number is named."""

import pytest
import tensorflow as tf

from fomm_tf import errors
from fomm_tf.training import step

NAN, INF = float("nan"), float("inf")


def collect(scaled, *steps):
    losses = step.LossAccumulator(scaled)
    for number, values in enumerate(steps, start=5):
        losses.add(number, {name: tf.constant(value) for name, value in values.items()})
    return losses


def test_the_means_are_of_the_steps_since_the_last_look():
    losses = collect(False, {"perceptual": 1.0, "gen_gan": 4.0}, {"perceptual": 3.0, "gen_gan": 6.0})
    assert losses.result() == {"perceptual": 2.0, "gen_gan": 5.0}
    losses.add(7, {"perceptual": tf.constant(7.0)})
    assert losses.result() == {"perceptual": 7.0}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("perceptual", NAN, "loss perceptual is nan at step 6"),
        ("perceptual", -INF, "loss perceptual is -inf at step 6"),
        ("gradient_norm_detector", INF, "the gradient of the detector is inf at step 6"),
    ],
)
def test_the_first_step_and_term_that_are_no_number_are_named(name, value, message):
    good = {"perceptual": 1.0, "gradient_norm_detector": 1.0}
    with pytest.raises(errors.UserError) as caught:
        collect(False, good, good | {name: value}, dict.fromkeys(good, NAN)).result()
    assert str(caught.value).startswith(message) and "--resume" in str(caught.value)


def test_under_a_loss_scale_a_gradient_that_overflows_is_no_reason_to_stop():
    losses = collect(
        True, {"perceptual": 1.0, "gradient_norm_generator": INF}, {"perceptual": 3.0, "gradient_norm_generator": 2.0}
    )
    assert losses.result() == {"perceptual": 2.0, "gradient_norm_generator": 2.0}
    with pytest.raises(errors.UserError, match="loss perceptual is nan at step 5"):
        collect(True, {"perceptual": NAN}).result()
