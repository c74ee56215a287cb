"""A SavedModel that is written and loaded in milliseconds, for tests of what a server does with any model."""

import tensorflow as tf


class Counter(tf.Module):
    """Adds positive numbers to a total."""

    def __init__(self):
        self.total = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "number")])
    def add(self, number):
        with tf.control_dependencies([tf.debugging.assert_positive(number)]):
            return {"total": self.total.assign_add(tf.reduce_sum(number))}


def write(directory):
    """Writes a counter with the signature `add`."""
    counter = Counter()
    tf.saved_model.save(counter, str(directory), signatures={"add": counter.add})
