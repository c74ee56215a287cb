"""One loaded version of a model, whose runs can be cancelled."""

from __future__ import annotations

import contextlib
import pathlib
import queue
import re
import threading
from collections.abc import Mapping

import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from fomm_tf.serving.local import inputs as declared
from fomm_tf.serving.local import priority, status
from fomm_tf.serving.local.inputs import DEFAULT_SIGNATURE, Arrays

_WARMUP = "assets.extra/tf_serving_warmup_requests"
# TensorFlow keeps threads apart for such runs, between operations and within them; see `_start_background_threads`.
_BACKGROUND = config_pb2.RunOptions(experimental=config_pb2.RunOptions.Experimental(use_run_handler_pool=True))
_SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})")


class Servable:
    """A SavedModel in a session, as in TF-Serving; runs its warm-up requests when it is loaded.

    A model loaded as Python functions would leave its graph in memory after it is unloaded.

    Args:
      directory: the version's directory, whose name is the version number.
      num_threads: how many runs there may be at once.

    Attributes:
      version: its number.
      definitions: its signatures, as GetModelMetadata returns them.
      inputs: signature -> input -> dtype and shape.

    Raises:
      OSError, ValueError, RuntimeError, tf.errors.OpError: if it cannot be loaded.
      status.RpcError: if it is incomplete, or a warm-up request fails.
    """

    def __init__(self, directory: pathlib.Path, num_threads: int = 1) -> None:
        self.version = int(directory.name)
        _check_complete(directory)
        graph, options = tf.Graph(), tf.compat.v1.ConfigProto()
        # One executor for all functions, which reports the first error and not those that follow from it.
        options.graph_options.optimizer_options.do_function_inlining = True
        self._session = tf.compat.v1.Session(graph=graph, config=options)
        with graph.as_default():
            _start_background_threads(self._session)
            stored = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(directory))
            self._signatures = {
                name: _Signature(definition, self._session, num_threads)
                for name, definition in stored.signature_def.items()
                if definition.method_name == tf.saved_model.PREDICT_METHOD_NAME
            }
        self.definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=stored.signature_def)
        self.inputs = {name: signature.inputs for name, signature in self._signatures.items()}
        for request in _warmup_requests(directory / _WARMUP):
            self.run(
                request.model_spec.signature_name or DEFAULT_SIGNATURE,
                {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
            )

    def outputs(self, signature: str) -> Mapping[str, declared.Spec]:
        """Returns a signature's outputs."""
        return self._signatures[signature].outputs

    def run(
        self,
        signature: str,
        inputs: Mapping[str, object],
        cancellation: Cancellation | None = None,
        background: bool = False,
    ) -> Arrays:
        """Runs a signature; thread-safe.

        Args:
          signature: its name.
          inputs: checked arrays.
          cancellation: by which another thread can end the run.
          background: whether to compute it in threads of low priority.

        Raises:
          status.RpcError: with the code of TensorFlow's error; CANCELLED.
        """
        function = self._signatures[signature]
        slot = function.slots.get()
        cancellation = cancellation or Cancellation()
        try:
            with cancellation.covers(slot):
                arguments = (inputs[name] for name in function.inputs)
                outputs = slot.run(*arguments, options=_BACKGROUND if background else None)
        except tf.errors.OpError as error:
            raise status.from_tensorflow(error) from error
        finally:
            function.slots.put(slot)
        return dict(zip(function.outputs, outputs, strict=False))

    def close(self) -> None:
        """Frees its memory; no call may be running."""
        self._session.close()


class Cancellation:
    """Ends a run from another thread, at the next iteration of one of the graph's loops.

    TensorFlow computes what is not in a loop to its end. Exported models decode images and compute the examples of a
    batch in loops.
    """

    def __init__(self) -> None:
        self._lock, self._slot, self._is_cancelled = threading.Lock(), None, False

    def cancel(self) -> None:
        """Ends the run, now or as soon as it starts."""
        with self._lock:
            self._is_cancelled = True
            if self._slot:
                self._slot.cancel()

    @contextlib.contextmanager
    def covers(self, slot: _Slot) -> object:
        """The block is the run."""
        with self._lock:
            if self._is_cancelled:
                raise status.cancelled()
            self._slot = slot
        try:
            yield
        except tf.errors.OpError:
            if self._is_cancelled:
                raise status.cancelled() from None
            raise
        finally:
            with self._lock:
                self._slot = None
                if self._is_cancelled:
                    slot.reset()


class _Signature:
    """A signature's inputs and outputs, and its function, once for each concurrent run."""

    def __init__(self, definition: meta_graph_pb2.SignatureDef, session: tf.compat.v1.Session, count: int) -> None:
        self.inputs, self.outputs = (
            {
                name: declared.Spec(tf.dtypes.as_dtype(info.dtype).name, _shape(info.tensor_shape))
                for name, info in sorted(tensors.items())
            }
            for tensors in (definition.inputs, definition.outputs)
        )
        fetches = [definition.outputs[name].name for name in self.outputs]
        feeds = [definition.inputs[name].name for name in self.inputs]
        self.slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for _ in range(count):
            self.slots.put(_Slot(session, fetches, feeds))


class _Slot:
    """One run at a time that can be cancelled, which a session's own runs cannot.

    A queue receives `False` when the outputs are computed. The run also waits for a value from that queue; `True` makes
    it fail, and with it the loops that have not ended.
    """

    def __init__(self, session: tf.compat.v1.Session, fetches: list[str], feeds: list[str]) -> None:
        with tf.device("/cpu:0"):
            # A control dependency on a function's output waits for the function's side effects alone.
            outputs = [tf.identity(session.graph.get_tensor_by_name(name)) for name in fetches]
            signals = tf.queue.FIFOQueue(2, [tf.bool], [[]])
            with tf.control_dependencies(outputs):
                finish = signals.enqueue(False)
            check = tf.raw_ops.Assert(condition=tf.logical_not(signals.dequeue()), data=["cancelled"])
            self._enqueue, self._drain = signals.enqueue(True), signals.dequeue_many(signals.size())
        self._session = session
        self.run = session.make_callable([*outputs, finish, check], feeds)

    def cancel(self) -> None:
        """Makes the current run fail."""
        self._session.run(self._enqueue)

    def reset(self) -> None:
        """Forgets a cancellation, which may have come too late."""
        self._session.run(self._drain)


def _start_background_threads(session: tf.compat.v1.Session) -> None:
    """Starts the threads of runs in the background, once in a process: by the first such run, whose priority they have.

    That run is in a thread of its own. A thread of low priority that calls TensorFlow, instead of being called by it,
    would keep the interpreter's lock from others while it waits for the processor.
    """
    nothing = tf.no_op()

    def start() -> None:
        priority.lower()
        session.run(nothing, options=_BACKGROUND)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()


def _shape(shape: tensor_shape_pb2.TensorShapeProto) -> tuple[int | None, ...]:
    return () if shape.unknown_rank else tuple(tf.TensorShape(shape).as_list())


def _check_complete(directory: pathlib.Path) -> None:
    """Reports a copy that is not complete, before TensorFlow finds the first part that it cannot read."""
    names = {path.name for path in (directory / "variables").glob("variables.*")}
    counts = {int(found[1]) for name in names if (found := _SHARD.fullmatch(name))} or {1}
    expected = {
        "variables.index",
        *(f"variables.data-{number:05d}-of-{max(counts):05d}" for number in range(max(counts))),
    }
    if missing := sorted(expected - names):
        raise status.unavailable(f"the copy is incomplete: variables/{missing[0]} is missing")


def _warmup_requests(path: pathlib.Path) -> list:
    if not path.is_file():
        return []
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
