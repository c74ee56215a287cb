"""`python -m serving animate`: against a server of a few sums, and beside `fomm animate` against the embedded one."""

import io
import sys

import av
import fakes
import numpy as np
import pytest
import servers

from fomm_tf import cli, demo, video
from serving import __main__ as command

CLIP = np.random.default_rng(1).integers(0, 256, (11, 6, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def running():
    with fakes.serve() as server:
        yield server


@pytest.fixture
def server(running):
    running.asked.clear()
    running.faults.clear()
    return running


@pytest.fixture
def footage(tmp_path):
    """A picture and a clip of 11 frames at 10 a second, lossless, of the model's size."""
    video.write_image(tmp_path / "source.png", CLIP[3])
    with video.write_video(tmp_path / "driving", 25) as writer:
        for frame in CLIP:
            writer.write(frame)
    return tmp_path


@pytest.fixture
def arguments(server, footage):
    def make(*options, **changes):
        values = {
            "server": server.rest,
            "source": footage / "source.png",
            "driving": footage / "driving",
            "out": footage / "out",
        } | changes
        return ["animate", *(str(part) for key, value in values.items() for part in (f"--{key}", value)), *options]

    return make


def assert_refused(capsys, argv, *words):
    capsys.readouterr()
    assert command.main(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def expected(server, frames=CLIP, source=CLIP[3], relative=True, adapt_scale=False):
    """The model's own answer for the whole clip."""
    switches = {"relative": np.array([relative]), "adapt_scale": np.array([adapt_scale])}
    initial = {"initial_value": np.zeros((1, 2, 2), np.float32), "initial_jacobian": np.zeros((1, 2, 2, 2), np.float32)}
    clip = {"source": source[None], "driving": frames[None], "use_initial": np.array([False])}
    return server.model.predict("animate_uint8", clip | switches | initial)["frames"][0]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_frames_are_the_servers(server, arguments, footage, capsys, protocol):
    place = getattr(server, protocol)
    assert command.main(arguments("--protocol", protocol, "--batch-size", "4", server=place)) == 0
    assert capsys.readouterr() == (f"{footage / 'out'}: 11 frames\n", "")
    np.testing.assert_array_equal(list(video.open_video(footage / "out")), expected(server))
    assert [asked.inputs["driving"].shape[:2] for asked in server.asked] == [(1, 4)] * 3


def test_every_option_at_once(server, arguments, footage, capsys):
    video.write_image(footage / "source.png", np.repeat(CLIP[3], 2, axis=0))
    options = "--mode absolute --adapt-scale --fit stretch --start 0.2 --duration 0.4 --fps 10 --label stable --quiet"
    options += " --no-audio --no-tag --model fomm --timeout 20 --patience 1 --batch-size 3"
    assert command.main(arguments(*options.split(), out=footage / "out.mp4")) == 0
    assert capsys.readouterr() == ("", "")
    clip = video.open_video(footage / "out.mp4")
    assert (clip.fps, clip.size, len(list(clip))) == (10, (6, 8), 4)
    assert comment(footage / "out.mp4") is None
    first, second = server.asked
    assert (first.place, first.inputs["relative"].tolist(), first.inputs["adapt_scale"].tolist()) == (
        *("/labels/stable", [False], [True]),
    )
    wanted = video.resize(np.repeat(CLIP[3], 2, axis=0), (6, 8), "stretch")
    np.testing.assert_array_equal(first.inputs["source"], wanted[None])
    sent = np.concatenate([first.inputs["driving"][0], second.inputs["driving"][0]])
    np.testing.assert_array_equal(sent, CLIP[[2, 3, 4, 5, 5, 5]])


def test_a_version_is_named_and_other_sizes_are_cut(server, arguments, footage):
    large = np.repeat(np.repeat(CLIP, 3, axis=1), 4, axis=2)
    with video.write_video(footage / "large", 25) as writer:
        for frame in large:
            writer.write(frame)
    assert command.main(arguments("--version", "7", driving=footage / "large")) == 0
    assert {asked.place for asked in server.asked} == {"/versions/7"}
    cut = np.stack([video.resize(frame, (6, 8), "crop") for frame in large])
    np.testing.assert_array_equal(list(video.open_video(footage / "out")), expected(server, cut))


def comment(path):
    with av.open(str(path)) as container:
        return container.metadata.get("comment")


def write_talking(path):
    """A second of the clip with a tone under it."""
    with av.open(str(path), "w") as container:
        pictures, sound = container.add_stream("libx264", 10), container.add_stream("aac", 16000, layout="mono")
        pictures.width, pictures.height, pictures.pix_fmt = 32, 24, "yuv420p"
        for frame in CLIP[:10]:
            large = np.ascontiguousarray(np.repeat(np.repeat(frame, 4, axis=0), 4, axis=1))
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(large)))
        tone = np.int16(10_000 * np.sin(np.arange(16_000) * 0.2))
        for begin in range(0, len(tone), 1000):
            frame = av.AudioFrame.from_ndarray(tone[None, begin : begin + 1000], "s16", "mono")
            frame.sample_rate, frame.pts = 16000, begin
            container.mux(sound.encode(frame))
        container.mux(pictures.encode())
        container.mux(sound.encode())


def test_sound_and_a_note_go_along(arguments, footage):
    write_talking(footage / "talking.mp4")
    for options, heard, note in ([[], True, "animated with fomm-tf"], [["--no-audio", "--no-tag"], False, None]):
        driven = arguments(*options, driving=footage / "talking.mp4", out=footage / "out.mp4")
        assert command.main(driven) == 0
        assert video.open_video(footage / "out.mp4").has_audio == heard
        assert comment(footage / "out.mp4") == note
        assert len(list(video.open_video(footage / "out.mp4"))) == 10


def test_a_terminal_sees_the_progress(arguments, footage, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for options, shown in ([], True), (["--quiet"], False):
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert command.main(arguments(*options)) == 0
        assert ("11/11" in sys.stderr.getvalue()) == shown
        assert shown or not sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ([], {"source": "away.png"}, ["away.png"]),
        ([], {"driving": "away.mp4"}, ["away.mp4"]),
        ([], {"out": "out.avi"}, ["out.avi", ".mp4"]),
        (["--start", "9"], {}, ["`start` 9 s is after the last frame"]),
        (["--fps", "0"], {}, ["`fps` must be"]),
        ([], {"server": "localhost"}, ["server is 'localhost'; give HOST:PORT"]),
        (["--batch-size", "0"], {}, ["batch_size is 0; give 1 or more"]),
        (["--timeout", "0"], {}, ["timeout is 0 s"]),
        (["--version", "1", "--label", "stable"], {}, ["--label", "not allowed with argument --version"]),
        (["--protocol", "soap"], {}, ["--protocol", "soap"]),
    ],
)
def test_mistakes_are_refused_before_a_frame_is_sent(server, arguments, footage, capsys, options, changes, words):
    before = names(footage)
    assert_refused(capsys, arguments(*options, **changes), *words)
    assert names(footage) == before
    assert not server.asked


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_without_a_server_one_line_says_how_to_start_one(arguments, footage, capsys, protocol):
    before, place = names(footage), f"localhost:{servers.free_port()}"
    words = f"No server answers at {place}", "python -m serving local --model DIR"
    assert_refused(capsys, arguments("--patience", "0.2", "--protocol", protocol, server=place), *words)
    assert names(footage) == before


