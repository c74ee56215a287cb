"""The site of `fomm export --to web` in a real browser: Chromium, headless, with a fake camera."""

import base64
import contextlib
import functools
import json
import pathlib
import re
import sys
import tempfile
import time

import browser
import numpy as np
import pytest
import tensorflow as tf
from playwright.sync_api import expect

from fomm_tf import checkpoint, video
from fomm_tf.export import examples, loading, pipeline, report, stages

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(600)]
CONFORMANCE = pytest.mark.conformance
SECONDS = 60  # no action takes so long, unless it fails
PREFIX = "/some/where/"  # a site works from any path
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
LOAD = """async (options) => {
  const { Pipeline } = await import("./package/pipeline.js");
  self.pipeline = await Pipeline.load("model/", options);
  return self.pipeline.info;
}"""
RUN = """async ([stage, inputs]) => {
  const decode = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const join = (bytes) => bytes.reduce((text, byte) => text + String.fromCharCode(byte), "");
  const encode = (array) => btoa(join(new Uint8Array(array.buffer)));
  const map = (tensors, f) => Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, f(value)]));
  return map(await self.pipeline.run(stage, map(inputs, decode)), encode);
}"""
FORBID_CAMERA = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotAllowedError"); };
}"""
NAME = """(control) => control.getAttribute("aria-label")
  || [...(control.labels ?? [])].map((label) => label.textContent.trim()).join() || control.textContent.trim()"""
ANIMATE = """async ([source, frames, options]) => {
  const read = (text) => {
    const image = new ImageData(self.pipeline.width, self.pipeline.height);
    image.data.set(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    return image;
  };
  const image = read(source);
  const results = [];
  for (const frame of frames) {
    const { data } = await self.pipeline.animate(image, read(frame), options);
    results.push(btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), "")));
  }
  return results;
}"""


@pytest.fixture(scope="module")
def chromium():
    with tempfile.TemporaryDirectory() as folder, browser.launch(pathlib.Path(folder), *FAKE_CAMERA) as launched:
        yield launched


@pytest.fixture(scope="module")
def address(files_of):
    """Serves the site of a model."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(
            lambda model, isolated=False: stack.enter_context(
                browser.serve(files_of(model, "web")[0], PREFIX, isolated)
            )
        )


@contextlib.contextmanager
def checked_pages(chromium):
    """Opens pages; at the end, no request has left their origin, and nothing has failed."""
    pages, requests, failures = [], [], []

    def visit(url, **options):
        pages.append(browser.open_page(chromium, url, SECONDS, requests, failures, **options))
        return pages[-1]

    yield visit
    for page in pages:
        origin = re.match(r"https?://[^/]+/", page.url)[0]
        assert [url for url in requests if not url.startswith((origin, "blob:" + origin))] == []
        page.context.close()
    assert failures == []


@pytest.fixture
def opened(chromium):
    with checked_pages(chromium) as visit:
        yield visit


@pytest.fixture(scope="module")
def tiny(chromium, address):
    """A page with the tiny model's pipeline, on one thread; loading takes seconds."""
    with checked_pages(chromium) as visit:
        page = visit(address("tiny"))
        page.evaluate(LOAD, {})
        yield page


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def rgba(frame):
    return encode(np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]))


def wait_until(page, script):
    """Waits for an expression to be true; the page's policy forbids `Page.wait_for_function`."""
    end = time.monotonic() + SECONDS
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def keras(run):
    built, _ = loading.load(run)
    return pipeline.KerasPipeline(stages.Stages(built.config, built.model, switch_dtype=tf.float32))


@pytest.mark.parametrize(
    "model",
    [
        "bundled",
        "zeroth-order-no-occlusion-blend-skips",
        *(pytest.param(name, marks=CONFORMANCE) for name in ("tiny", "tall")),
    ],
)
def test_stages_and_frames_equal_keras_networks(model, run_folder, address, opened):
    exact = keras(checkpoint.BUNDLED if model == "bundled" else run_folder(model))
    size = exact.description["frame_size"]
    source, clip = examples.draw(size, 1, seed=7)[0], examples.draw(size, 4, seed=9)
    expected = list(exact.animate(source, clip, relative=True, adapt_scale=True))
    page = opened(address(model))
    info = page.evaluate(LOAD, {})
    assert info["build"] == "simd" and info["accelerators"] == dict.fromkeys(stages.NAMES, "wasm")
    for stage, inputs, outputs in exact.calls:
        actual = page.evaluate(RUN, [stage, {name: encode(np.float32(value)) for name, value in inputs.items()}])
        assert set(actual) == set(outputs)
        for name, value in outputs.items():
            got = np.frombuffer(base64.b64decode(actual[name]), np.float32).reshape(value.shape)
            assert report.relative_difference(got, value) <= 1e-3, f"{stage}.{name}"
    answer = page.evaluate(ANIMATE, [rgba(source), list(map(rgba, clip)), {"relative": True, "adaptScale": True}])
    frames = [np.frombuffer(base64.b64decode(text), np.uint8).reshape([*size, 4]) for text in answer]
    assert all((frame[..., 3] == 255).all() for frame in frames)
    psnr = tf.image.psnr(np.stack(frames)[..., :3], np.stack(expected), 255)
    assert float(tf.reduce_min(psnr)) >= 45


