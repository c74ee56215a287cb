"""The tab Models: which models there are, what each was trained on, and uploaded checkpoints converted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import gradio as gr

from fomm_tf import config, errors
from fomm_tf.app import components, jobs

if TYPE_CHECKING:
    from fomm_tf.app.site import Site

_INFER = "infer from the file"
_POLL_SECONDS = 0.5


def build(site: Site, model: gr.Dropdown) -> None:
    """Builds the tab.

    Args:
      site: what the page shares.
      model: the chosen model; new ones are added to its choices.
    """
    table = gr.HTML(components.show_models(site.models.entries), elem_id="models")
    refresh = gr.Button("Search again", elem_id="models-refresh")
    if site.may_convert:
        with gr.Accordion("Convert a checkpoint", open=False), gr.Row(equal_height=False):
            with gr.Column():
                upload = components.file_upload(label="Checkpoint of the PyTorch reference", elem_id="checkpoint")
            with gr.Column():
                name = gr.Textbox(label="Name of the model", max_lines=1, elem_id="model-name")
                recipes = [_INFER, *sorted(config.recipes())]
                recipe = gr.Dropdown(recipes, value=_INFER, label="Config")
                convert = gr.Button("Convert", variant="primary", elem_id="convert")
                status = gr.HTML(elem_id="convert-status")
        gr.Markdown("Nothing in a checkpoint is executed. The model is added to those that `fomm models` lists.")

    def search() -> tuple:
        entries = site.models.refresh()
        return components.show_models(entries), gr.update(choices=list(entries))

    refresh.click(search, outputs=[table, model], queue=False, api_visibility="private")
    if not site.may_convert:
        return

    async def add(path, chosen, recipe_name, request: gr.Request):
        def run(job: jobs.Job) -> None:
            from fomm_tf import presets  # loads TensorFlow

            presets.add(chosen, path, None if recipe_name == _INFER else recipe_name)

        unchanged = gr.skip(), gr.skip()
        try:
            if not (path and chosen):
                raise errors.UserError("Choose a file and a name first.")
            job = site.jobs.submit(request.session_hash, "conversion", run)
        except errors.UserError as error:
            yield components.show_error(str(error)), *unchanged
            return
        try:
            yield components.show_status("Converting...", -1), *unchanged
            while not job.finished.is_set():
                await asyncio.sleep(_POLL_SECONDS)
            if job.error:
                yield components.show_error(job.error), *unchanged
            else:
                yield components.show_status(f"{chosen}: done; it can be chosen above."), *search()
        finally:
            site.jobs.release(job)

    convert.click(
        add,
        [upload, name, recipe],
        [status, table, model],
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )
