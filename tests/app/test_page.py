"""The page in Chromium: animate, cancel, errors, live with a fake camera, keyboard, phone; no request leaves it."""

import pathlib
import re

import disc_engine
import numpy as np
import pages
import pytest
from playwright.sync_api import expect

from fomm_tf import model_folders, video

pytestmark = [pytest.mark.network, pytest.mark.slow]
PIXELS = """(canvas) => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
HAS_CHANGED = """(before) => {
  const canvas = document.querySelector("#live canvas");
  const now = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return now.some((value, index) => Math.abs(value - before[index]) > 99);
}"""
HAS_OVERFLOW = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium():
    """Its camera shows the disc, which moves to the right."""
    with pages.launch(disc_engine.draw((16 + index, 32)) for index in range(24)) as launched:
        yield launched


@pytest.fixture
def page(chromium, address):
    with pages.open_page(chromium, address, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return disc_engine.write_files(tmp_path_factory.mktemp("files"))


def upload(page, source, driving):
    page.locator("#source input[type=file]").set_input_files(source)
    page.locator("#source img").wait_for()
    page.locator("#driving input[type=file]").set_input_files(driving)
    page.locator("#driving video").wait_for()


def stored(cache, pattern):
    return sorted(path for path in (cache / "app").glob(f"page-*/{pattern}") if path.is_file())


def test_page_animates_and_the_result_is_downloaded_and_played(page, files, cache, tmp_path):
    upload(page, *files)
    pages.button(page, "Animate").click()
    expect(page.locator("#status")).to_contain_text("Done: 12 frames.")
    duration, width, end = page.locator("#result video").evaluate(pages.PLAY)
    assert (duration, width, end) == (pytest.approx(12 / 25, abs=0.05), 64, duration)
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "animated.mp4")
    columns = [np.nonzero(frame[..., 0] > 128)[1].mean() for frame in video.open_video(tmp_path / "animated.mp4")]
    np.testing.assert_allclose(columns, 24 + np.arange(12), atol=1)
    assert page.locator("#figure img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 5 * 64
    assert stored(cache, "jobs/**/*") == [], "files of the job are left"


def test_page_passes_on_options(page, files):
    upload(page, *files)
    page.get_by_role("button", name="More options").first.click()
    page.get_by_label("Duration").fill("0.2")
    page.get_by_label("Side by side").check()
    pages.button(page, "Animate").click()
    expect(page.locator("#status")).to_contain_text("Done: 5 frames.")
    assert page.locator("#result video").evaluate(pages.PLAY)[1] == 3 * 64


def test_page_shows_progress_and_cancels(page, files, engine, cache, tmp_path):
    upload(page, *disc_engine.write_files(tmp_path, 40))
    engine.may_render.clear()
    pages.button(page, "Animate").click()
    try:
        expect(page.locator("#status progress")).to_be_visible()
        expect(pages.button(page, "Animate")).to_be_disabled()
        pages.button(page, "Cancel").click()
    finally:
        engine.may_render.set()
    expect(page.locator("#status")).to_contain_text(re.compile(r"Cancelled after \d+ frames\."))
    expect(pages.button(page, "Animate")).to_be_enabled()
    assert stored(cache, "jobs/**/*") == []


def test_page_counts_frames_and_the_time_left(page, files, engine):
    upload(page, *files)
    engine.may_render.clear()
    pages.button(page, "Animate").click()
    status = page.locator("#status")
    expect(status).to_contain_text("starting")
    engine.passes.release()
    expect(status).to_contain_text(re.compile(r"8 of 12 frames, [\d.]+ frames/s, \d+ s left"))
    engine.may_render.set()
    expect(status).to_contain_text("Done: 12 frames.")


def test_page_lets_jobs_wait_for_each_other(chromium, page, address, files, engine):
    engine.may_render.clear()
    upload(page, *files)
    pages.button(page, "Animate").click()
    expect(page.locator("#status")).to_contain_text("starting")
    with pages.open_page(chromium, address) as second:
        upload(second, *files)
        pages.button(second, "Animate").click()
        expect(second.locator("#status")).to_contain_text("waiting for 1 other job")
        engine.may_render.set()
        expect(second.locator("#status")).to_contain_text("Done")


def test_page_shows_the_line_about_a_bad_video(page, files, tmp_path):
    (tmp_path / "bad.mp4").write_text("text")
    page.locator("#source input[type=file]").set_input_files(files[0])
    page.locator("#source img").wait_for()
    page.locator("#driving input[type=file]").set_input_files(tmp_path / "bad.mp4")
    page.locator("#driving video").wait_for(state="attached")
    pages.button(page, "Animate").click()
    line = "bad.mp4 is not a video that ffmpeg can read"
    expect(page.locator("#status").get_by_role("alert")).to_contain_text(line)
    expect(pages.button(page, "Animate")).to_be_enabled()


def test_page_shows_the_line_about_a_bad_image(page, files, tmp_path):
    (tmp_path / "bad.png").write_text("text")
    page.locator("#driving input[type=file]").set_input_files(files[1])
    page.locator("#driving video").wait_for()
    page.locator("#source input[type=file]").set_input_files(tmp_path / "bad.png")
    page.locator("#source img").wait_for(state="attached")
    pages.button(page, "Animate").click()
    expect(page.locator("#status").get_by_role("alert")).to_contain_text("bad.png is not an image")


def test_page_asks_for_files_that_are_missing(page):
    pages.button(page, "Animate").click()
    expect(page.locator("#status").get_by_role("alert")).to_have_text("Choose a source first.")


def test_page_stops_the_job_of_a_closed_tab(chromium, address, files, engine, cache):
    with pages.open_page(chromium, address) as closing:
        engine.may_render.clear()
        upload(closing, *files)
        pages.button(closing, "Animate").click()
        expect(closing.locator("#status")).to_contain_text("starting")
        before = engine.calls
    engine.may_render.set()
    with pages.open_page(chromium, address) as other:
        upload(other, *files)
        pages.button(other, "Animate").click()
        expect(other.locator("#status")).to_contain_text("Done")
    assert stored(cache, "jobs/**/*") == []
    assert engine.calls >= before


def test_live_shows_moving_frames_of_the_camera(page, files):
    page.get_by_role("tab", name="Live").click()
    pages.button(page, "Start camera").click()
    expect(page.locator("#live-message").get_by_role("alert")).to_have_text("Choose a source image first.")
    page.locator("#live-source input[type=file]").set_input_files(files[0])
    page.locator("#live-source img").wait_for()
    pages.button(page, "Start camera").click()
    rates = page.locator("#live .rates")
    expect(rates).to_have_text(
        re.compile(r"[\d.]+ frames/s, \d+ ms from camera to animation, \d+ camera frames dropped")
    )
    canvas = page.locator("#live canvas")
    first = canvas.evaluate(PIXELS)
    page.wait_for_function(HAS_CHANGED, arg=first)
    pages.button(page, "Recenter").click()
    pages.button(page, "Stop").click()
    expect(rates).to_have_text("The camera is off.")
    assert page.locator("#live video").evaluate("(video) => video.srcObject") is None


def test_models_tab_lists_models_and_converts_a_checkpoint(page, tmp_path):
    page.get_by_role("tab", name="Models").click()
    expect(page.get_by_role("row", name=re.compile(model_folders.BUNDLED.name))).to_contain_text("bundled")
    page.get_by_role("button", name="Convert a checkpoint").click()
    (tmp_path / "bad.pth.tar").write_text("text")
    page.locator("#checkpoint input[type=file]").set_input_files(tmp_path / "bad.pth.tar")
    expect(page.locator("#checkpoint")).to_contain_text("bad.pth")
    page.get_by_label("Name of the model").fill("mine")
    pages.button(page, "Convert").click()
    expect(page.locator("#convert-status").get_by_role("alert")).to_contain_text("bad.pth.tar")
    checkpoint = pathlib.Path(__file__).parents[1] / "parity" / "data" / "tiny-checkpoint.pth.tar"
    page.locator("#checkpoint").get_by_label("Clear").or_(
        page.locator("#checkpoint button[aria-label*=lear]")
    ).first.click()
    page.locator("#checkpoint input[type=file]").set_input_files(checkpoint)
    expect(page.locator("#checkpoint")).to_contain_text("tiny-checkpoint")
    pages.button(page, "Convert").click()
    expect(page.locator("#convert-status").get_by_role("alert")).to_contain_text("config")


def press_until(page, selector, key="Tab"):
    """Presses a key until an element has the focus."""
    for _ in range(80):
        page.keyboard.press(key)
        if page.evaluate("(selector) => document.activeElement?.closest(selector) !== null", selector):
            return
    raise AssertionError(f"{selector} is not reached by the keyboard")


def test_page_is_used_by_keyboard_alone(page):
    """An example is chosen, animated and cancelled, and the tab Live is reached, without the mouse."""
    page.locator("#examples tbody tr, #examples button").first.wait_for()
    press_until(page, "#examples tbody tr, #examples button")
    page.keyboard.press("Enter")
    page.locator("#source img").wait_for()
    page.locator("#driving video").wait_for()
    press_until(page, "#animate", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Done: 75 frames.")
    press_until(page, "[role=tab]", "Shift+Tab")


@pytest.mark.parametrize("tab", ["Animate", "Live", "Models"])
def test_page_fits_a_phone(chromium, address, tab):
    sizes = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with pages.open_page(chromium, address, **sizes) as phone:
        phone.get_by_role("tab", name=tab).tap()
        expect(phone.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        assert not phone.evaluate(HAS_OVERFLOW)
