"""Components of Gradio for uploaded files, which are passed on as paths and never fetched from an address."""

from __future__ import annotations

import html
import pathlib
from collections.abc import Mapping, Sequence

import gradio as gr
from gradio import data_classes

from fomm_tf.app import models


def image_upload(**arguments: object) -> gr.Image:
    """An image whose value is a path."""
    return _pass_path(gr.Image(**arguments))


def video_upload(**arguments: object) -> gr.Video:
    """A video, uploaded or recorded, whose value is a path."""
    return _pass_path(gr.Video(**arguments))


def file_upload(**arguments: object) -> gr.File:
    """A file of any kind whose value is a path."""
    return _pass_path(gr.File(**arguments))


def examples(
    rows: Sequence[Sequence[pathlib.Path]], targets: Sequence[gr.components.Component], elem_id: str
) -> gr.Dataset:
    """A table of example files; a click on a row uses its files.

    `gradio.Examples` would replace the components by others of the same kind, which do not pass on paths.
    """
    names = [[str(path) for path in row] for row in rows]
    table = gr.Dataset(components=list(targets), samples=names, type="index", label="Examples", elem_id=elem_id)

    def choose(index: int) -> list[str] | str:
        return names[index] if len(targets) > 1 else names[index][0]

    table.click(choose, table, list(targets), queue=False, api_visibility="private")
    return table


def _pass_path(component: gr.components.Component) -> gr.components.Component:
    """Replaces methods of one component: for a subclass, Gradio would write a file beside its source."""

    def preprocess(payload: data_classes.FileData | None) -> str | None:
        """The file is read by `fomm_tf.video`, whose errors are those of the command."""
        return None if payload is None else payload.path

    move = component.async_move_resource_to_block_cache

    async def refuse_address(place: object) -> str | None:
        """Gradio would download from an address."""
        if "://" in str(place) or str(place).startswith("data:"):
            raise gr.Error("Upload a file; addresses are not fetched.", print_exception=False)
        return await move(place)

    component.preprocess = preprocess
    component.async_move_resource_to_block_cache = refuse_address
    return component


def show_error(line: str) -> str:
    """A line that says what is wrong, for screen readers too."""
    return f'<p class="fomm-error" role="alert">{html.escape(line)}</p>'


def show_status(line: str, done: float | None = None, notes: tuple[str, ...] | list[str] = ()) -> str:
    """A line about what happens.

    Args:
      line: the text.
      done: share of the work that is done, for a progress bar; None without one, -1 if it is not known.
      notes: further lines.
    """
    bar = ""
    if done is not None:
        value = f' value="{min(done, 1):.3f}"' if done >= 0 else ""
        bar = f'<progress max="1"{value} aria-label="progress"></progress>'
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<div role="status">{bar}<p>{html.escape(line)}</p>{f"<ul>{items}</ul>" if items else ""}</div>'


def show_models(entries: Mapping[str, models.Entry]) -> str:
    """A table of models."""
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(entry.name)}</th><td>{entry.origin}</td><td>{entry.frames}</td>"
        f"<td>{html.escape(entry.trained_on)}</td></tr>"
        for entry in entries.values()
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Model", "Kind", "Frames", "Trained on"))
    return f"<table class='fomm-models'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
