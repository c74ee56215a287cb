"""A loaded version: its warm-up requests, its runs and their cancellation."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import sys
import time

import counter_model
import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from fomm_tf.serving.local import priority, servable, status


@pytest.fixture
def load(tmp_path):
    """Returns a function that loads a counter with these numbers as its warm-up requests."""

    def load(*numbers):
        directory = tmp_path / "1"
        counter_model.write(directory)
        (directory / "assets.extra").mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(directory / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            for number in numbers:
                request = predict_pb2.PredictRequest()
                request.model_spec.signature_name = "add"
                request.inputs["number"].CopyFrom(tf.make_tensor_proto([number], tf.float32))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
        return servable.Servable(directory)

    return load


def test_servable_runs_its_warm_up_requests_when_it_is_loaded(load):
    loaded = load(3, 4)
    assert loaded.version == 1
    assert loaded.run("add", {"number": np.float32([1])}) == {"total": 8}
    loaded.close()


def test_servable_rejects_a_version_whose_warm_up_request_fails(load):
    with pytest.raises(status.RpcError) as caught:
        load(3, -1)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


class Power(tf.Module):
    """Products that take some tenths of a second of processor time, of a matrix that is copied within milliseconds."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "matrix")])
    def power(self, matrix):
        product = matrix
        for _ in range(12):
            product = tf.matmul(product, matrix)
        return {"power": product}


def thread_seconds():
    """Niceness -> processor time of this process's threads."""
    seconds = collections.Counter()
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            seconds[int(fields[16])] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_servable_computes_in_the_background_in_threads_of_low_priority(tmp_path):
    module, matrix = Power(), np.eye(1024, dtype=np.float32)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"power": module.power})
    loaded, own = servable.Servable(tmp_path / "1"), os.nice(0)
    loaded.run("power", {"matrix": matrix})  # the first run builds the graph, in the calling thread
    for background in (True, False):
        before = thread_seconds()
        outputs = loaded.run("power", {"matrix": matrix}, background=background)
        spent = thread_seconds() - before
        np.testing.assert_array_equal(outputs["power"], matrix)
        low, normal = (spent[min(own + niceness, 19)] for niceness in (priority.NICENESS, 0))
        assert (low > 4 * normal) is background, spent
        assert low + normal > 0.1, spent
    loaded.close()


class Loop(tf.Module):
    """Counts in steps, so many that only a cancellation ends it."""

    def __init__(self):
        self.steps = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "last")])
    def count(self, last):
        return {"end": tf.while_loop(lambda step: step < last[0], lambda _: (self.steps.assign_add(1.0),), [0.0])[0]}

    @tf.function(input_signature=[])
    def read(self):
        return {"steps": self.steps.read_value()}


def test_servable_ends_a_cancelled_run_and_runs_again(tmp_path):
    module = Loop()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"count": module.count, "read": module.read})
    loaded = servable.Servable(tmp_path / "1")
    endless, cancellation = {"last": np.float32([1e9])}, servable.Cancellation()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(loaded.run, "count", endless, cancellation)
        while not loaded.run("read", {})["steps"]:
            assert not running.done()
            time.sleep(0)
        cancellation.cancel()
        with pytest.raises(status.RpcError) as raised:
            running.result(120)
    assert raised.value.code == grpc.StatusCode.CANCELLED
    steps = loaded.run("read", {})["steps"]
    assert loaded.run("count", {"last": np.float32([steps + 3])}) == {"end": steps + 3}
    with pytest.raises(status.RpcError):
        loaded.run("count", endless, cancellation)
    loaded.close()
