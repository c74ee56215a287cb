"""Which models the page offers, and how visitors share them."""

import concurrent.futures
import pathlib

import disc_engine
import numpy as np
import pytest

from fomm_tf import config, errors, model_folders
from fomm_tf.app import models


@pytest.fixture
def runs(tmp_path):
    for name, text in (("one", "Clips of cats.\n\nMore."), ("two/best", None)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text(config.dump(config.Config()))
        if text:
            (tmp_path / name / "README.txt").write_text(text)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("no: config")
    return tmp_path


def test_find_starts_with_the_bundled_model(runs):
    entries = models.find(None, runs)
    first = next(iter(entries.values()))
    assert first.path == model_folders.BUNDLED and first.origin == "bundled" and first.trained_on != "unknown"


def test_find_lists_runs_with_what_they_were_trained_on(runs):
    entries = models.find(None, runs)
    found = {name: entry.trained_on for name, entry in entries.items() if entry.origin == "run"}
    assert found == {str(runs / "one"): "Clips of cats.", str(runs / "two" / "best"): "unknown"}
    assert entries[str(runs / "one")].frames == "256x256"


def test_find_starts_with_the_chosen_run_once(runs):
    entries = models.find(str(runs / "one"), runs)
    assert next(iter(entries)) == str(runs / "one")
    assert len({entry.path for entry in entries.values()}) == len(entries)


def test_find_reports_a_chosen_directory_that_is_no_model(tmp_path):
    with pytest.raises(errors.UserError, match="is not a run directory"):
        models.find(str(tmp_path / "missing"), tmp_path)


def test_pool_loads_once_and_keeps_the_last_ones(runs):
    loaded = []

    def load(path):
        loaded.append(path)
        return disc_engine.load()

    pool = models.ModelPool(None, runs, load)
    names = [pool.default, str(runs / "one"), str(runs / "two" / "best")]
    assert pool.get(names[0]) is pool.get(names[0])
    for name in (*names, names[2]):
        pool.get(name)
    assert len(loaded) == 3
    pool.get(names[0])
    assert len(loaded) == 4, "the model that was used least recently was kept"


def test_pool_names_the_models_it_has():
    pool = models.ModelPool(None, pathlib.Path("missing"), lambda path: disc_engine.load())
    with pytest.raises(errors.UserError, match=f"no model 'x'; expected one of {pool.default}"):
        pool.get("x")


def test_pool_finds_new_runs_when_it_is_asked(runs):
    pool = models.ModelPool(None, runs, lambda path: disc_engine.load())
    (runs / "one" / "best").mkdir()
    (runs / "one" / "best" / "config.yaml").write_text(config.dump(config.Config()))
    assert str(runs / "one" / "best") not in pool.entries
    assert str(runs / "one" / "best") in pool.refresh()


def test_shared_engine_runs_one_call_at_a_time():
    engine = disc_engine.DiscEngine()
    shared = models.SharedEngine(engine)
    source = shared.encode_source(np.zeros([1, 64, 64, 3], np.float32))
    engine.may_render.clear()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(shared.render, source, source.keypoints) for _ in range(4)]
        engine.may_render.set()
        for call in calls:
            call.result()
    assert (engine.calls, engine.most_threads) == (4, 1)


def test_find_lists_installed_models_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "mine" / "float32"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(config.Config()))
    entry = models.find(None, tmp_path / "runs")["mine"]
    assert (entry.path, entry.origin) == (folder, "installed")
