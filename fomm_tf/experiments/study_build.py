"""User study as in the paper's Table 2: builds the page for participants, and its key.

A study is two files. The page is one HTML file with all images and clips in it, which asks one question at a time and
exports the answers as JSON. The key stays with the author of the study: it maps each choice to a method. The page
holds random ids only, so that the methods cannot be inferred from it.

Convention:
  * a question shows the source, the driving clip and a result of each of two methods, all in one synchronous clip;
  * a choice is one of the two ids of a question, regardless of the side it was shown on;
  * each method is on the left in half of the questions (randomly rounded); a participant's page shows all sides as they
    are or all mirrored, and the questions in a random order.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import itertools
import json
import pathlib
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, files, video

QUESTION = "Which of the two results is the more realistic animation of the picture?"
_ASSETS = pathlib.Path(__file__).parent / "assets"
_PARTS = ("page.css", "page.js")


class Pair(NamedTuple):
    """The files of a question."""

    source: pathlib.Path  # the image
    driving: pathlib.Path  # the video
    results: tuple[pathlib.Path, pathlib.Path]  # the animations by the two methods
    names: tuple[str, str]  # source and driving as the key names them


@dataclasses.dataclass(frozen=True)
class Question:
    """A question in the key."""

    source: str  # the image, as the list of pairs names it
    driving: str  # the video, as the list of pairs names it
    choices: dict[str, str]  # choice id -> method; the first is on the left where the page is not mirrored


@dataclasses.dataclass(frozen=True)
class Key:
    """The key of a study."""

    study: str  # the id in the page and in the answers
    name: str  # of the study in the table of scores, such as its data set
    methods: tuple[str, str]  # the two methods; shares are those of the first
    seed: int  # of the order and the ids
    questions: dict[str, Question]  # by id

    def text(self) -> str:
        """The key as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_key(path: str | pathlib.Path) -> Key:
    """Reads a key that `build` wrote.

    Raises:
      errors.UserError: if it cannot be read or is not a key.
    """
    tree = files.read_json(pathlib.Path(path))
    try:
        questions = {name: Question(**question) for name, question in tree.pop("questions").items()}
        key = Key(**tree | {"methods": tuple(tree["methods"]), "questions": questions})
        valid = bool(questions) and len(key.methods) == 2 and isinstance(key.study, str)
        valid = valid and all(
            sorted(key.methods) == sorted(question.choices.values()) for question in questions.values()
        )
    except (AttributeError, KeyError, TypeError):
        valid = False
    if not valid:
        raise errors.UserError(f"{path} is not the key of a study; give the .key.json that fomm study build wrote.")
    return key


class _Clip(NamedTuple):
    """An opened pair; the videos have the frame rate of the results, and `size` is that of each part of the clip."""

    pair: Pair
    driving: video.Video
    results: tuple[video.Video, video.Video]
    size: tuple[int, int]