@pytest.mark.parametrize("build", ["compatible", "threads"])
def test_builds_give_the_same_frames(build, address, opened, tiny):
    page = opened(address("tiny", isolated=True))
    info = page.evaluate(LOAD, {"build": build} if build == "compatible" else {})
    assert info["build"] == build and (info["threads"] > 1) == (build == "threads")
    source, *clip = map(rgba, examples.draw((64, 64), 3))
    tiny.evaluate("self.pipeline.recenter()")
    first, second = (
        np.int16([list(base64.b64decode(text)) for text in each.evaluate(ANIMATE, [source, clip, {}])])
        for each in (page, tiny)
    )
    assert np.abs(first - second).max() <= 1


def test_options_change_the_motion(tiny):
    page = tiny
    page.evaluate("self.pipeline.recenter()")
    source, *clip = map(rgba, examples.draw((64, 64), 8))
    relative = page.evaluate(ANIMATE, [source, clip, {"relative": True}])
    page.evaluate("self.pipeline.recenter()")
    assert page.evaluate(ANIMATE, [source, clip, {"relative": True}]) == relative
    assert page.evaluate(ANIMATE, [source, clip[-1:], {"relative": True}]) == relative[-1:]
    page.evaluate("self.pipeline.recenter()")
    recentered = page.evaluate(ANIMATE, [source, clip[-1:], {"relative": True}])
    assert recentered == page.evaluate(ANIMATE, [source, clip[-1:], {"relative": True}]) != relative[-1:]
    assert page.evaluate(ANIMATE, [source, clip[-1:], {"relative": False}]) != recentered
    page.evaluate("self.pipeline.recenter()")
    smoothed = page.evaluate(ANIMATE, [source, clip, {"relative": True, "smoothing": 0.9}])
    assert smoothed[0] == relative[0] and smoothed[-1] != relative[-1]


def test_images_are_cropped_at_the_center_and_transparent_areas_are_white(tiny):
    pixels = tiny.evaluate(
        """async () => {
          const { cropped } = await import("./package/images.js");
          const image = new ImageData(40, 20);
          const color = (x) => (x < 10 || x >= 30 ? [255, 0, 0, 255] : x < 20 ? [0, 0, 255, 255] : [0, 0, 0, 0]);
          for (let x = 0; x < 40; x++) for (let y = 0; y < 20; y++) image.data.set(color(x), 4 * (40 * y + x));
          return [...cropped(image, 4, 4)];
        }"""
    )
    expected = np.zeros([4, 4, 4])
    expected[:, :2], expected[:, 2:] = [0, 0, 255, 255], [255, 255, 255, 255]
    pixels = np.reshape(pixels, [4, 4, 4])
    np.testing.assert_array_equal(pixels[:, 1:3], expected[:, 1:3])
    assert np.abs(pixels - expected).max() < 64  # Chromium interpolates across the edges of the crop


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('Pipeline.load("model/", { variant: "int4" })', 'variant: got "int4"; expected one of float32'),
        (
            'Pipeline.load("model/", { threads: 2 })',
            "threads: got 2; expected 1: the page is not cross-origin isolated",
        ),
        ("pipeline.animate(image, image, { smoothing: 1 })", "smoothing: got 1; expected at least 0 and below 1"),
        ("pipeline.animate(new Image(), image)", "image: it has no pixels; wait until it is loaded"),
        ('pipeline.run("warp", {})', "warp needs the input "),
    ],
)
def test_pipeline_reports_mistakes(call, message, tiny):
    script = f"""async () => {{
      const {{ Pipeline }} = await import("./package/pipeline.js");
      const image = new ImageData(64, 64);
      return (async () => {call})().then(() => "no error", (error) => error.message);
    }}"""
    assert message in tiny.evaluate(script)


