"""The page of a study in a real browser: Chromium, headless."""

import collections
import json
import pathlib
import tempfile
import time

import browser
import pytest
from playwright.sync_api import expect

from fomm_tf import cli

pytestmark = [pytest.mark.network, pytest.mark.timeout(300)]
# The color in the middle of each canvas: driving is green, `plain` red, `other` blue.
MIDDLES = """[...document.querySelectorAll("canvas")].map(c =>
  "red green blue".split(" ")[[...c.getContext("2d").getImageData(c.width / 2, c.height * 3 / 4, 1, 1).data]
  .slice(0, 3).reduce((best, part, i, all) => part > all[best] ? i : best, 0)])"""
TIME = "document.getElementById('clip').currentTime"
SECONDS = 20  # no action takes so long, unless it fails
PARTICIPANTS = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def chromium():
    with tempfile.TemporaryDirectory() as folder, browser.launch(pathlib.Path(folder)) as launched:
        yield launched


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(1000 * SECONDS)
    expect.set_options(timeout=1000 * SECONDS)
    yield page
    context.close()


def wait_until(page, script):
    """Returns the value of an expression once it is true; the page's policy forbids `Page.wait_for_function`."""
    end = time.monotonic() + SECONDS
    while not (value := page.evaluate(script)):
        assert time.monotonic() < end, f"{script} stays {value!r}"
        page.wait_for_timeout(20)
    return value


def sides(page):
    """The colors of the two results, once the clip is shown."""
    return wait_until(page, f"(c => c[1] !== c[2] && c[0] === 'green' && c)({MIDDLES})")[1:]


def expect_place(page, text):
    expect(page.locator("#place")).to_have_text(text)


def start(page, participant):
    page.fill("#participant", participant)
    page.click("#form button")
    expect_place(page, "Question 1 of 5")


def test_page_is_answered_by_mouse_and_keys_with_a_reload_and_scored(page, built, tmp_path, capsys):
    requests, failures = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto(built.page.as_uri())
    start(page, "Zoë / 7")

    sides(page)
    before = page.evaluate(TIME)
    wait_until(page, f"{TIME} !== {before} && {TIME} > 0.1")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")
    wait_until(page, "document.getElementById('clip').paused")
    page.keyboard.press("Space")  # the button has the focus: it alone, not the page too, handles the key
    wait_until(page, "!document.getElementById('clip').paused")

    for number, answer in enumerate(["click", "digit", "arrow"], 1):
        expect_place(page, f"Question {number} of 5")
        red_left = sides(page)[0] == "red"
        if answer == "click":
            page.click("#left" if red_left else "#right")
        elif answer == "digit":
            page.keyboard.press("1" if red_left else "2")
        else:
            key = "ArrowLeft" if red_left else "ArrowRight"
            page.keyboard.down(key)
            page.keyboard.down(key)  # held down, a key answers one question only
            page.keyboard.up(key)
    expect_place(page, "Question 4 of 5")
    shown = sides(page)

    page.goto(built.page.as_uri())
    expect_place(page, "Question 4 of 5")
    assert sides(page) == shown and page.evaluate("document.getElementById('bar').value") == 3
    page.click("#back")
    expect_place(page, "Question 3 of 5")
    red = "left" if sides(page)[0] == "red" else "right"
    expect(page.locator(f"#{red}")).to_have_attribute("aria-pressed", "true")
    page.click("#next")

    page.keyboard.press("1" if sides(page)[0] == "red" else "2")
    expect_place(page, "Question 5 of 5")
    page.keyboard.press("1" if sides(page)[0] == "blue" else "2")
    expect_place(page, "5 of 5 answered")

    text = page.input_value("#answers")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "answers-Zo_7.json"
    saved = tmp_path / "answers.json"
    download.value.save_as(saved)
    assert saved.read_text() == text
    answers = json.loads(text)
    assert answers["participant"] == "Zoë / 7" and answers["finished"] and len(answers["answers"]) == 5
    assert failures == []
    assert [address for address in requests if not address.startswith(("file:", "data:", "blob:"))] == []

    capsys.readouterr()
    assert cli.main(["study", "score", str(saved), "--key", str(built.path)]) == 0
    # Red, four times of five.
    assert "| page | plain over other | 80.0 % (28.4 to 99.5) | 5 | 1 |" in capsys.readouterr().out


def test_page_orders_questions_and_sides_by_participant(page, built):
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(built.page.as_uri())
    orders, lefts = set(), collections.Counter()
    for participant in PARTICIPANTS:
        start(page, participant)
        for _ in range(5):
            lefts[sides(page)[0]] += 1
            page.keyboard.press("1")
        answers = json.loads(page.input_value("#answers"))
        assert answers["participant"] == participant
        orders.add(tuple((row["question"], row["choice"]) for row in answers["answers"]))
        page.click("#reset")
    assert len(orders) == len(PARTICIPANTS)
    # A participant has a method on the left 2 or 3 times of 5.
    assert abs(lefts["red"] - lefts["blue"]) <= len(PARTICIPANTS)
    assert len({choice for order in orders for _, choice in order}) == 10


def test_page_saves_and_resumes_partial_answers(page, built, tmp_path, capsys):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{built.page.as_uri()}?participant=P-12")
    expect(page.locator("#participant")).to_have_value("P-12")
    page.click("#form button")
    sides(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone has to scroll sideways"
    page.click("#right")
    page.click("#stop")
    expect_place(page, "1 of 5 answered")
    (tmp_path / "part.json").write_text(page.input_value("#answers"))
    capsys.readouterr()
    assert cli.main(["study", "score", str(tmp_path / "part.json"), "--key", str(built.path)]) == 0
    assert "Incomplete, of 5 questions: P-12 (1)." in capsys.readouterr().out
    page.click("#return")
    expect_place(page, "Question 2 of 5")
