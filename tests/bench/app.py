"""`python tests/bench/app.py`: the page of `fomm app` in headless Chromium: live rates, and what a server must survive.

A time code in the frames of the fake camera comes back in the animation, so that the delay includes camera, browser,
server and model. `live` shows it for the bundled model, and for a model that costs nothing; `stream` for Gradio's own
stream of images, with a function that returns them. `survive` measures ten jobs at once, a closed tab, an upload of
2 GiB, and a long live session.
"""

import contextlib
import http.client
import os
import pathlib
import sys
import tempfile
import time
import urllib.parse

import harness
import numpy as np

sys.path += [str(harness.ROOT), *(str(harness.ROOT / "tests" / name) for name in ("", "app"))]

import browser
import disc_engine
import pages

from fomm_tf import model_folders
from fomm_tf.inference import animator
from fomm_tf.structures import Rendering

STATUS = "/%s/.test(document.querySelector('#status').textContent)"
SIDE, FPS, CODES = 128, 30, 256
READ = """async ({ camera, result, seconds, side }) => {
  const scratch = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = scratch.getContext("2d", { willReadFrequently: true });
  const read = (view) => {
    const width = view.videoWidth || view.naturalWidth || view.width;
    const height = view.videoHeight || view.naturalHeight || view.height;
    if (!width) return -1;
    const square = Math.min(width, height);
    context.drawImage(view, (width - square) / 2, (height - square) / 2, square, square, 0, 0, side, side);
    let code = 0;
    for (let bit = 0; bit < 8; bit++) {
      const pixel = context.getImageData(Math.floor(((bit + 0.5) * side) / 8), side / 16, 1, 1).data;
      code += (pixel[0] > 128) << bit;
    }
    return code;
  };
  const delays = [];
  let last = -1, count = 0;
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const views = [camera, result].map((selector) => document.querySelector(selector));
    const [now, shown] = views.map((view) => (view ? read(view) : -1));
    if (now < 0 || shown < 0) continue;
    if (shown !== last) count += 1;
    last = shown;
    delays.push((now - shown + 256) % 256);
  }
  delays.sort((one, other) => one - other);
  return { count, delay: delays[Math.floor(delays.length / 2)], late: delays[Math.floor(delays.length * 0.95)] };
}"""


