"""Runs what `python -m export --to tflite` or `--to onnx` wrote: copy it where you like.

pipeline = Pipeline("models/phone", "dynamic")
for frame in pipeline.animate(picture, driving_frames):
    ...

Needs numpy and, for TFLite files, ai-edge-litert, for ONNX files onnxruntime; nothing else.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

Arrays = dict[str, np.ndarray]


class Pipeline:
    """The stages of one variant, chained as `pipeline.json` says.

    Args:
      folder: what the export wrote.
      variant: one of the `variants` of its `pipeline.json`.
      threads: how many a stage computes with; default, what the runtime thinks best.

    Attributes:
      description: `pipeline.json`.

    Raises:
      ValueError: if there is no such variant.
      OSError: if `pipeline.json` is missing.
    """

    def __init__(self, folder: str | pathlib.Path, variant: str = "float32", threads: int | None = None) -> None:
        folder = pathlib.Path(folder)
        self.description = json.loads((folder / "pipeline.json").read_text())
        if variant not in self.description["variants"]:
            raise ValueError(f"variant is {variant!r}; {folder} has {', '.join(self.description['variants'])}.")
        self._files = {name: folder / file for name, file in self.description["variants"][variant].items()}
        self._open = functools.cache(lambda name: _RUNTIMES[self._files[name].suffix](self._files[name], name, threads))

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """One stage.

        Args:
          name: of the stage.
          tensors: by name; those that the stage does not take are passed over.

        Returns:
          Its outputs by name.

        Raises:
          ValueError: if its file, opened the first time, is missing or is none.
        """
        inputs = self.description["stages"][name]["inputs"]
        return self._open(name)({key: tensors[key] for key in inputs})

    def encode_source(self, picture: np.ndarray) -> Arrays:
        """All that depends on the picture alone, `[H, W, 3]` uint8 or float in [0, 1].

        Raises:
          ValueError: if it is not such.
        """
        source = self._frame("the source", picture)
        found = self.run("detector", {"frame": source})
        encoded = self.run("source_encoder", {"source": source})
        # The warp stage of a model with blend_source takes the source itself.
        return {"source": source} | encoded | _prefixed("source_", found)

    def detect(self, frame: np.ndarray) -> Arrays:
        """The keypoints of a frame, `[H, W, 3]` uint8 or float in [0, 1].

        Raises:
          ValueError: if it is not such.
        """
        return self.run("detector", {"frame": self._frame("the driving frame", frame)})

    def render(
        self,
        encoded: Mapping[str, np.ndarray],
        driving: Mapping[str, np.ndarray],
        initial: Mapping[str, np.ndarray],
        relative: bool = True,
        adapt_scale: bool = False,
    ) -> np.ndarray:
        """One frame, `[H, W, 3]` float32 in [0, 1]."""
        state = dict(encoded) | _prefixed("driving_", driving) | _prefixed("initial_", initial)
        state |= {"relative": np.array([relative]), "adapt_scale": np.array([adapt_scale])}
        for name in ("motion", "warp", "renderer"):
            state |= self.run(name, state)
        return state["prediction"][0]

    def animate(
        self,
        picture: np.ndarray,
        driving_frames: Iterable[np.ndarray],
        relative: bool | None = None,
        adapt_scale: bool | None = None,
    ) -> Iterator[np.ndarray]:
        """Moves a picture as the frames do, one after the other.

        Args:
          picture: `[H, W, 3]` uint8 or float in [0, 1].
          driving_frames: likewise, each.
          relative: carry the motion from the first driving frame over; default, as that of the next, the run's.
          adapt_scale: scale relative motion by the sizes of the two objects.

        Yields:
          Frames `[H, W, 3]`, uint8 where the driving frame was, else float32 in [0, 1].

        Raises:
          ValueError: if a picture is not such.
        """
        defaults = self.description["animate"]
        relative = defaults["mode"] == "relative" if relative is None else relative
        adapt_scale = defaults["adapt_scale"] if adapt_scale is None else adapt_scale
        encoded, initial = self.encode_source(picture), None
        for frame in driving_frames:
            driving = self.detect(frame)
            initial = initial or driving
            made = self.render(encoded, driving, initial, relative, adapt_scale)
            yield np.rint(made * 255).astype(np.uint8) if np.asarray(frame).dtype == np.uint8 else made

    def _frame(self, name: str, frame: np.ndarray) -> np.ndarray:
        frame, size = np.asarray(frame), [*self.description["frame_size"], 3]
        if list(frame.shape) != size:
            raise ValueError(f"{name} must be {size}; got {list(frame.shape)}. Resize it.")
        if frame.dtype == np.uint8:
            return np.float32(frame)[np.newaxis] / np.float32(255)
        if frame.dtype.kind != "f" or not (frame.min() >= 0 and frame.max() <= 1):
            raise ValueError(f"{name} must be uint8, or float in [0, 1] without NaN; got {frame.dtype}.")
        return np.float32(frame)[np.newaxis]


def _prefixed(prefix: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _tflite(file: pathlib.Path, name: str, threads: int | None) -> Callable[[Arrays], Arrays]:
    from ai_edge_litert.interpreter import Interpreter

    stage = Interpreter(str(file), num_threads=threads).get_signature_runner(name)
    return lambda inputs: {key: np.array(value) for key, value in stage(**inputs).items()}


def _onnx(file: pathlib.Path, name: str, threads: int | None) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # The stages take turns on the same cores: threads that wait busily take them from each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    stage = onnxruntime.InferenceSession(str(file), options, onnxruntime.get_available_providers())
    names = [output.name for output in stage.get_outputs()]
    return lambda inputs: dict(zip(names, stage.run(names, inputs), strict=True))


_RUNTIMES = {".tflite": _tflite, ".onnx": _onnx}
