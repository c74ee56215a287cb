"""Versions in a folder: which are loaded, who may use them, and what remains of them."""

import asyncio
import shutil
import types
import weakref
from unittest import mock

import pytest

from serving.local import status, versions


@pytest.fixture
def folder(cold, tmp_path):
    shutil.copytree(cold / "1", tmp_path / "fomm" / "1")
    return tmp_path / "fomm"


class Looks:
    """Stands in for `asyncio.sleep` in `Versions.watch`: the next look comes when the test asks for it."""

    def __init__(self):
        self._wanted, self._over = asyncio.Event(), asyncio.Event()

    async def sleep(self, _):
        self._over.set()
        await self._wanted.wait()
        self._wanted.clear()

    async def look(self):
        """Returns when one look is over, with all that it makes the server do."""
        await self._over.wait()
        self._over.clear()
        self._wanted.set()
        await self._over.wait()


def run(scenario, folder, labels=()):
    async def main():
        held, looks = versions.Versions("fomm", folder, dict(labels)), Looks()
        await held.load_first()
        loop = types.SimpleNamespace(sleep=looks.sleep, get_running_loop=asyncio.get_running_loop)
        with mock.patch.object(versions, "asyncio", loop):
            watching = asyncio.create_task(held.watch(1.0))
            try:
                return await asyncio.wait_for(scenario(held, looks.look), 120)
            finally:
                watching.cancel()

    return asyncio.run(main())


def states(held):
    return {version: state for version, (state, _) in held.states("fomm").items()}


def add(folder, version):
    shutil.copytree(folder / "1", folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


@pytest.mark.slow
def test_an_unloaded_version_waits_for_its_last_request_and_leaves_nothing_behind(folder):
    async def scenario(held, look):
        with held.lease("fomm") as used:
            add(folder, 2)
            await look()
            assert states(held) == {1: "AVAILABLE"}, "it may still be copied"
            await look()
            assert states(held) == {2: "AVAILABLE", 1: "UNLOADING"}
            with held.lease("fomm") as newer:
                assert (used.version, newer.version) == (1, 2)
            answer = used.run("metadata", {"request": [b""]})
            assert b"puppets-128" in answer["metadata"][0]
            graph = weakref.ref(used._session.graph)
            del used
        assert states(held) == {2: "AVAILABLE", 1: "END"}
        return graph

    assert run(scenario, folder)() is None


@pytest.mark.slow
def test_a_labelled_version_stays(folder):
    add(folder, 2)

    async def scenario(held, look):
        add(folder, 3)
        await look()
        await look()
        assert states(held) == {3: "AVAILABLE", 2: "END", 1: "AVAILABLE"}
        with held.lease("fomm", label="stable") as stable, held.lease("fomm") as newest:
            return stable.version, newest.version, held.states("fomm", label="stable")

    assert run(scenario, folder, {"stable": 1}) == (1, 3, {1: ("AVAILABLE", "")})


@pytest.mark.parametrize(
    ("make", "labels", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "1"), {}, "holds no version, a folder named 1"),
        (lambda folder: (folder / "1").rename(folder / "one"), {}, "holds no version, a folder named 1"),
        (lambda folder: None, {"stable": 7}, "holds no version 7, which a label names"),
        (lambda folder: (folder / "1" / "saved_model.pb").write_bytes(b"?"), {}, "1 cannot be loaded"),
        (lambda folder: shutil.rmtree(folder / "1" / "variables"), {}, "1 cannot be loaded"),
    ],
    ids=["empty", "no number", "label of none", "damaged", "without variables"],
)
def test_a_server_does_not_start_without_a_model(folder, make, labels, said):
    make(folder)
    with pytest.raises(status.Refused, match=said):
        run(None, folder, labels)
