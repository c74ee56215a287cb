"""python gradient_descent.py CONFIG.yaml OUT DEVICES: trains by gradient descent, and records losses and weights.

Not by Adam, which turns the rounding errors of zero gradients into whole steps. It runs in a process of its own, since
collectives of two strategies in one process interfere. The replicas are DEVICES logical CPUs; with TF_CONFIG set, the
workers. OUT/history.json has the losses of each step, OUT/weights.npz all weights after the last one.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

from fomm_tf import config
from fomm_tf.training import loop, setup


class Recorder(loop.Loop):
    """Records the losses instead of writing a run directory."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.history = []

    def _log(self):
        self.history.append(self._losses.result())

    def _save(self, validate):
        pass

    def _draw(self, keep):
        pass


def main(file, out, devices):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    names = [f"CPU:{number}" for number in range(devices)]
    strategy = tf.distribute.MirroredStrategy(names) if devices > 1 else setup.choose_strategy()
    session = setup.prepare(config.load(file), strategy, None, None, lambda line: None)
    with strategy.scope():
        for name in session.run.optimizers:
            session.run.optimizers[name] = tf.keras.optimizers.SGD()
            session.run.optimizers[name].build(session.run.trainable(name))
    out.mkdir()
    recorder = Recorder(session, out, lambda line: None)
    recorder.run()
    (out / "history.json").write_text(json.dumps(recorder.history))
    weights = [weight for network in session.run.parts().values() for weight in network.get_weights()]
    np.savez(out / "weights.npz", *weights)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]))
