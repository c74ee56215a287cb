"""Versions in a directory: which are loaded, leased and unloaded."""

import asyncio
import shutil
import types
import weakref
from unittest import mock

import counter_model
import grpc
import pytest

from fomm_tf.serving.local import status, versions


@pytest.fixture
def directory(tmp_path):
    counter_model.write(tmp_path / "fomm" / "1")
    return tmp_path / "fomm"


class Scans:
    """Replaces `asyncio.sleep` in `VersionManager.watch`: the test triggers each scan."""

    def __init__(self):
        self._requested, self._finished = asyncio.Event(), asyncio.Event()

    async def sleep(self, _):
        self._finished.set()
        await self._requested.wait()
        self._requested.clear()

    async def scan(self):
        """Returns when one scan is finished, with the loading and unloading that it starts."""
        await self._finished.wait()
        self._finished.clear()
        self._requested.set()
        await self._finished.wait()


def run(scenario, directory, labels=()):
    async def main():
        manager, scans = versions.VersionManager("fomm", directory, dict(labels)), Scans()
        await manager.load_initial()
        loop = types.SimpleNamespace(sleep=scans.sleep, get_running_loop=asyncio.get_running_loop)
        with mock.patch.object(versions, "asyncio", loop):
            watcher = asyncio.create_task(manager.watch(1.0))
            try:
                return await asyncio.wait_for(scenario(manager, scans.scan), 120)
            finally:
                watcher.cancel()

    return asyncio.run(main())


def states(manager):
    return {version: state for version, (state, _) in manager.states("fomm").items()}


def add(directory, version):
    shutil.copytree(directory / "1", directory / f".{version}")
    (directory / f".{version}").rename(directory / str(version))


def test_version_is_unloaded_after_its_last_lease_and_freed(directory):
    async def scenario(manager, scan):
        with manager.lease("fomm") as leased:
            add(directory, 2)
            await scan()
            assert states(manager) == {1: "AVAILABLE"}, "it may be a partial copy"
            await scan()
            assert states(manager) == {2: "AVAILABLE", 1: "UNLOADING"}
            with manager.lease("fomm") as newer:
                assert (leased.version, newer.version) == (1, 2)
            assert leased.run("add", {"number": [3.0]}) == {"total": 3.0}
            graph = weakref.ref(leased._session.graph)
            del leased
        assert states(manager) == {2: "AVAILABLE", 1: "END"}
        return graph

    assert run(scenario, directory)() is None


def test_labeled_version_stays_loaded(directory):
    add(directory, 2)

    async def scenario(manager, scan):
        add(directory, 3)
        await scan()
        await scan()
        assert states(manager) == {3: "AVAILABLE", 2: "END", 1: "AVAILABLE"}
        with manager.lease("fomm", label="stable") as stable, manager.lease("fomm") as newest:
            return stable.version, newest.version, manager.states("fomm", label="stable")

    assert run(scenario, directory, {"stable": 1}) == (1, 3, {1: ("AVAILABLE", "")})


def test_resolve_takes_a_version_or_a_label_of_its_model(directory):
    async def scenario(manager, scan):
        for name, version, label, message in (
            ("fomm", 1, "stable", "got a version and a label; expected at most one of them"),
            ("fomm", None, "canary", "Unrecognized servable version label: canary"),
            ("other", None, "stable", "Unrecognized servable version label: stable"),
        ):
            with pytest.raises(status.RpcError, match=message) as raised:
                manager.resolve(name, version, label)
            assert raised.value.code == grpc.StatusCode.INVALID_ARGUMENT
        return [manager.resolve("fomm", *key) for key in ((None, None), (7, None), (None, "stable"))]

    assert run(scenario, directory, {"stable": 1}) == [None, 7, 1]


def test_load_initial_rejects_a_label_of_a_damaged_version(directory):
    add(directory, 2)
    (directory / "1" / "saved_model.pb").write_bytes(b"?")
    with pytest.raises(status.RpcError, match="contains version 1, which cannot be loaded: ") as raised:
        run(None, directory, {"stable": 1})
    assert raised.value.code == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("change", "labels", "message"),
    [
        (lambda directory: shutil.rmtree(directory / "1"), {}, "contains no version, a directory named 1"),
        (lambda directory: (directory / "1").rename(directory / "one"), {}, "contains no version, a directory named 1"),
        (lambda directory: None, {"stable": 7}, "contains no version 7, which a label points at"),
        (lambda directory: (directory / "1" / "saved_model.pb").write_bytes(b"?"), {}, "1, which cannot be loaded"),
        (
            lambda directory: shutil.rmtree(directory / "1" / "variables"),
            {},
            "1, which cannot be loaded: the copy is incomplete",
        ),
    ],
    ids=["empty", "no number", "label of a missing version", "damaged", "without variables"],
)
def test_load_initial_rejects_a_directory_without_a_model(directory, change, labels, message):
    change(directory)
    with pytest.raises(status.RpcError, match=message):
        run(None, directory, labels)
