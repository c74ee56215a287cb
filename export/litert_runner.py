"""Runs what `python -m export --to tflite` wrote. Needs ai-edge-litert and numpy, nothing else: copy it where you like.

pipeline = Pipeline("models/phone", "dynamic")
for frame in pipeline.animate(picture, driving_frames):
    ...
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter

Arrays = dict[str, np.ndarray]


class Pipeline:
    """The stages of one variant, chained as `pipeline.json` says.

    Args:
      folder: what the export wrote.
      variant: one of the `variants` of its `pipeline.json`.
      threads: how many a stage computes with.

    Attributes:
      description: `pipeline.json`.

    Raises:
      ValueError: if there is no such variant.
      OSError: if a file is missing.
    """

    def __init__(self, folder: str | pathlib.Path, variant: str = "float32", threads: int | None = None) -> None:
        folder = pathlib.Path(folder)
        self.description = json.loads((folder / "pipeline.json").read_text())
        if variant not in self.description["variants"]:
            raise ValueError(f"variant is {variant!r}; {folder} has {', '.join(self.description['variants'])}.")
        self._stages = {}
        for name, file in self.description["variants"][variant].items():
            interpreter = Interpreter(str(folder / file), num_threads=threads)
            self._stages[name] = interpreter.get_signature_runner(name)

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """One stage.

        Args:
          name: of the stage.
          tensors: by name; those that the stage does not take are passed over.

        Returns:
          Its outputs by name, copies.
        """
        stage = self._stages[name]
        found = stage(**{key: tensors[key] for key in stage.get_input_details()})
        return {key: np.array(value) for key, value in found.items()}

    def encode_source(self, picture: np.ndarray) -> Arrays:
        """All that depends on the picture alone, `[H, W, 3]` uint8 or float in [0, 1].

        Raises:
          ValueError: if it is not such.
        """
        source = self._frame("the source", picture)
        found = self.run("detector", {"frame": source})
        return self.run("source_encoder", {"source": source}) | _prefixed("source_", found)

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
