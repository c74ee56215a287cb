"""Versions in a folder: which are loaded, who may use them, and what remains of them."""

import asyncio
import shutil
import weakref

import pytest

from serving.local import status, versions


@pytest.fixture
def folder(cold, tmp_path):
    shutil.copytree(cold / "1", tmp_path / "fomm" / "1")
    return tmp_path / "fomm"


def run(scenario, folder, labels=()):
    async def main():
        held = versions.Versions("fomm", folder, dict(labels))
        await held.load_first()
        watching = asyncio.create_task(held.watch(0.05))
        try:
            return await asyncio.wait_for(scenario(held), 60)
        finally:
            watching.cancel()

    return asyncio.run(main())


async def until(held, version, state):
    while held.states("fomm").get(version, ("",))[0] != state:
        await asyncio.sleep(0.01)


def add(folder, version):
    shutil.copytree(folder / "1", folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


@pytest.mark.slow
def test_an_unloaded_version_waits_for_its_last_request_and_leaves_nothing_behind(folder):
    async def scenario(held):
        with held.lease("fomm") as used:
            add(folder, 2)
            await until(held, 2, "AVAILABLE")
            await until(held, 1, "UNLOADING")
            with held.lease("fomm") as newer:
                assert (used.version, newer.version) == (1, 2)
            answer = used.run("metadata", {"request": [b""]})
            assert b"puppets-128" in answer["metadata"][0]
            graph = weakref.ref(used._session.graph)
            del used
        await until(held, 1, "END")
        return graph

    assert run(scenario, folder)() is None


@pytest.mark.slow
def test_a_labelled_version_stays(folder):
    add(folder, 2)

    async def scenario(held):
        add(folder, 3)
        await until(held, 3, "AVAILABLE")
        await until(held, 2, "END")
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
