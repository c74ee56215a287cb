"""The tab Live: the browser's camera drives a source image.

The browser sends at most two frames at once, and the newest one next: frames are dropped, and none waits. A call of the
server for each frame keeps the way short; Gradio's own streams of images write each frame to a file.
"""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING

import gradio as gr

from fomm_tf import errors, video
from fomm_tf.app import components, live
from fomm_tf.app import options as page_options

if TYPE_CHECKING:
    from fomm_tf.app.site import Site

_ASSETS = pathlib.Path(__file__).parent / "assets"
# The shorter side of what the browser sends if the object is searched there.
_SEARCHED_SIDE = 360
_BUTTON_WIDTH = 130


def build(site: Site, model: gr.Dropdown) -> None:
    """Builds the tab.

    Args:
      site: what the page shares.
      model: the chosen model.
    """

    def live_frame(call: dict) -> dict:
        """What the browser calls for each frame."""
        try:
            image = site.live.animate(str(call["token"]), int(call["number"]), str(call["image"]))
        except errors.UserError as error:
            return {"error": str(error)}
        return {"image": image}

    def start(name, image, mode, smooth, strength, mirror, request: gr.Request) -> tuple:
        try:
            if not image:
                raise errors.UserError("Choose a source image first.")
            site.live.check_room(request.session_hash)
            settings = live.Settings(mode, smooth, strength)
            animated = live.LiveAnimator(site.models.get(name).animator(), video.read_image(image), settings)
            token = site.live.open(request.session_hash, animated)
        except errors.UserError as error:
            line = page_options.name_labels(str(error).replace(f"{pathlib.Path(image or '.').parent}/", ""))
            return "", components.show_error(line)
        side = _SEARCHED_SIDE if animated.is_cropped else animated.side
        return json.dumps({"token": token, "side": side, "mirror": mirror}), ""

    def stop(request: gr.Request) -> tuple[str, str]:
        site.live.close(request.session_hash)
        return "", ""

    def recenter(request: gr.Request) -> None:
        site.live.recenter(request.session_hash)

    with gr.Row(equal_height=False):
        with gr.Column(min_width=240):
            image = components.image_upload(label="Source", height=300, elem_id="live-source", alt_text="source image")
            with gr.Row():
                begin = gr.Button("Start camera", variant="primary", elem_id="live-start", min_width=_BUTTON_WIDTH)
                end = gr.Button("Stop", elem_id="live-stop", min_width=_BUTTON_WIDTH)
                center = gr.Button("Recenter", elem_id="live-recenter", min_width=_BUTTON_WIDTH)
            message = gr.HTML(elem_id="live-message")
            with gr.Accordion("More options", open=False):
                mode = gr.Dropdown(["relative", "absolute"], value="relative", label="Motion")
                smooth = gr.Slider(0, 10, value=1, step=0.5, label="Smoothing")
                strength = gr.Slider(0, 2, value=1, step=0.1, label="Motion strength")
                mirror = gr.Checkbox(value=True, label="Mirror the camera")
        with gr.Column(min_width=240, scale=2):
            camera = gr.HTML(
                "",
                html_template=(_ASSETS / "live.html").read_text(encoding="utf-8"),
                css_template=(_ASSETS / "live.css").read_text(encoding="utf-8"),
                js_on_load=(_ASSETS / "live.js").read_text(encoding="utf-8"),
                server_functions=[live_frame],
                elem_id="live",
            )
    components.examples([[source] for source, _ in site.examples], [image], "live-examples")
    gr.Markdown(
        "Look straight into the camera and press *Recenter*: the motion since then moves the source. Frames are sent "
        "to this server only, and are not stored."
    )
    settings = [model, image, mode, smooth, strength, mirror]
    begin.click(start, settings, [camera, message], concurrency_limit=None, api_visibility="private")
    end.click(stop, outputs=[camera, message], queue=False, api_visibility="private")
    center.click(recenter, queue=False, api_visibility="private")
