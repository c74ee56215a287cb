"""`fomm study` in its own process: build, answer, score."""

import json
import re
import subprocess
import sys

import numpy as np

from fomm_tf import video

# Ends with 3 if TensorFlow was loaded: nothing of a study needs it.
COMMAND = "import sys; from fomm_tf import cli; sys.exit(cli.main(sys.argv[1:]) or 3 * ('tensorflow' in sys.modules))"


def run(*arguments):
    command = [sys.executable, "-c", COMMAND, "study", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_study_from_pairs_to_a_table(tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\none.png,walk\ntwo.png,walk\n")
    frames = np.zeros((6, 32, 32, 3), np.uint8)
    for name in ("one", "two"):
        video.write_image(tmp_path / f"{name}.png", frames[0])
    for place in ("walk", "ours/one--walk.mp4", "ours/two--walk.mp4", "theirs/one--walk.mp4", "theirs/two--walk.mp4"):
        with video.write_video(tmp_path / place, 25) as writer:
            for frame in frames:
                writer.write(frame)
    page, methods = (
        tmp_path / "out" / "page.html",
        [f"--{a}={b}={tmp_path / b}" for a, b in (("a", "ours"), ("b", "theirs"))],
    )
    printed = run(
        "build", "--pairs", tmp_path / "pairs.csv", "--data", tmp_path, *methods, "--out", page, "--name", "Drawn"
    )
    assert re.fullmatch(
        rf"{page}: 2 questions, 0\.\d\d MB\n{page.with_suffix('.key.json')}: the key of the study .*\n", printed
    )
    assert sorted(path.name for path in page.parent.iterdir()) == ["page.html", "page.key.json"]

    key = json.loads(page.with_suffix(".key.json").read_text())
    rows = []
    for question, entry in key["questions"].items():
        ours = next(choice for choice, method in entry["choices"].items() if method == "ours")
        rows.append({"question": question, "choice": ours, "time": "2026-01-01T10:00:00Z"})
    answers = {"study": key["study"], "participant": "p", "answers": rows}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    printed = run("score", tmp_path / "answers.json", "--key", page.with_suffix(".key.json"))
    assert "| Drawn | ours over theirs | 100.0 % (15.8 to 100.0) | 2 | 1 |" in printed
    assert printed.count("| walk | 100.0 % (2.5 to 100.0) | 1 |") == 2
