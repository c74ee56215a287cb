"""The versions of a model in a directory: the newest and the labeled ones are served, new ones are loaded."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import grpc

from fomm_tf.serving.local import status
from fomm_tf.serving.local.servable import Servable

Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)
_VERSION = re.compile("[0-9]{1,18}")  # fits into the protocols' 64 bits

# Path, size and modification time of each file in a version directory.
_Listing = frozenset[tuple[str, int, int]]


@dataclasses.dataclass
class _Version:
    """A version that was loaded, or failed to load."""

    state: str  # LOADING, AVAILABLE, UNLOADING or END, as in ModelService
    listing: _Listing  # its directory at the time of loading
    error: str = ""  # why it could not be loaded
    servable: Servable | None = None  # set while it is AVAILABLE or UNLOADING
    users: int = 0  # number of requests that use it


class VersionManager:
    """Watches a directory of versions, like TF-Serving's `latest` policy; belongs to one event loop.

    A new version is loaded when two scans in a row find its directory unchanged, while the old one is still served. A
    version that fails to load, such as a partial copy, is retried when its directory changes. A version that is
    neither the newest nor labeled is unloaded after its last request.

    Args:
      name: the model's name.
      directory: has the versions in subdirectories `1`, `2`, ...; other names are ignored.
      labels: label -> version, which stays loaded.
      num_threads: how many requests each version computes at once.
    """

    def __init__(self, name: str, directory: pathlib.Path, labels: Mapping[str, int], num_threads: int = 1) -> None:
        self.name, self._directory, self._labels = name, directory, dict(labels)
        self._num_threads, self._scanning = num_threads, asyncio.Lock()
        self._versions: dict[int, _Version] = {}
        self._previous_listings: dict[int, _Listing] = {}
        # One thread for all loading: malloc keeps memory per thread, and would keep some of each version.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="versions")

    async def load_initial(self) -> None:
        """Loads the newest version and the labeled ones.

        Raises:
          status.RpcError: if there is none, or one of them cannot be loaded.
        """
        listings = await self._run_in_thread(self._scan)
        if not listings:
            raise status.RpcError(
                grpc.StatusCode.NOT_FOUND,
                f"{self._directory} contains no version, a directory named 1, 2, ...; export one with: "
                f"fomm export --to saved_model --out {self._directory}",
            )
        for version in sorted(self._target_versions(listings)):
            try:
                await self._load_listed(version, listings)
            except status.RpcError as error:
                raise status.RpcError(error.code, f"{self._directory} {error.message}") from None
        self._previous_listings = listings

    async def watch(self, seconds: float) -> None:
        """Scans the directory every `seconds`, forever."""
        while True:
            await asyncio.sleep(seconds)
            async with self._scanning:
                await self._scan_once()

    async def reload(self, labels: Mapping[str, int]) -> None:
        """Replaces the labels, and loads their versions and the newest one.

        Raises:
          status.RpcError: if there is no such version, or it cannot be loaded; the labels stay as they are.
        """
        async with self._scanning:
            listings = await self._run_in_thread(self._scan)
            for version in sorted({*labels.values(), *([max(listings)] if listings else [])}):
                await self._load_listed(version, listings)
            self._labels = dict(labels)
            self._retire(listings)

    def is_directory(self, path: str) -> bool:
        """Whether this is the directory of versions."""
        return os.path.abspath(path) == os.path.abspath(self._directory)

    def is_ready(self) -> bool:
        """Whether a version is available."""
        return bool(self._available())

    @contextlib.contextmanager
    def lease(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """Yields a version, the newest if none is named, and keeps it loaded until the block ends.

        Raises:
          status.RpcError: with TF-Serving's codes, if there is no such version.
        """
        version = self.resolve(name, version, label)
        available = self._available()
        chosen = max(available, default=None) if version is None else version
        if name != self.name or chosen not in available:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise status.RpcError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")
        leased = self._versions[chosen]
        leased.users += 1
        try:
            yield leased.servable
        finally:
            leased.users -= 1
            self._unload_unused(chosen)

    def states(self, name: str, version: int | None = None, label: str | None = None) -> dict[int, tuple[str, str]]:
        """Returns version -> state and error, of one version or of all, the newest first.

        Raises:
          status.RpcError: with TF-Serving's codes, if there is no such version.
        """
        version = self.resolve(name, version, label)
        versions = self._versions if name == self.name else {}
        if version is not None and version not in versions:
            raise status.RpcError(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}")
        if not versions:
            raise status.RpcError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        numbers = sorted(versions, reverse=True) if version is None else [version]
        return {number: (versions[number].state, versions[number].error) for number in numbers}

    def resolve(self, name: str, version: int | None, label: str | None) -> int | None:
        """Returns the requested version number; None for the newest.

        Raises:
          status.RpcError: for an unknown label, or for a version and a label.
        """
        if label is None:
            return version
        if version is not None:
            raise status.RpcError(
                grpc.StatusCode.INVALID_ARGUMENT, "model_spec: got a version and a label; expected at most one of them."
            )
        if name != self.name or label not in self._labels:
            raise status.RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return self._labels[label]

    async def _scan_once(self) -> None:
        listings = await self._run_in_thread(self._scan)
        for version in sorted(self._target_versions(listings) & listings.keys()):
            listing, known = listings[version], self._versions.get(version)
            # A version that failed is not retried before its directory changes.
            settled = known and (known.servable or (known.error and known.listing == listing))
            if not settled and self._previous_listings.get(version) == listing:
                await self._load(version, listing)
        self._retire(listings)
        self._previous_listings = listings

    async def _load_listed(self, version: int, listings: Mapping[int, _Listing]) -> None:
        """Loads a version that must be there, unless it is loaded.

        Raises:
          status.RpcError: if there is no such version, or it cannot be loaded.
        """
        if version not in listings:
            raise status.RpcError(
                grpc.StatusCode.NOT_FOUND,
                f"contains no version {version}, which a label points at; "
                f"expected one of: {', '.join(map(str, sorted(listings)))}.",
            )
        if version not in self._available():
            await self._load(version, listings[version])
        if error := self._versions[version].error:
            raise status.RpcError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"contains version {version}, which cannot be loaded: {error}; copy or export it again.",
            )

    async def _run_in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Runs a function outside of the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _scan(self) -> dict[int, _Listing]:
        """Returns version -> contents of its directory."""
        listings = {}
        with contextlib.suppress(OSError):  # a directory that is being written or removed
            for directory in self._directory.iterdir():
                if _VERSION.fullmatch(directory.name) and (directory / "saved_model.pb").is_file():
                    files = [(file, file.stat()) for file in directory.rglob("*")]
                    listings[int(directory.name)] = frozenset(
                        (str(file), stat.st_size, stat.st_mtime_ns) for file, stat in files
                    )
        return listings

    def _available(self) -> list[int]:
        return [number for number, version in self._versions.items() if version.state == "AVAILABLE"]

    def _target_versions(self, listings: Mapping[int, _Listing]) -> set[int]:
        return {*self._labels.values(), *([max(listings)] if listings else [])}

    async def _load(self, version: int, listing: _Listing) -> None:
        loading = self._versions[version] = _Version("LOADING", listing)
        try:
            loading.servable = await self._run_in_thread(Servable, self._directory / str(version), self._num_threads)
            loading.state = "AVAILABLE"
            _LOG.info("%s version %d is loaded", self.name, version)
        except Exception as error:  # a damaged file can make TensorFlow raise anything
            loading.state = "END"
            message = str(error).strip().partition("\n")[0] or type(error).__name__
            loading.error = message.replace(f"{self._directory}{os.sep}", "")  # clients see it
            _LOG.warning("%s version %d cannot be loaded: %s", self.name, version, loading.error)
            gc.collect()

    def _retire(self, listings: Mapping[int, _Listing]) -> None:
        """Unloads versions that are neither the newest nor labeled."""
        available = self._available()
        newest = max((number for number in available if number in listings), default=max(available, default=None))
        for number in available:
            if number != newest and number not in self._labels.values():
                self._versions[number].state = "UNLOADING"
                self._unload_unused(number)

    def _unload_unused(self, version: int) -> None:
        unused = self._versions[version]
        if unused.state == "UNLOADING" and not unused.users:
            unused.servable.close()
            unused.state, unused.servable = "END", None
            # The graph's objects refer to each other: only the collector frees them.
            gc.collect()
            _LOG.info("%s version %d is unloaded", self.name, version)
