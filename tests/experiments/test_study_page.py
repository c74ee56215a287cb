"""The page of a study in a real browser: Chromium, headless, from the npm registry."""

import collections
import json
import pathlib
import tempfile

import browser
import pytest

from fomm_tf import cli

pytestmark = [pytest.mark.network, pytest.mark.timeout(300)]
# Of each canvas the colour in its middle: driving is green, `plain` red, `other` blue.
MIDDLES = """[...document.querySelectorAll("canvas")].map(c =>
  "red green blue".split(" ")[[...c.getContext("2d").getImageData(c.width / 2, c.height * 3 / 4, 1, 1).data]
  .slice(0, 3).reduce((best, part, i, all) => part > all[best] ? i : best, 0)])"""
PLACE = "document.getElementById('place').textContent"
TIME = "document.getElementById('clip').currentTime"
ORDER = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def program():
    with tempfile.TemporaryDirectory() as folder:
        yield browser.unpack(pathlib.Path(folder))


@pytest.fixture
def opened(program, tmp_path):
    with browser.open_page(program, tmp_path / "profile") as page:
        yield page


def sides(page):
    """The colours of the results, once the clip is there."""
    driving, left, right = page.until(f"(c => c[1] !== c[2] && c[0] === 'green' && c)({MIDDLES})")
    return driving, left, right


def begin(page, participant):
    page.click("#participant")
    page.type(participant)
    page.click("#form button")
    page.until(f"{PLACE} === 'Question 1 of 5'")


def test_page_is_answered_by_mouse_and_keys_with_a_reload_and_scored(opened, built, tmp_path, capsys):
    opened.download_to(tmp_path / "downloads")
    opened.resize(1280, 800)
    opened.open(built.page.as_uri())
    begin(opened, "Zoë / 7")

    sides(opened)
    before = opened.ask(TIME)
    opened.until(f"{TIME} !== {before} && {TIME} > 0.1")
    opened.click("#play")
    opened.until("document.getElementById('clip').paused && document.getElementById('play').textContent === 'Play'")
    opened.press(" ", text=" ")  # the button has the focus: it alone, and not the page as well, takes the key
    opened.until("!document.getElementById('clip').paused")

    for number, answer in enumerate(["click", "digit", "arrow"], 1):
        assert opened.ask(PLACE) == f"Question {number} of 5"
        red_left = sides(opened)[1] == "red"
        if answer == "click":
            opened.click("#left" if red_left else "#right")
        elif answer == "digit":
            opened.press("1" if red_left else "2")
        else:
            opened.press("ArrowLeft" if red_left else "ArrowRight")
    opened.press("1", autoRepeat=True)  # a key held down answers nothing more
    assert opened.ask(PLACE) == "Question 4 of 5"
    shown = sides(opened)

    opened.open(built.page.as_uri())
    opened.until(f"{PLACE} === 'Question 4 of 5'")
    assert sides(opened) == shown and opened.ask("document.getElementById('bar').value") == 3
    opened.click("#back")
    opened.until(f"{PLACE} === 'Question 3 of 5'")
    red = "left" if sides(opened)[1] == "red" else "right"
    assert opened.ask(f"document.getElementById('{red}').getAttribute('aria-pressed')") == "true"
    opened.click("#next")

    red_left = sides(opened)[1] == "red"
    opened.press("1" if red_left else "2")
    opened.until(f"{PLACE} === 'Question 5 of 5'")
    blue_left = sides(opened)[1] == "blue"
    opened.press("1" if blue_left else "2")
    opened.until(f"{PLACE} === '5 of 5 answered'")

    text = opened.ask("document.getElementById('answers').value")
    opened.click("#save")
    saved = tmp_path / "downloads" / "answers-Zo_7.json"
    for _ in range(200):
        if saved.exists():
            break
        opened.ask("new Promise(done => setTimeout(done, 50))")
    assert saved.read_text() == text
    answers = json.loads(text)
    assert answers["participant"] == "Zoë / 7" and answers["finished"] and len(answers["answers"]) == 5
    assert opened.complaints == []
    elsewhere = [address for address in opened.requests if not address.startswith(("file:", "data:", "blob:"))]
    assert elsewhere == []

    capsys.readouterr()
    assert cli.main(["study", "score", str(saved), "--key", str(built.path)]) == 0
    # Red, four times of five.
    assert "| page | plain over other | 80.0 % (28.4 to 99.5) | 5 | 1 |" in capsys.readouterr().out


def test_page_orders_questions_and_sides_by_participant(opened, built):
    opened.resize(1280, 800)
    opened.open(built.page.as_uri())
    opened.ask("window.confirm = () => true")
    orders, lefts = set(), collections.Counter()
    for participant in ORDER:
        begin(opened, participant)
        for _ in range(5):
            lefts[sides(opened)[1]] += 1
            opened.press("1")
        answers = json.loads(opened.ask("document.getElementById('answers').value"))
        assert answers["participant"] == participant
        orders.add(tuple((row["question"], row["choice"]) for row in answers["answers"]))
        opened.click("#reset")
    assert len(orders) == len(ORDER)
    # A participant has a method on the left 2 or 3 times of 5.
    assert abs(lefts["red"] - lefts["blue"]) <= len(ORDER)
    assert len({choice for order in orders for _, choice in order}) == 10


def test_page_saves_and_resumes_partial_answers(opened, built, tmp_path, capsys):
    opened.resize(390, 844)
    opened.open(f"{built.page.as_uri()}?participant=P-12")
    assert opened.ask("document.getElementById('participant').value") == "P-12"
    opened.click("#form button")
    sides(opened)
    assert opened.ask("document.documentElement.scrollWidth <= innerWidth"), "a telephone has to scroll sideways"
    opened.click("#right")
    opened.click("#stop")
    assert opened.ask(PLACE) == "1 of 5 answered"
    (tmp_path / "part.json").write_text(opened.ask("document.getElementById('answers').value"))
    capsys.readouterr()
    assert cli.main(["study", "score", str(tmp_path / "part.json"), "--key", str(built.path)]) == 0
    assert "Incomplete, of 5 questions: P-12 (1)." in capsys.readouterr().out
    opened.click("#return")
    assert opened.ask(PLACE) == "Question 2 of 5"
