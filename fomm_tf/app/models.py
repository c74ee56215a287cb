"""The models that the page offers: found, described, and loaded once for all visitors."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fomm_tf import config, errors, fetch, model_folders
from fomm_tf.inference import animator, engines
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

# Loaded at once; a large one takes about 1 GB.
_MAX_LOADED = 2


class Entry(NamedTuple):
    """A model that can be chosen.

    Attributes:
      name: unique.
      path: its directory.
      origin: `bundled`, `installed` or `run`.
      frames: WIDTHxHEIGHT.
      trained_on: what it was trained on, in words.
    """

    name: str
    path: pathlib.Path
    origin: str
    frames: str
    trained_on: str


def find(chosen: str | None, runs: pathlib.Path) -> dict[str, Entry]:
    """Finds models by name: the chosen one first, then those that are bundled, installed, or in a directory of runs.

    Args:
      chosen: a model directory; None for the bundled model.
      runs: a directory of run directories, which may not exist.

    Raises:
      errors.UserError: if `chosen` is not a model directory.
    """
    default = pathlib.Path(chosen) if chosen else model_folders.BUNDLED
    bundled, installed = fetch.bundled(), fetch.installed()
    places = [(name, path, "bundled") for name, path in bundled.items()]
    for name in installed:
        with contextlib.suppress(errors.UserError):  # both forms of its weights have been deleted
            places.append((name, fetch.locate(name), "installed"))
    nested = [path.parent for pattern in ("*/config.yaml", "*/best/config.yaml") for path in runs.glob(pattern)]
    places += [(str(path), path, "run") for path in sorted(nested)]
    known = {path.absolute(): (name, path, origin) for name, path, origin in reversed(places)}
    first = known.get(default.absolute(), (str(default), default, "run"))
    entries = {first[0]: _describe(*first)}
    for place in places:
        if place[0] not in entries:
            try:
                entries[place[0]] = _describe(*place)
            except errors.UserError:  # a run directory without weights or with a damaged config
                continue
    return entries


def _describe(name: str, path: pathlib.Path, origin: str) -> Entry:
    settings = model_folders.read(path).config
    height, width = settings.model.frame_size
    released = fetch.table().get(name)
    return Entry(name, path, origin, f"{width}x{height}", released.animates if released else _read_provenance(path))


def _read_provenance(path: pathlib.Path) -> str:
    """The first paragraph of README.txt."""
    file = path / "README.txt"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return " ".join(text.strip().partition("\n\n")[0].split()) or "unknown"


class SharedEngine(engines.Engine):
    """An engine that several threads use, one call at a time.

    Args:
      engine: the engine.
    """

    def __init__(self, engine: engines.Engine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self.name, self.precision, self.has_details = engine.name, engine.precision, engine.has_details

    def detect(self, frames: np.ndarray) -> Keypoints:
        with self._lock:
            return self._engine.detect(frames)

    def encode_source(self, image: np.ndarray) -> EncodedSource:
        with self._lock:
            return self._engine.encode_source(image)

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        with self._lock:
            return self._engine.render(source, keypoints, details)

    def weights_sha256(self) -> str:
        return self._engine.weights_sha256()

    def device(self) -> str:
        return self._engine.device()


class Loaded(NamedTuple):
    """A loaded model.

    Attributes:
      engine: runs it.
      config: the whole config.
    """

    engine: engines.Engine
    config: config.Config

    def animator(self) -> animator.Animator:
        """The model as an animator."""
        return animator.Animator(self.engine, self.config)


class ModelPool:
    """Finds models, and keeps those loaded that were used last.

    Args:
      chosen: see `find`.
      runs: see `find`.
      load: loads a model directory: an `Animator`.
    """

    def __init__(
        self, chosen: str | None, runs: pathlib.Path, load: Callable[[pathlib.Path], animator.Animator]
    ) -> None:
        self._chosen, self._runs, self._load = chosen, runs, load
        self._loaded: collections.OrderedDict[str, Loaded] = collections.OrderedDict()
        self._lock = threading.Lock()
        self.entries = find(chosen, runs)

    @property
    def default(self) -> str:
        """The name of the chosen model."""
        return next(iter(self.entries))

    def refresh(self) -> dict[str, Entry]:
        """Finds models again."""
        self.entries = find(self._chosen, self._runs)
        return self.entries

    def get(self, name: str) -> Loaded:
        """Returns a model, loaded.

        Raises:
          errors.UserError: if there is no such model, or it cannot be loaded.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise errors.UserError(f"There is no model {name!r}; expected one of {', '.join(self.entries)}.")
        with self._lock:
            if name not in self._loaded:
                model = self._load(entry.path)
                self._loaded[name] = Loaded(SharedEngine(model.engine), model.config)
            self._loaded.move_to_end(name)
            while len(self._loaded) > _MAX_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[name]