def build(
    pairs: Sequence[Pair],
    methods: tuple[str, str],
    page: pathlib.Path,
    key: pathlib.Path,
    *,
    name: str,
    seed: int,
    question: str = QUESTION,
    fit: str = "crop",
    start: float = 0.0,
    track: Callable[[Sequence], Iterable] = iter,
) -> Key:
    """Writes the page and the key of a study.

    All clips are re-encoded in the same way, so that neither quality nor metadata identifies a method.

    Args:
      pairs: the questions.
      methods: names of the two methods, in the order of each pair's results.
      page: the HTML file to write.
      key: the JSON file to write; must not exist, since answers to its page depend on it.
      name: of the study in its table; the page does not show it.
      seed: of the order and the ids.
      question: the text of the question.
      fit: how source and driving video are resized to the results' size; see `fomm_tf.video.resize`.
      start: where in the driving videos the results start, in seconds.
      track: wraps the pairs, such as in a progress bar.

    Returns:
      The key.

    Raises:
      errors.UserError: if a file cannot be read or written, the results of a pair differ in length, frame rate or
        aspect ratio, or the methods have the same name.
    """
    if methods[0] == methods[1]:
        raise errors.UserError(f"Both methods are called {methods[0]!r}; give them different names.")
    if key.exists():
        raise errors.UserError(f"{key} already exists, and answers to its page need it; give another `out`.")
    for path in (page, key):
        if path.is_dir():
            raise errors.UserError(f"{path} is a directory; name a file.")
    clips = [_open(pair, start) for pair in pairs]
    generator = random.Random(seed)
    # Every other question has the methods swapped, so that half of all have; then these are shuffled.
    swapped = [index % 2 == 0 for index in range(len(pairs))]
    swap_all = generator.random() < 0.5
    generator.shuffle(swapped)
    page_questions, key_questions = [], {}
    with files.replace_atomically(key) as key_file, files.replace_atomically(page) as page_file:
        for clip, swap in zip(track(clips), swapped, strict=True):
            swap ^= swap_all
            identity, *choices = (f"{generator.getrandbits(48):012x}" for _ in range(3))
            source, data = _encode(clip, swap, fit)
            page_questions.append(
                {"id": identity, "choices": choices, "size": clip.size, "source": source, "clip": data}
            )
            order = methods[::-1] if swap else methods
            key_questions[identity] = Question(*clip.pair.names, dict(zip(choices, order, strict=True)))
        study = hashlib.sha256(json.dumps([question, page_questions]).encode()).hexdigest()[:16]
        result = Key(study, name, methods, seed, key_questions)
        page_file.write_text(_page(study, question, page_questions), encoding="utf-8")
        key_file.write_text(result.text(), encoding="utf-8")
    return result


def _open(pair: Pair, start: float) -> _Clip:
    a, b = results = tuple(map(video.open_video, pair.results))
    for what, first, second in (
        ("frames a second", a.fps, b.fps),
        ("frames", a.frame_count, b.frame_count),
        ("times as wide as high", round(a.size[1] / a.size[0], 2), round(b.size[1] / b.size[0], 2)),
    ):
        if first != second:
            raise errors.UserError(
                f"{a.path} and {b.path} cannot be compared: {float(first):g} and {float(second):g} {what}; animate "
                "the pair with the same options."
            )
    video.read_image(pair.source)
    return _Clip(pair, video.open_video(pair.driving, start or None, None, a.fps), results, max(a.size, b.size))


def _encode(clip: _Clip, swap: bool, fit: str) -> tuple[str, str]:
    """The source and the clip (driving, left and right result side by side) as data URIs."""
    with tempfile.TemporaryDirectory() as name:
        clip_file, image_file = pathlib.Path(name, "clip.mp4"), pathlib.Path(name, "source.png")
        video.write_image(image_file, video.resize(video.read_image(clip.pair.source), clip.size, fit))
        left, right = clip.results[::-1] if swap else clip.results
        with video.write_video(clip_file, left.fps) as writer:
            for frames in itertools.zip_longest(left, right, itertools.islice(clip.driving, left.frame_count)):
                if any(frame is None for frame in frames):
                    raise errors.UserError(
                        f"{clip.driving.path} ends before {clip.results[0].path} and {clip.results[1].path}, or one of "
                        f"these before the other, at {float(writer.count / left.fps):g} s; check that they were made "
                        "from it, with this `start`."
                    )
                results = [video.resize(frame, clip.size, "stretch") for frame in frames[:2]]
                writer.write(np.concatenate([video.resize(frames[2], clip.size, fit), *results], axis=1))
        return _data_uri("image/png", image_file), _data_uri("video/mp4", clip_file)


def _data_uri(kind: str, path: pathlib.Path) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _page(study: str, question: str, page_questions: list[dict]) -> str:
    # "</script>" in a text must not close the element that holds the data.
    data = json.dumps({"study": study, "questions": page_questions}).replace("<", "\\u003c")
    parts = {"question": html.escape(question), "data": data}
    parts |= {name: (_ASSETS / name).read_text(encoding="utf-8") for name in _PARTS}
    # Split once: placeholders in inserted texts are not replaced.
    pieces = (_ASSETS / "page.html").read_text(encoding="utf-8").split("@@")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))
