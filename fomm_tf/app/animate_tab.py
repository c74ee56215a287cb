"""The tab Animate: a source, a driving file, options, progress, and the result beside them."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import gradio as gr

from fomm_tf import errors
from fomm_tf.app import animate_job, components, options

if TYPE_CHECKING:
    from fomm_tf.app.site import Site

_POLL_SECONDS = 0.25
_HEIGHT, _BUTTON_WIDTH = 320, 90
_UNCHANGED = gr.skip()


def build(site: Site, model: gr.Dropdown) -> None:
    """Builds the tab.

    Args:
      site: what the page shares.
      model: the chosen model.
    """
    kinds = gr.State("image"), gr.State("video")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=240), gr.Tabs():
            with gr.Tab("Source image") as image_tab:
                image = components.image_upload(
                    label="Source", height=_HEIGHT, elem_id="source", alt_text="source image"
                )
            with gr.Tab("or a video") as source_video_tab:
                source_video = components.video_upload(label="Source video", sources=["upload"], height=_HEIGHT)
        with gr.Column(min_width=240), gr.Tabs():
            with gr.Tab("Driving video") as driving_tab:
                driving = components.video_upload(label="Driving video", height=_HEIGHT, elem_id="driving")
            with gr.Tab("or a motion file") as motion_tab:
                motion = components.file_upload(label="Motion file (.npz)", height=_HEIGHT, elem_id="motion")
        with gr.Column(min_width=240):
            with gr.Tabs(), gr.Tab("Result"):
                result = gr.Video(
                    label="Result",
                    interactive=False,
                    height=_HEIGHT,
                    elem_id="result",
                    buttons=["download"],
                    autoplay=True,
                )
            status = gr.HTML(components.show_status("Choose a source and a driving video."), elem_id="status")
            with gr.Row():
                run = gr.Button("Animate", variant="primary", elem_id="animate", min_width=_BUTTON_WIDTH)
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=_BUTTON_WIDTH)
                download = gr.DownloadButton("Download", interactive=False, elem_id="download", min_width=_BUTTON_WIDTH)
    with gr.Row():
        shown = [option.component() for option in options.SHOWN]
    with gr.Accordion("More options", open=False), gr.Row():
        folded = [option.component() for option in options.FOLDED]
    gr.Markdown(
        "**What the model saw**: source and driving frame with keypoints, result, warped source, occlusion, masks",
        elem_id="figure-title",
    )
    figure = gr.Image(
        label="What the model saw",
        show_label=False,
        interactive=False,
        elem_id="figure",
        buttons=["download", "fullscreen"],
        alt_text="keypoints and intermediate results",
    )
    components.examples(site.examples, [image, driving], "examples")
    for tab, kind, name in (
        (image_tab, kinds[0], "image"),
        (source_video_tab, kinds[0], "video"),
        (driving_tab, kinds[1], "video"),
        (motion_tab, kinds[1], "motion"),
    ):
        tab.select(_return(name), outputs=kind, queue=False, api_visibility="private")

    async def animate(request: gr.Request, name, source_kind, driving_kind, *values):
        inputs = _Inputs(name, values[0 if source_kind == "image" else 1], values[2 if driving_kind == "video" else 3])
        async with contextlib.aclosing(_animate(site, request.session_hash, inputs, values[4:])) as states:
            async for state in states:
                yield state

    def stop(request: gr.Request) -> None:
        site.jobs.cancel(request.session_hash)

    run.click(
        animate,
        [model, *kinds, image, source_video, driving, motion, *shown, *folded],
        [status, result, figure, run, cancel, download],
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )
    cancel.click(stop, queue=False, api_visibility="private")


class _Inputs(NamedTuple):
    """What the visitor chose: a model's name and uploaded files."""

    model: str
    source: str | None
    driving: str | None


def _return(value: str) -> Callable[[], str]:
    return lambda: value


async def _animate(site: Site, owner: str, inputs: _Inputs, values: Sequence[object]) -> AsyncGenerator[tuple, None]:
    """Yields status, result, figure and buttons while a job runs."""
    source, driving = inputs.source, inputs.driving
    try:
        if not (source and driving):
            raise errors.UserError(f"Choose a {'driving video' if source else 'source'} first.")
        chosen = options.read_options(values)
        job = site.jobs.submit(
            owner,
            inputs.model,
            lambda job: animate_job.animate(
                job, site.models.get(inputs.model), site.prepare, (source, driving), chosen, site.limits
            ),
        )
    except errors.UserError as error:
        yield (components.show_error(str(error)), *[_UNCHANGED] * 5)
        return
    try:
        running = [gr.update(interactive=False), gr.update(interactive=True), gr.update(value=None, interactive=False)]
        last = components.show_status(_describe(site, job), -1)
        yield (last, None, None, *running)
        while not job.finished.is_set():
            await asyncio.sleep(_POLL_SECONDS)
            done = job.frames / job.total if job.total and job.frames else -1
            line = components.show_status(_describe(site, job), done, job.notes)
            if line != last:
                yield (line, *[_UNCHANGED] * 5)
            last = line
        yield _finish(job)
    finally:
        site.jobs.release(job)


def _describe(site: Site, job: animate_job.jobs.Job) -> str:
    if job.state == "queued":
        count = site.jobs.waiting_before(job)
        return f"waiting for {count} other job{'s' * (count != 1)}"
    return job.progress()


def _finish(job: animate_job.jobs.Job) -> tuple:
    """What the page shows at the end of a job."""
    notes = [options.name_labels(note) for note in job.notes]
    buttons = [gr.update(interactive=True), gr.update(interactive=False)]
    if job.state != "done":
        if job.state == "failed":
            line = components.show_error(options.name_labels(job.error))
        else:
            line = components.show_status(f"Cancelled after {job.frames} frames.")
        return (line, _UNCHANGED, _UNCHANGED, *buttons, _UNCHANGED)
    path = str(pathlib.Path(job.result))
    line = components.show_status(f"Done: {job.frames} frames.", 1.0, notes)
    return (line, path, job.figure, *buttons, gr.update(value=path, interactive=True))
