"""Makes a study: one clip a question, the page that shows them, the key."""

from __future__ import annotations

import base64
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
from fomm_tf.study import key as keys

QUESTION = "Which of the two results is the more realistic animation of the picture?"
_PARTS = ("page.css", "page.js")


class Pair(NamedTuple):
    """What a question is made of.

    Attributes:
      source: the picture.
      driving: the video.
      results: what each of the two methods makes of them.
      names: source and driving as the key is to call them.
    """

    source: pathlib.Path
    driving: pathlib.Path
    results: tuple[pathlib.Path, pathlib.Path]
    names: tuple[str, str]


class _Opened(NamedTuple):
    """A pair that was found good: all at the rate of the results, `size` is that of each part of the clip."""

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
) -> keys.Key:
    """Writes the page and the key of a study.

    All clips are encoded anew and alike, so that neither quality nor metadata tell the methods apart.

    Args:
      pairs: the questions.
      methods: names of the two methods, in the order of each pair's results.
      page: the HTML file to write.
      key: the JSON file to write; must not exist, since answers to its page would be lost with it.
      name: of the study, for its table; the page does not show it.
      seed: what the order and the ids are drawn from.
      question: what to ask.
      fit: how source and driving get the results' size; see `fomm_tf.video.resize`.
      start: where in the driving videos the results begin, in seconds.
      track: goes through the pairs, and may show how far it is.

    Returns:
      The key.

    Raises:
      errors.UserError: if a file cannot be read or written, the results of a pair differ in length, rate or
        proportions, or the methods have one name.
    """
    if methods[0] == methods[1]:
        raise errors.UserError(f"Both methods are called {methods[0]!r}; give them two names.")
    if key.exists():
        raise errors.UserError(f"{key} already exists, and answers to its page need it; give another --out.")
    for path in (page, key):
        if path.is_dir():
            raise errors.UserError(f"{path} is a folder; name a file.")
    opened = [_open(pair, start) for pair in pairs]
    drawn = random.Random(seed)
    # Of two in a row one has the methods exchanged: as good as half of all, before they are shuffled.
    flipped = [number % 2 == 0 for number in range(len(pairs))]
    flip_all = drawn.random() < 0.5
    drawn.shuffle(flipped)
    shown, kept = [], {}
    with files.replace_atomically(key) as key_file, files.replace_atomically(page) as page_file:
        for entry, flip in zip(track(opened), flipped, strict=True):
            flip ^= flip_all
            identity, *choices = (f"{drawn.getrandbits(48):012x}" for _ in range(3))
            source, clip = _encode(entry, flip, fit)
            shown.append({"id": identity, "choices": choices, "size": entry.size, "source": source, "clip": clip})
            order = methods[::-1] if flip else methods
            kept[identity] = keys.Question(*entry.pair.names, dict(zip(choices, order, strict=True)))
        study = hashlib.sha256(json.dumps([question, shown]).encode()).hexdigest()[:16]
        made = keys.Key(study, name, methods, seed, kept)
        page_file.write_text(_page(study, question, shown), encoding="utf-8")
        key_file.write_text(made.text(), encoding="utf-8")
    return made


def _open(pair: Pair, start: float) -> _Opened:
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
    return _Opened(pair, video.open_video(pair.driving, start or None, None, a.fps), results, max(a.size, b.size))


def _encode(entry: _Opened, flip: bool, fit: str) -> tuple[str, str]:
    """The source and the clip (driving, left and right result, beside each other) as data URIs."""
    with tempfile.TemporaryDirectory() as name:
        clip, picture = pathlib.Path(name, "clip.mp4"), pathlib.Path(name, "source.png")
        video.write_image(picture, video.resize(video.read_image(entry.pair.source), entry.size, fit))
        left, right = entry.results[::-1] if flip else entry.results
        with video.write_video(clip, left.fps) as writer:
            for frames in itertools.zip_longest(left, right, itertools.islice(entry.driving, left.frame_count)):
                if any(frame is None for frame in frames):
                    raise errors.UserError(
                        f"{entry.driving.path} ends before {entry.results[0].path} and {entry.results[1].path} do, or "
                        f"one of these before the other, at {float(writer.count / left.fps):g} s; were they made from "
                        "it, with this --start?"
                    )
                results = [video.resize(frame, entry.size, "stretch") for frame in frames[:2]]
                writer.write(np.concatenate([video.resize(frames[2], entry.size, fit), *results], axis=1))
        return _data_uri("image/png", picture), _data_uri("video/mp4", clip)


def _data_uri(kind: str, path: pathlib.Path) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _page(study: str, question: str, shown: list[dict]) -> str:
    folder = pathlib.Path(__file__).parent
    # "</script>" in a text must not end the element that holds it.
    data = json.dumps({"study": study, "questions": shown}).replace("<", "\\u003c")
    filled = {"question": html.escape(question), "data": data}
    filled |= {name: (folder / name).read_text(encoding="utf-8") for name in _PARTS}
    # Piece by piece: what is put in is not looked through for further marks.
    pieces = (folder / "page.html").read_text(encoding="utf-8").split("@@")
    return "".join(filled[piece] if number % 2 else piece for number, piece in enumerate(pieces))
