"""Runs files that `fomm export --to tflite` or `--to onnx` wrote; works without this project.

pipeline = Pipeline("models/phone", "dynamic")
for frame in pipeline.animate(source, driving_frames):
    ...

Requires numpy, and ai-edge-litert for TFLite files or onnxruntime for ONNX files; nothing else.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

Arrays = dict[str, np.ndarray]


class Pipeline:
    """The stages of one variant, chained as `pipeline.json` describes.

    Args:
      folder: the output directory of the export.
      variant: one of the `variants` in `pipeline.json`.
      threads: CPU threads per stage; None leaves the number to the runtime.

    Attributes:
      description: the contents of `pipeline.json`.

    Raises:
      ValueError: if there is no such variant.
      OSError: if `pipeline.json` is missing.
    """

    def __init__(self, folder: str | pathlib.Path, variant: str = "float32", threads: int | None = None) -> None:
        folder = pathlib.Path(folder)
        self.description = json.loads((folder / "pipeline.json").read_text())
        if variant not in self.description["variants"]:
            variants = ", ".join(self.description["variants"])
            raise ValueError(f"variant: got {variant!r}; expected one of {variants} in {folder}.")
        self._files = {name: folder / file for name, file in self.description["variants"][variant].items()}
        self._open = functools.cache(lambda name: _RUNTIMES[self._files[name].suffix](self._files[name], name, threads))

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """Runs one stage.

        Args:
          name: of the stage.
          tensors: by name; tensors that are not inputs of the stage are ignored.

        Returns:
          The outputs by name.

        Raises:
          ValueError: on the first call, if the file of the stage is missing or cannot be read.
        """
        inputs = self.description["stages"][name]["inputs"]
        return self._open(name)({key: tensors[key] for key in inputs})

    def encode_source(self, source: np.ndarray) -> Arrays:
        """Computes everything that depends on the source image only, once for any number of driving frames.

        Args:
          source: `[H, W, 3]` uint8, or float in [0, 1].

        Returns:
          Features, keypoints and the downsampled image, for `render`.

        Raises:
          ValueError: if shape, dtype or range differ.
        """
        image = self._image("source", source)
        keypoints = self.run("detector", {"frame": image})
        encoded = self.run("source_encoder", {"source": image})
        # The warp stage of a model with `blend_source` takes the source image itself.
        return {"source": image} | encoded | _prefixed("source_", keypoints)

    def detect(self, frame: np.ndarray) -> Arrays:
        """Detects the keypoints of a frame, `[H, W, 3]` uint8 or float in [0, 1].

        Raises:
          ValueError: if shape, dtype or range differ.
        """
        return self.run("detector", {"frame": self._image("driving frame", frame)})

    def render(
        self,
        encoded: Mapping[str, np.ndarray],
        driving: Mapping[str, np.ndarray],
        initial: Mapping[str, np.ndarray],
        relative: bool = True,
        adapt_scale: bool = False,
    ) -> np.ndarray:
        """Renders one frame, `[H, W, 3]` float32 in [0, 1].

        Args:
          encoded: from `encode_source`.
          driving: keypoints of the driving frame, from `detect`.
          initial: keypoints of the first driving frame.
          relative: transfer the motion since the first driving frame; else take the driving keypoints as they are.
          adapt_scale: scale relative motion by the sizes of the two objects.
        """
        state = dict(encoded) | _prefixed("driving_", driving) | _prefixed("initial_", initial)
        dtype = self.description["stages"]["motion"]["inputs"]["relative"]["dtype"]
        state |= {"relative": np.array([relative], dtype), "adapt_scale": np.array([adapt_scale], dtype)}
        for name in ("motion", "warp", "renderer"):
            state |= self.run(name, state)
        return state["prediction"][0]

    def animate(
        self,
        source: np.ndarray,
        driving_frames: Iterable[np.ndarray],
        relative: bool | None = None,
        adapt_scale: bool | None = None,
    ) -> Iterator[np.ndarray]:
        """Animates a source image with the motion of driving frames.

        Args:
          source: `[H, W, 3]` uint8, or float in [0, 1].
          driving_frames: each of the same shape and range.
          relative: as in `render`; None takes the value from `pipeline.json`.
          adapt_scale: as in `render`; None takes the value from `pipeline.json`.

        Yields:
          One frame `[H, W, 3]` per driving frame: uint8 if the driving frame is uint8, else float32 in [0, 1].

        Raises:
          ValueError: if shape, dtype or range of an image differ.
        """
        defaults = self.description["animate"]
        relative = defaults["mode"] == "relative" if relative is None else relative
        adapt_scale = defaults["adapt_scale"] if adapt_scale is None else adapt_scale
        encoded, initial = self.encode_source(source), None
        for frame in driving_frames:
            driving = self.detect(frame)
            initial = initial or driving
            image = self.render(encoded, driving, initial, relative, adapt_scale)
            yield np.rint(image * 255).astype(np.uint8) if np.asarray(frame).dtype == np.uint8 else image

    def _image(self, name: str, image: np.ndarray) -> np.ndarray:
        image, shape = np.asarray(image), [*self.description["frame_size"], 3]
        if list(image.shape) != shape:
            raise ValueError(f"{name}: got shape {list(image.shape)}; expected {shape}; resize it.")
        if image.dtype == np.uint8:
            return np.float32(image)[np.newaxis] / np.float32(255)
        if image.dtype.kind != "f" or not (image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"{name}: got {image.dtype}; expected uint8, or float in [0, 1] without NaN.")
        return np.float32(image)[np.newaxis]


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
    # The stages take turns on the same cores: spinning threads of one stage would slow the next one down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    stage = onnxruntime.InferenceSession(str(file), options, onnxruntime.get_available_providers())
    names = [output.name for output in stage.get_outputs()]
    return lambda inputs: dict(zip(names, stage.run(names, inputs), strict=True))


_RUNTIMES = {".tflite": _tflite, ".onnx": _onnx}
