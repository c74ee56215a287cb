"""The page, served in this process with the model of `disc_engine`."""

import contextlib
import pathlib
import threading

import disc_engine
import uvicorn

from fomm_tf.app import limits, models, server
from fomm_tf.cli import serving


@contextlib.contextmanager
def serve(engine, auth=None, **bounds):
    """Yields the address of a page whose models are all `engine`."""
    pool = models.ModelPool(None, pathlib.Path("runs"), lambda path: disc_engine.load(engine))
    address = server.Address(server.bind("127.0.0.1", 0), "127.0.0.1", auth)
    with server.open_app(address, pool, serving.prepare_animation, limits.Limits(**bounds)) as app:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [address.listener]})
        thread.start()
        try:
            yield address.url.rstrip("/")
        finally:
            running.should_exit = True
            thread.join()
            address.listener.close()