@pytest.mark.parametrize("out", ["out", "out.mp4"])
def test_a_server_that_fails_within_the_clip_leaves_nothing_half_written(server, arguments, footage, capsys, out):
    server.faults.extend([None, 500])
    before = names(footage)
    words = "refuses animate_uint8 of model fomm: INTERNAL: made to answer 500; see the server's log."
    assert_refused(capsys, arguments("--batch-size", "4", out=footage / out), words)
    assert len(server.asked) == 2
    assert names(footage) == before


def test_packages_that_are_missing_are_named(arguments, capsys, monkeypatch):
    import serving

    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "serving.rest", raising=False)
    monkeypatch.delattr(serving, "rest", raising=False)
    assert_refused(capsys, arguments(), "protocol rest needs", "httpx", 'pip install -e ".[serving]"')


@pytest.fixture(scope="module")
def animated(tmp_path_factory):
    """What `fomm animate` makes, and from what."""
    folder = tmp_path_factory.mktemp("animated")
    video.write_image(folder / "source.png", demo.draw_image(150))
    with video.write_video(folder / "driving", 25) as writer:
        for frame in demo.draw_clip(140, 11):
            writer.write(frame)
    given = ["animate", "--source", str(folder / "source.png"), "--driving", str(folder / "driving"), "--quiet"]
    assert cli.main([*given, "--out", str(folder / "out")]) == 0
    return given, np.int16(list(video.open_video(folder / "out")))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_embedded_server_gives_what_fomm_animate_gives(embedded, animated, tmp_path, protocol):
    given, here = animated
    options = ["--out", str(tmp_path / "out"), "--server", getattr(embedded, protocol), "--protocol", protocol]
    assert command.main([*given, *options]) == 0
    there = np.int16(list(video.open_video(tmp_path / "out")))
    assert here.shape == there.shape == (11, 128, 128, 3)
    assert np.abs(here - there).max() <= 1
    assert (here == there).mean() > 0.99
    assert here.std(axis=0).max() > 5, "it moves"
