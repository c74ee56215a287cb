"""The versions of a model in a folder: the newest and the labelled are served, new ones loaded as they come."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from serving.local import status
from serving.local.servable import Servable

Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)

# What a look at a folder finds: each file's path, size and time of change.
_Listing = frozenset[tuple[str, int, int]]


@dataclasses.dataclass
class _Version:
    """One that was seen.

    Attributes:
      state: LOADING, AVAILABLE, UNLOADING or END, as ModelService tells it.
      listing: its folder as it was when it was loaded, or failed to.
      error: why it could not be loaded.
      servable: where it is AVAILABLE or UNLOADING.
      users: requests that hold it.
    """

    state: str
    listing: _Listing
    error: str = ""
    servable: Servable | None = None
    users: int = 0


class Versions:
    """Watches a folder of version folders, as TF-Serving's `latest` policy does; belongs to one event loop.

    A folder that is new is loaded once two looks in a row find it the same, beside those that are served; what fails,
    a half-copied one, is tried again when it has changed. What nobody asks for any more goes after its last request.

    Args:
      name: the model's.
      folder: `1`, `2`, ... in it are versions; other names are passed over.
      labels: name -> version, which stays loaded.
    """

    def __init__(self, name: str, folder: pathlib.Path, labels: Mapping[str, int]) -> None:
        self.name, self._folder, self._labels = name, folder, dict(labels)
        self._seen: dict[int, _Version] = {}
        self._before: dict[int, _Listing] = {}
        # Always the same thread: the C library keeps memory by thread, and would keep some of each version.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="versions")

    async def load_first(self) -> None:
        """Loads the newest version and those with labels.

        Raises:
          status.Refused: if there is none, or one of them cannot be loaded.
        """
        listings = await self._apart(self._look)
        if not listings:
            raise status.Refused(
                status.Code.NOT_FOUND,
                f"{self._folder} holds no version, a folder named 1, 2, ...; write one with: "
                f"python -m export --to saved_model --out {self._folder}",
            )
        for version in sorted(self._wanted(listings)):
            if version not in listings:
                raise status.Refused(
                    status.Code.NOT_FOUND, f"{self._folder} holds no version {version}, which a label names."
                )
            await self._load(version, listings[version])
            if error := self._seen[version].error:
                raise status.Refused(
                    status.Code.UNAVAILABLE,
                    f"{self._folder / str(version)} cannot be loaded: {error}; copy or export it anew.",
                )
        self._before = listings

    async def watch(self, seconds: float) -> None:
        """Looks every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            listings = await self._apart(self._look)
            for version in sorted(self._wanted(listings) & listings.keys()):
                listing, known = listings[version], self._seen.get(version)
                # A version that failed is not tried again before its folder has changed.
                settled = known and (known.servable or (known.error and known.listing == listing))
                if not settled and self._before.get(version) == listing:
                    await self._load(version, listing)
            self._retire(listings)
            self._before = listings

    @contextlib.contextmanager
    def lease(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """A version to use, which stays loaded meanwhile; without version and label the newest.

        Raises:
          status.Refused: with TF-Serving's codes, if there is none such.
        """
        version = self.resolve(name, version, label)
        available = self._available()
        chosen = max(available, default=None) if version is None else version
        if name != self.name or chosen not in available:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise status.Refused(status.Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        used = self._seen[chosen]
        used.users += 1
        try:
            yield used.servable
        finally:
            used.users -= 1
            self._unload_unused(chosen)

    def states(self, name: str, version: int | None = None, label: str | None = None) -> dict[int, tuple[str, str]]:
        """Version -> state and error, of one or of all, the newest first.

        Raises:
          status.Refused: with TF-Serving's codes, if there is none such.
        """
        version = self.resolve(name, version, label)
        seen = self._seen if name == self.name else {}
        if version is not None and version not in seen:
            raise status.Refused(status.Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        if not seen:
            raise status.Refused(status.Code.NOT_FOUND, f"Could not find any versions of model {name}")
        numbers = sorted(seen, reverse=True) if version is None else [version]
        return {number: (seen[number].state, seen[number].error) for number in numbers}

    def resolve(self, name: str, version: int | None, label: str | None) -> int | None:
        """The version that is meant; None for the newest.

        Raises:
          status.Refused: for an unknown label, or both.
        """
        if label is None:
            return version
        if version is not None:
            raise status.Refused(status.Code.INVALID_ARGUMENT, "Give a version or a label, not both.")
        if name != self.name or label not in self._labels:
            raise status.Refused(status.Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return self._labels[label]

    async def _apart(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Calls beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _look(self) -> dict[int, _Listing]:
        """Version -> what its folder holds."""
        found = {}
        with contextlib.suppress(OSError):  # a folder that is being written or removed
            for folder in self._folder.iterdir():
                if folder.name.isascii() and folder.name.isdecimal() and (folder / "saved_model.pb").is_file():
                    files = [(file, file.stat()) for file in folder.rglob("*")]
                    found[int(folder.name)] = frozenset(
                        (str(file), stat.st_size, stat.st_mtime_ns) for file, stat in files
                    )
        return found

    def _available(self) -> list[int]:
        return [number for number, seen in self._seen.items() if seen.state == "AVAILABLE"]

    def _wanted(self, listings: Mapping[int, _Listing]) -> set[int]:
        return {*self._labels.values(), *([max(listings)] if listings else [])}

    async def _load(self, version: int, listing: _Listing) -> None:
        loading = self._seen[version] = _Version("LOADING", listing)
        try:
            loading.servable = await self._apart(Servable, self._folder / str(version))
            loading.state = "AVAILABLE"
            _LOG.info("%s version %d is loaded", self.name, version)
        except Exception as error:  # whatever a damaged file makes TensorFlow raise
            loading.state = "END"
            loading.error = str(error).strip().partition("\n")[0] or type(error).__name__
            _LOG.warning("%s version %d cannot be loaded: %s", self.name, version, loading.error)
            gc.collect()

    def _retire(self, listings: Mapping[int, _Listing]) -> None:
        """Lets go of what neither is the newest nor has a label."""
        available = self._available()
        newest = max((number for number in available if number in listings), default=max(available, default=None))
        for number in available:
            if number != newest and number not in self._labels.values():
                self._seen[number].state = "UNLOADING"
                self._unload_unused(number)

    def _unload_unused(self, version: int) -> None:
        seen = self._seen[version]
        # A graph's parts refer to each other: it goes when they are collected.
        if seen.state == "UNLOADING" and not seen.users:
            seen.servable.close()
            seen.state, seen.servable = "END", None
            gc.collect()
            _LOG.info("%s version %d is unloaded", self.name, version)
