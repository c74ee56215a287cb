"""`fomm study score`."""

import json

import pytest
from scipy import stats

from fomm_tf import cli
from fomm_tf.experiments import study_build, study_score

KEY = {
    "study": "abc",
    "name": "puppets",
    "methods": ["ours", "theirs"],
    "seed": 1,
    "questions": {
        f"q{number}": {
            "source": f"s{number}.png",
            "driving": "d|1.mp4",
            "choices": {f"o{number}": "ours", f"t{number}": "theirs"},
        }
        for number in range(3)
    },
}


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def answers(participant, choices, study="abc", day=1):
    """`choices` as in "oot": ours, ours, theirs; "-" for none."""
    rows = [
        {"question": f"q{number}", "choice": f"{letter}{number}", "time": f"2026-01-{day:02d}T10:00:0{number}.000Z"}
        for number, letter in enumerate(choices)
        if letter != "-"
    ]
    return {"study": study, "participant": participant, "answers": rows}


@pytest.fixture
def files(tmp_path):
    key = write(tmp_path / "key.json", KEY)

    def make(*contents):
        return [write(tmp_path / f"{number}.json", found) for number, found in enumerate(contents)], key

    return make


def count(files, *contents):
    paths, key = files(*contents)
    key = study_build.read_key(key)
    return study_score.score(key, [study_score.read_answers(path, {key.study: key}) for path in paths])


def test_score_shares_with_exact_intervals(files):
    found = count(files, answers("p", "oot"), answers("q", "oto"), answers("r", "ott"))
    assert found.overall == (5, 9) and found.overall.share == 5 / 9
    assert [found.questions[name] for name in ("q0", "q1", "q2")] == [(3, 3), (1, 3), (1, 3)]
    # Clopper-Pearson by its definition: what is as improbable as 2.5 % at either end.
    low, high = found.overall.interval()
    assert stats.binom.sf(4, 9, low) == pytest.approx(0.025) and stats.binom.cdf(5, 9, high) == pytest.approx(0.025)
    assert not found.incomplete and found.repeated == 0


def test_score_counts_the_latest_answer_once(files):
    once = count(files, answers("p", "oot"), answers("q", "ttt"))
    twice = count(files, answers("p", "oot"), answers("q", "ttt"), answers("p", "oot"))
    assert twice.overall == once.overall == (2, 6) and twice.repeated == 3
    note = "Repeated answers of one person to one question: 3. The latest one counts."
    assert note in study_score.as_markdown([twice]) and "Repeated" not in study_score.as_markdown([once])
    for order in (1, -1):
        found = count(files, *[answers("p", "ooo", day=2), answers("p", "ttt", day=1)][::order])
        assert found.overall == (3, 3) and found.repeated == 3


def test_score_names_incomplete_participants(files, capsys):
    found = count(files, answers("whole", "ooo"), answers("part", "t--"), answers("none", "---"))
    assert found.incomplete == {"part": 1, "none": 0} and found.overall == (3, 4)
    assert "Incomplete, of 3 questions: none (0), part (1)" in study_score.as_markdown([found])


def test_score_of_a_question_without_answers(files):
    found = count(files, answers("p", "o--"))
    assert found.questions["q1"].share is None and found.questions["q1"].interval() is None
    assert "| s1.png | d\\|1.mp4 | - | 0 |" in study_score.as_markdown([found])


def test_score_writes_one_row_per_study(tmp_path, capsys):
    keys = [
        write(tmp_path / "a.key.json", KEY),
        write(tmp_path / "b.key.json", KEY | {"study": "def", "name": "faces"}),
    ]
    given = [answers("p", "ooo"), answers("p", "ooo", study="def"), answers("q", "oot", study="def")]
    paths = [write(tmp_path / f"{number}.json", found) for number, found in enumerate(given)]
    assert cli.main(["study", "score", *paths, "--key", *keys, "--out", str(tmp_path / "scores")]) == 0
    printed = capsys.readouterr().out
    assert "| puppets | ours over theirs | 100.0 % (29.2 to 100.0) | 3 | 1 |" in printed
    assert "| faces | ours over theirs | 83.3 % (35.9 to 99.6) | 6 | 2 |" in printed
    assert (tmp_path / "scores" / "study.md").read_text() == printed
    rows = json.loads((tmp_path / "scores" / "study.json").read_text())
    assert [(row["study"], row["share"], row["answers"]) for row in rows] == [("puppets", 1, 3), ("faces", 5 / 6, 6)]
    assert rows[1]["questions"][2] | {"interval": None} == {
        "source": "s2.png",
        "driving": "d|1.mp4",
        "share": 0.5,
        "interval": None,
        "preferred_answers": 1,
        "answers": 2,
    }


_INVALID = "does not hold the answers"
WRONG_CHOICE = answers("p", "ooo") | {"answers": [{"question": "q0", "choice": "o1", "time": "2026-01-01T10:00:00Z"}]}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (answers("p", "ooo", study="other"), "answers the study other, not puppets (abc)"),
        ({}, _INVALID),
        ([], _INVALID),
        ({"study": "abc"}, _INVALID),
        ({"study": ["abc"]}, _INVALID),
        ({"study": "abc", "participant": "p", "answers": 5}, _INVALID),
        ({"study": "abc", "participant": "", "answers": []}, _INVALID),
        ({"study": "abc", "participant": "p", "answers": [[]]}, _INVALID),
        (
            {"study": "abc", "participant": "p", "answers": [{"question": "q0", "choice": "o0"}]},
            _INVALID,
        ),
        (
            {"study": "abc", "participant": "p", "answers": [{"question": "q9", "choice": "o0", "time": ""}]},
            _INVALID,
        ),
        (
            {"study": "abc", "participant": "p", "answers": [{"question": "q0", "choice": [], "time": ""}]},
            _INVALID,
        ),
        (
            {"study": "abc", "participant": "p", "answers": [{"question": "q0", "choice": "o0", "time": 5}]},
            _INVALID,
        ),
        (WRONG_CHOICE, _INVALID),
        (KEY, _INVALID),
    ],
)
def test_score_rejects_other_answers(files, refused, content, word):
    (good, bad), key = files(answers("p", "ooo"), content)
    line = refused(cli.main(["study", "score", good, bad, "--key", key]))
    assert line.startswith(f"fomm: {bad}") and word in line


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}", b"[]", json.dumps(KEY | {"questions": {}}).encode()]
)
def test_score_rejects_a_broken_key(files, refused, tmp_path, content):
    (good,), _ = files(answers("p", "ooo"))
    (tmp_path / "bad.key.json").write_bytes(content)
    assert "bad.key.json is not" in refused(cli.main(["study", "score", good, "--key", str(tmp_path / "bad.key.json")]))


def test_score_rejects_an_invalid_key(files, refused, tmp_path):
    (good,), _ = files(answers("p", "ooo"))
    question = KEY["questions"]["q0"]
    for change in (
        {"methods": ["ours", "ours"]},
        {"methods": 5},
        {"study": []},
        {"questions": {"q0": question | {"choices": {"o0": "ours"}}}},
        {"questions": {"q0": {"source": "x"}}},
        {"more": 1},
    ):
        path = write(tmp_path / "bad.key.json", KEY | change)
        assert "is not the key of a study" in refused(cli.main(["study", "score", good, "--key", path])), change


def test_score_names_a_missing_file(files, refused):
    (good,), key = files(answers("p", "ooo"))
    assert "gone.json cannot be read" in refused(cli.main(["study", "score", good, "gone.json", "--key", key]))
    assert "--key" in refused(cli.main(["study", "score", good]))
