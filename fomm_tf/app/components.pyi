"""Components of Gradio for uploaded files, which are passed on as paths and never fetched from an address."""

from __future__ import annotations

import html
from collections.abc import Mapping

import gradio as gr
from gradio import data_classes

from fomm_tf.app import models

class _Upload:
    """A component whose value is the path of an uploaded file."""

    # Gradio then uses the page's code of the class that this one extends.
    is_template = True

    def preprocess(self, payload: data_classes.FileData | None) -> str | None:
        """Returns the path; the file is read by `fomm_tf.video`, whose errors are those of the command."""
        return None if payload is None else payload.path

    async def async_move_resource_to_block_cache(self, url_or_file_path: object) -> str | None:
        """Refuses addresses, which Gradio would download."""
        if "://" in str(url_or_file_path) or str(url_or_file_path).startswith("data:"):
            raise gr.Error("Upload a file; addresses are not fetched.", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

class ImageUpload(_Upload, gr.Image):
    """An image."""

    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class VideoUpload(_Upload, gr.Video):
    """A video, uploaded or recorded."""

    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class FileUpload(_Upload, gr.File):
    """A file of any kind."""

    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

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
