"""The page, served in this process with the model of `disc_engine`, and opened in Chromium."""

import contextlib
import pathlib
import tempfile
import threading

import browser
import cv2
import disc_engine
import uvicorn

from fomm_tf import sockets
from fomm_tf.app import limits, models, server
from fomm_tf.cli import serving

SECONDS = 120  # no action takes so long, unless it fails
PLAY = """async (video) => {
  video.currentTime = 0;
  await video.play();
  if (!video.ended) await new Promise((resolve) => video.addEventListener("ended", resolve));
  return [video.duration, video.videoWidth, video.currentTime];
}"""


@contextlib.contextmanager
def serve(engine, auth=None, **bounds):
    """Yields the address of a page whose models are all `engine`."""
    pool = models.ModelPool(None, pathlib.Path("runs"), lambda path: disc_engine.load(engine))
    address = server.Address(sockets.bind("127.0.0.1", 0), "127.0.0.1", auth)
    with server.open_app(address, pool, serving.prepare_animation, limits.Limits(**bounds)) as app:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        address.listener.listen()  # connections wait until uvicorn accepts them
        thread = threading.Thread(target=running.run, kwargs={"sockets": [address.listener]})
        thread.start()
        try:
            yield address.url.rstrip("/")
        finally:
            running.should_exit = True
            thread.join()
            address.listener.close()


@contextlib.contextmanager
def launch(frames):
    """Chromium with a camera that shows these frames, again and again."""
    arguments = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "camera.y4m"
        with path.open("wb") as file:
            for index, frame in enumerate(frames):
                if index == 0:
                    file.write(b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\n" % frame.shape[1::-1])
                file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
        (path.parent / "chromium").mkdir()
        with browser.launch(
            path.parent / "chromium", *arguments, f"--use-file-for-fake-video-capture={path}"
        ) as opened:
            yield opened


@contextlib.contextmanager
def open_page(chromium, address, **options):
    """A page; at the end, nothing has failed in it, and no request has left the server."""
    requests, failures = [], []
    page = browser.open_page(chromium, address, SECONDS, requests, failures, **options)
    yield page
    page.context.close()
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []
    assert failures == []


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)
