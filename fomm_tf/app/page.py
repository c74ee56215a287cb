"""The page: a model, and the tabs Animate, Live and Models."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import gradio as gr

from fomm_tf import demo
from fomm_tf.app import animate_tab, live_tab, models_tab
from fomm_tf.app.site import Site

TITLE = "fomm-tf"
_CLEAN_SECONDS = 60
_CSS = """
.fomm-error { color: var(--error-text-color, #b91c1c); font-weight: 600; }
.fomm-models { width: 100%; border-collapse: collapse; }
.fomm-models th, .fomm-models td { text-align: left; padding: 0.4em; }
.fomm-models tr { border-bottom: 1px solid var(--border-color-primary); }
#source img, #driving video, #result video, #live-source img { width: 100%; height: 100%; object-fit: contain; }
#driving video { height: 16rem; }
#figure img { width: 100%; }
#status progress, #convert-status progress { width: 100%; }
#status p, #convert-status p { margin: 0.2em 0; font-variant-numeric: tabular-nums; }
"""


def build(site: Site) -> gr.Blocks:
    """Builds the page."""
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(_CLEAN_SECONDS, site.limits.keep_seconds)
    ) as blocks:
        gr.Markdown(f"# {TITLE}\nAnimates an image with the motion of a video or of your camera.")
        names = list(site.models.entries)
        model = gr.Dropdown(names, value=site.models.default, label="Model", elem_id="model")
        with gr.Tabs():
            with gr.Tab("Animate", id="animate"):
                animate_tab.build(site, model)
            with gr.Tab("Live", id="live"):
                live_tab.build(site, model)
            with gr.Tab("Models", id="models"):
                models_tab.build(site, model)
        gr.Markdown("Animate people only with their consent, and say that the video is generated.")

        def leave(request: gr.Request) -> None:
            site.jobs.cancel(request.session_hash)
            site.live.close(request.session_hash)

        blocks.unload(leave)
    return blocks.queue(default_concurrency_limit=None)


def look() -> dict[str, Any]:
    """Theme, fonts and footer, none of them from the network; arguments of `gradio.mount_gradio_app`."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return {"theme": gr.themes.Default(**fonts), "css": _CSS, "footer_links": [], "run_history": False}


def copy_examples(folder: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Copies the images and the video of `fomm demo` to a directory: pairs of an image and a video."""
    clip = pathlib.Path(shutil.copy(demo.DRIVING, folder))
    return [(pathlib.Path(shutil.copy(source, folder)), clip) for source in demo.SOURCES]
