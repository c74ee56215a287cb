"""The page and the key that `fomm study build` writes."""

import base64
import json
import re

import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.experiments import study_build


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def clip_of(question, folder):
    (folder / "clip.mp4").write_bytes(base64.b64decode(question["clip"].split(",")[1]))
    return np.stack(list(video.open_video(folder / "clip.mp4")))


def test_build_clip_shows_driving_and_results_in_the_order_of_the_key(built, tmp_path):
    questions = data_of(built.text)["questions"]
    assert len(questions) == 5
    for question in questions:
        frames = clip_of(question, tmp_path)
        assert frames.shape == (12, 32, 96, 3) and question["size"] == [32, 32]
        methods = built.key.questions[question["id"]].choices
        assert list(methods) == question["choices"]
        parts = [frames[:, 16, 32 * part + 16].mean(axis=0) for part in range(3)]
        strongest = {"plain": 0, "other": 2}
        assert [part.argmax() for part in parts] == [1, *(strongest[method] for method in methods.values())]


def test_build_resizes_the_source_like_the_model_input(built, tmp_path):
    (tmp_path / "source.png").write_bytes(base64.b64decode(data_of(built.text)["questions"][2]["source"].split(",")[1]))
    assert (video.read_image(tmp_path / "source.png") == 40).all()
    assert video.read_image(tmp_path / "source.png").shape == (32, 32, 3)


def test_build_page_hides_methods_and_files_and_loads_nothing(built):
    text = re.sub(r'"data:[^"]*"', "", built.text)
    for word in ("plain", "other", "walk", "s0", "fomm-tf"):
        assert not re.search(rf"\b{word}\b", text), word
    assert not re.search(r"https?:|//[a-z]|\bfetch\(|XMLHttpRequest|@import|url\(", text)


def test_build_strips_metadata_of_the_clips(built):
    for question in data_of(built.text)["questions"]:
        assert b"animated" not in base64.b64decode(question["clip"].split(",")[1])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_build_puts_each_method_on_the_left_in_half_of_the_questions(inputs, build, tmp_path, count):
    folder = inputs(count)
    lefts = []
    for seed in range(6):
        key = tmp_path / f"{seed}.key.json"
        assert build(folder, out=tmp_path / f"{seed}.html", seed=seed) == 0
        first = [next(iter(question.choices.values())) for question in study_build.read_key(key).questions.values()]
        assert abs(first.count("plain") - first.count("other")) == count % 2
        lefts.append(tuple(first))
    assert len(set(lefts)) > 1


def test_build_is_deterministic_in_the_seed(inputs, build, tmp_path, built):
    folder = tmp_path
    assert build(folder, out=tmp_path / "again.html") == 0
    assert (tmp_path / "again.html").read_bytes() == built.page.read_bytes()
    assert study_build.read_key(tmp_path / "again.key.json").study == built.key.study
    assert build(folder, out=tmp_path / "third.html", seed=4) == 0
    assert study_build.read_key(tmp_path / "third.key.json").study != built.key.study


def test_build_escapes_the_question(inputs, build, tmp_path):
    assert build(inputs(1), question="Which is <b>better</b> & why? @@data@@ </script>") == 0
    text = (tmp_path / "page.html").read_text()
    assert text.count("Which is &lt;b&gt;better&lt;/b&gt; &amp; why? @@data@@ &lt;/script&gt;") == 2


def test_build_resizes_results_of_different_sizes(inputs, build, tmp_path):
    folder = inputs(1)
    _rewrite(folder, size=(64, 64))
    assert build(folder) == 0
    (question,) = data_of((tmp_path / "page.html").read_text())["questions"]
    assert question["size"] == [64, 64] and clip_of(question, tmp_path).shape == (12, 64, 192, 3)


def _rewrite(folder, size=(32, 32), frames=12, fps=25, name="other/s0--walk.mp4"):
    with video.write_video(folder / name, fps) as writer:
        for _ in range(frames):
            writer.write(np.zeros((*size, 3), np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "other" / "s0--walk.mp4").unlink(), ["s0--walk.mp4 does not exist"]),
        (lambda folder: (folder / "s0.png").unlink(), ["s0.png does not exist"]),
        (lambda folder: (folder / "walk.mp4").write_bytes(b"no video at all"), ["walk.mp4"]),
        (lambda folder: _rewrite(folder, frames=9), ["12 and 9 frames", "same options"]),
        (lambda folder: _rewrite(folder, fps=20, frames=12), ["25 and 20 frames a second"]),
        (lambda folder: _rewrite(folder, size=(32, 48)), ["1 and 1.5 times as wide as high"]),
        (lambda folder: _rewrite(folder, frames=4, name="walk.mp4"), ["walk.mp4 ends before", "0.16 s", "--start"]),
        (lambda folder: (folder / "pairs.csv").write_text("a,b\n1,2\n"), ["columns source and driving"]),
    ],
    ids=["no result", "no source", "no video", "lengths", "rates", "proportions", "short driving", "columns"],
)
def test_build_rejects_mismatched_files_and_writes_nothing(inputs, build, refused, tmp_path, change, words):
    folder = inputs(1)
    change(folder)
    before = sorted(tmp_path.iterdir())
    line = refused(build(folder))
    assert all(word in line for word in words), line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"a": "plain"}, ["--a is 'plain'", "NAME=DIR"]),
        ({"b": "other=nowhere"}, ["--b nowhere is not a directory"]),
        ({"b": "plain=."}, ["Both methods are called 'plain'"]),
        ({"out": "page.mp4"}, ["ends in .html"]),
        ({"start": -1}, ["--start must be 0 seconds or more; got -1"]),
        ({"seed": "x"}, ["--seed", "see fomm study build --help"]),
    ],
)
def test_build_rejects_bad_arguments(inputs, build, refused, changes, words):
    line = refused(build(inputs(1), **changes))
    assert all(word in line for word in words), line


def test_build_never_overwrites_a_key(inputs, build, refused, tmp_path, built):
    kept = built.path.read_bytes()
    assert "page.key.json already exists" in refused(build(tmp_path, seed=9))
    assert built.path.read_bytes() == kept and built.page.read_text() == built.text


def test_build_refuses_a_directory_as_page(inputs, build, refused, tmp_path):
    (tmp_path / "page.html").mkdir()
    assert "page.html is a directory; name a file" in refused(build(inputs(1)))
    assert not list((tmp_path / "page.html").iterdir()) and not (tmp_path / "page.key.json").exists()


def test_build_leaves_nothing_when_interrupted(inputs, tmp_path):
    folder = inputs(2)
    before = sorted(tmp_path.iterdir())

    def interrupted(entries):
        yield entries[0]
        raise KeyboardInterrupt

    results = folder / "plain" / "s0--walk.mp4", folder / "other" / "s0--walk.mp4"
    pair = study_build.Pair(folder / "s0.png", folder / "walk.mp4", results, ("s0.png", "walk.mp4"))
    with pytest.raises(KeyboardInterrupt):
        study_build.build(
            [pair, pair],
            ("plain", "other"),
            tmp_path / "page.html",
            tmp_path / "key.json",
            name="",
            seed=1,
            track=interrupted,
        )
    assert sorted(tmp_path.iterdir()) == before
