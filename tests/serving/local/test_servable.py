"""A loaded version runs its warm-up requests before it answers others."""

import counter_model
import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from fomm_tf.serving.local import servable, status


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
