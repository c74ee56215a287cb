"""The tab Models without a browser: what its button Convert answers."""

import asyncio
import types

import disc_engine
import gradio as gr
import pytest

from fomm_tf import errors, presets
from fomm_tf.app import jobs, models, models_tab


@pytest.fixture
def convert(tmp_path):
    """Clicks the button with a path and a name; returns the texts of the status, and whether the lists are updated."""
    queue = jobs.JobQueue(tmp_path, 1)
    pool = models.ModelPool(None, tmp_path / "runs", lambda path: disc_engine.load())
    site = types.SimpleNamespace(models=pool, may_convert=True, jobs=queue)
    with gr.Blocks() as blocks:
        models_tab.build(site, gr.Dropdown())
    (add,) = (each.fn for each in blocks.fns.values() if each.name == "add")

    async def click(path, name):
        request = types.SimpleNamespace(session_hash="a")
        answers = [answer async for answer in add(path, name, models_tab._INFER, request)]
        return [answer[0] for answer in answers], isinstance(answers[-1][1], str)

    yield lambda path, name: asyncio.run(click(path, name))
    queue.close()


@pytest.mark.parametrize(("path", "name"), [(None, "mine"), ("a.pth.tar", ""), (None, None)])
def test_convert_asks_for_a_file_and_a_name(convert, path, name):
    (text,), is_updated = convert(path, name)
    assert "Choose a file and a name first." in text and not is_updated


def test_convert_adds_the_model(convert, monkeypatch):
    added = []
    monkeypatch.setattr(presets, "add", lambda *arguments: added.append(arguments))
    texts, is_updated = convert("a.pth.tar", "mine")
    assert "Converting..." in texts[0] and "mine: done; it can be chosen above." in texts[-1] and is_updated
    assert added == [("mine", "a.pth.tar", None)]


def test_convert_shows_why_it_failed(convert, monkeypatch):
    def fail(*_):
        raise errors.UserError("a.pth.tar is not a checkpoint.")

    monkeypatch.setattr(presets, "add", fail)
    monkeypatch.setattr(models_tab, "_POLL_SECONDS", 0.001)
    texts, is_updated = convert("a.pth.tar", "mine")
    assert "a.pth.tar is not a checkpoint." in texts[-1] and not is_updated