class CodedEngine:
    """An engine whose results carry the upper eighth of the driving frame: the time code.

    Args:
      engine: computes the rest; None returns the driving frame.
    """

    def __init__(self, engine=None):
        self._engine = engine or disc_engine.DiscEngine()
        self._is_free = engine is None

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def detect(self, frames):
        self._frame = np.asarray(frames)[-1]
        return self._engine.detect(frames)

    def render(self, source, keypoints, details=False):
        if self._is_free:
            return Rendering(self._frame[np.newaxis])
        prediction = np.array(self._engine.render(source, keypoints, details).prediction)
        prediction[:, : len(self._frame) // 8] = self._frame[: len(self._frame) // 8]
        return Rendering(prediction)


def write_camera(path):
    """A disc that moves under a time code of eight bits."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        chroma = np.full([2, SIDE // 2, SIDE // 2], 128, np.uint8).tobytes()
        for code in range(CODES):
            luma = np.kron(disc_engine.draw((24 + 8 * np.sin(code / 5), 32))[..., 0], np.ones([2, 2], np.uint8))
            luma[: SIDE // 8] = np.repeat([255 * (code >> bit & 1) for bit in range(8)], SIDE // 8)
            file.write(b"FRAME\n" + luma.tobytes() + chroma)


@contextlib.contextmanager
def open_browser(folder):
    write_camera(folder / "camera.y4m")
    (folder / "chromium").mkdir()
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    camera = f"--use-file-for-fake-video-capture={folder}/camera.y4m"
    with browser.launch(folder / "chromium", *fake, camera) as launched:
        yield launched


def new_page(chromium, address):
    page = chromium.new_context(permissions=["camera"]).new_page()
    page.set_default_timeout(300_000)
    page.goto(address)
    return page


def start_live(page, source):
    page.get_by_role("tab", name="Live").click()
    page.locator("#live-source input[type=file]").set_input_files(source)
    page.locator("#live-source img").wait_for()
    page.get_by_role("button", name="More options").last.click()
    page.get_by_label("Mirror the camera").uncheck()
    page.get_by_role("button", name="Start camera").click()
    page.wait_for_function("document.querySelector('#live .rates').textContent.includes('frames/s')")


def measure(page, seconds, camera="#live video", result="#live canvas"):
    found = page.evaluate(READ, {"camera": camera, "result": result, "seconds": seconds, "side": SIDE})
    return {
        "fps": round(found["count"] / seconds, 1),
        "delay_ms": round(1000 * found["delay"] / FPS),
        "delay_95_ms": round(1000 * found["late"] / FPS),
    }


@contextlib.contextmanager
def serve_stream():
    """Gradio's own stream of images, with a function that returns each frame."""
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as blocks:
        plain = gr.WebcamOptions(mirror=False)
        camera = gr.Image(sources=["webcam"], streaming=True, elem_id="in", webcam_options=plain)
        shown = gr.Image(streaming=True, elem_id="out", format="jpeg")
        camera.stream(lambda frame: frame, camera, shown, stream_every=1 / FPS, concurrency_limit=2, time_limit=600)
    _, address, _ = blocks.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    blocks.close()


def measure_live(chromium, folder, seconds):
    source, _ = disc_engine.write_files(folder)
    records = {}
    bundled, small = animator.Animator.load(model_folders.BUNDLED), disc_engine.load()
    loaders = {
        model_folders.BUNDLED.name: lambda _: animator.Animator(as_engine(CodedEngine(bundled.engine)), bundled.config),
        "no model": lambda _: animator.Animator(as_engine(CodedEngine()), small.config),
    }
    for name, load in loaders.items():
        disc_engine_load, disc_engine.load = disc_engine.load, load
        with pages.serve(None) as address:
            page = new_page(chromium, address)
            start_live(page, source)
            records[f"live, {name}"] = measure(page, seconds)
            page.context.close()
        disc_engine.load = disc_engine_load
    return records


def measure_stream(chromium, seconds):
    with serve_stream() as address:
        page = new_page(chromium, address)
        page.locator("#in").get_by_role("button").first.click()
        page.locator("#in video").wait_for()
        page.locator("#in").get_by_role("button").first.click()
        page.locator("#out img").wait_for()
        return {"Gradio's stream, no model": measure(page, seconds, "#in video", "#out img")}


def as_engine(coded):
    """Makes it an `engines.Engine` for `Animator`."""
    engine = disc_engine.DiscEngine()
    engine.detect, engine.render, engine.encode_source = coded.detect, coded.render, coded.encode_source
    return engine


def resident():
    """In MB."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def used(folder):
    """MB in the page's directory."""
    sizes = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            sizes.append(path.stat().st_size)
    return sum(sizes) / 2**20


def upload_two_gib(address):
    """Sends 2 GiB as a client that does not look at the limit; returns the answer, seconds, and MB that were sent."""
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    begin, sent = time.perf_counter(), 0
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("content-type", "multipart/form-data; boundary=x")
    connection.putheader("content-length", str(2**31))
    connection.endheaders()
    with contextlib.suppress(ConnectionError):
        while sent < 2**31:
            connection.send(bytes(2**20))
            sent += 2**20
    status = None
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        status = connection.getresponse().status
    return status, time.perf_counter() - begin, sent / 2**20


def survive(chromium, folder, minutes):
    cache = folder / "cache"
    files = disc_engine.write_files(folder, 50)
    engine = disc_engine.DiscEngine()
    records = {}
    with pages.serve(engine) as address:
        opened = [new_page(chromium, address) for _ in range(10)]
        for page in opened:
            page.locator("#source input[type=file]").set_input_files(files[0])
            page.locator("#driving input[type=file]").set_input_files(files[1])
            page.locator("#driving video").wait_for()
        before, begin = resident(), time.perf_counter()
        engine.may_render.clear()
        for page in opened:
            page.get_by_role("button", name="Animate", exact=True).click()
        for page in opened:
            page.wait_for_function(STATUS % "starting|waiting for|try again")
        opened.pop(5).context.close()
        engine.may_render.set()
        texts = []
        for page in opened:
            page.wait_for_function(STATUS % "Done|try again")
            texts.append(page.locator("#status").text_content())
            page.context.close()
        records["ten jobs at once, one tab closed"] = {
            "done": sum("Done" in text for text in texts),
            "refused": sum("try again" in text for text in texts),
            "seconds": round(time.perf_counter() - begin, 1),
            "memory_mb": [round(before), round(resident())],
            "job_files": len(list(cache.glob("app/page-*/jobs/*"))),
        }
        status, seconds, sent = upload_two_gib(address)
        records["upload of 2 GiB"] = {"status": status, "seconds": round(seconds, 2), "sent_mb": round(sent)}
        page = new_page(chromium, address)
        start_live(page, files[0])
        memory, disk = [], []
        for _ in range(10):
            time.sleep(6 * minutes)
            memory.append(round(resident()))
            disk.append(round(used(cache), 1))
        frames = int(page.locator("#live[data-frames], #live [data-frames]").first.get_attribute("data-frames"))
        records[f"live, {minutes} minutes"] = {"frames": frames, "memory_mb": memory, "disk_mb": disk}
        page.context.close()
    records["after the end"] = {"disk_mb": round(used(cache), 1)}
    return records


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("what", choices=("live", "stream", "survive"))
    parser.add_argument("--seconds", type=float, default=20, help="of each live measurement (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="of the long live session (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with open_browser(folder) as chromium:
            os.environ["FOMM_TF_CACHE"] = str(folder / "cache")
            if arguments.what == "live":
                records = measure_live(chromium, folder, arguments.seconds)
            elif arguments.what == "stream":
                records = measure_stream(chromium, arguments.seconds)
            else:
                records = survive(chromium, folder, arguments.minutes)
    for name, values in records.items():
        print(f"{name:36} {', '.join(f'{key} {value}' for key, value in values.items())}")
    harness.write(arguments.out, f"app {arguments.what}", records)


if __name__ == "__main__":
    main()