def test_closed_pipeline_rejects_calls(tiny):
    script = """async () => {
      const { Pipeline } = await import("./package/pipeline.js");
      const pipeline = new Pipeline();
      pipeline.close();
      return pipeline.recenter().catch((error) => error.message);
    }"""
    assert tiny.evaluate(script) == "The pipeline is closed."


def test_page_reports_a_missing_file(chromium, files_of, tmp_path):
    place, _ = files_of("tiny", "web")
    for path in place.rglob("*"):
        if path.is_file() and path.name != "warp-float32.tflite":
            target = tmp_path / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    with browser.serve(tmp_path) as url:
        page = chromium.new_page()
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text("warp-float32.tflite cannot be downloaded: status 404")
        expect(page.get_by_role("status")).to_have_text("The model cannot be loaded.")
        page.close()


def test_page_animates_its_example_and_records_it(address, opened, tmp_path):
    page = opened(address("bundled"))
    expect(page.locator("#download")).to_be_hidden()
    page.get_by_role("button", name="Show the example").click()
    expect(page.locator("#rate")).to_have_text(re.compile(r"^\d+\.\d frames/s$"))
    expect(page.get_by_role("status")).to_have_text("Animating.")
    shown = "document.getElementById('result').toDataURL()"
    first = page.evaluate(shown)
    wait_until(page, f"{shown} !== {json.dumps(first)}")
    page.get_by_role("button", name="Record").click()
    for _ in range(3):
        now = page.evaluate(shown)
        wait_until(page, f"{shown} !== {json.dumps(now)}")
    page.get_by_label("absolute").check()
    page.get_by_label("Smoothing").fill("0.5")
    page.get_by_role("button", name="Recenter").click()
    page.get_by_role("button", name="Stop recording").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix in (".webm", ".mp4")
    frame = next(iter(video.open_video(path)))
    assert frame.shape[:2] == checkpoint.read_config(checkpoint.BUNDLED).model.frame_size
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Paused.")


def test_page_animates_chosen_files_and_the_camera(address, opened, files_of):
    place, _ = files_of("tiny", "web")
    page = opened(address("tiny"))
    expect(page.get_by_role("status")).to_contain_text("Choose an image")
    page.locator("#image-file").set_input_files(place / "example" / "source.png")
    expect(page.get_by_role("status")).to_have_text("Now choose a video, or use the camera.")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("status")).to_have_text("Animating.")
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"))
    page.locator("#video-file").set_input_files(place / "example" / "driving.webm")
    expect(page.get_by_role("button", name="Use the camera")).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("status")).to_have_text("Animating.")
    page.locator("#video-file").set_input_files(place / "example" / "source.png")
    page.locator("#image-file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.get_by_role("alert")).to_have_text(
        "a.png is not an image that this browser can read; try a JPEG or PNG file."
    )
    page.locator("#video-file").set_input_files({"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
    expect(page.get_by_role("alert")).to_contain_text("a.mp4 is not a video that this browser can play")
    page.evaluate(FORBID_CAMERA)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("The camera may not be used; allow it in the browser's settings")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_names_its_controls(scheme, address, opened):
    page = opened(address("tiny"), viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.lang") == "en"
    for control in page.locator("button:visible, input:visible, a:visible, canvas, video").all():
        assert control.evaluate(NAME), control.evaluate("(c) => c.outerHTML")


def test_site_of_the_bundled_model_has_less_than_20_megabytes(files_of):
    place, _ = files_of("bundled", "web")
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < 20e6


@CONFORMANCE
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_1000_frames(chromium, tiny):
    source, *clip = map(rgba, examples.draw((64, 64), 25))
    session = chromium.new_browser_cdp_session()

    def animate(rounds):
        """Returns the largest memory of all pages in bytes, measured after each round of 24 frames."""
        sizes = []
        for _ in range(rounds):
            tiny.evaluate(ANIMATE, [source, clip, {}])
            processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
            status = [pathlib.Path(f"/proc/{each['id']}/status") for each in processes if each["type"] == "renderer"]
            sizes.append(sum(1024 * int(re.search(r"VmRSS:\s+(\d+)", file.read_text())[1]) for file in status))
        return max(sizes)

    before = animate(12)
    assert animate(42) - before < 20e6  # the tensors of 1,000 frames have 500 MB
