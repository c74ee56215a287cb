"""`fomm client animate`: with the fake server, and compared with `fomm animate` with the embedded one."""

import io
import sys

import av
import drawn_heads
import numpy as np
import pytest
import servers

from fomm_tf import cli, video

CLIP = np.random.default_rng(1).integers(0, 256, (11, 6, 8, 3), np.uint8)


@pytest.fixture
def inputs(tmp_path):
    """A directory with an image and a clip of 11 frames at 25 frames per second, lossless, of the model's size."""
    video.write_image(tmp_path / "source.png", CLIP[3])
    with video.write_video(tmp_path / "driving", 25) as writer:
        for frame in CLIP:
            writer.write(frame)
    return tmp_path


@pytest.fixture
def arguments(fake, inputs):
    def make(*options, **changes):
        values = {
            "server": fake.rest,
            "source": inputs / "source.png",
            "driving": inputs / "driving",
            "out": inputs / "out",
        } | changes
        return [
            "client",
            "animate",
            *(str(part) for key, value in values.items() for part in (f"--{key}", value)),
            *options,
        ]

    return make


def assert_user_error(capsys, argv, *words):
    capsys.readouterr()
    assert cli.main(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def file_names(directory):
    return sorted(path.name for path in directory.iterdir())


def expected_frames(fake, frames=CLIP, source=CLIP[3], relative=True, adapt_scale=False):
    """Returns the model's result for the whole clip at once."""
    options_inputs = {"relative": np.array([relative]), "adapt_scale": np.array([adapt_scale])}
    initial = {"initial_value": np.zeros((1, 2, 2), np.float32), "initial_jacobian": np.zeros((1, 2, 2, 2), np.float32)}
    clip = {"source": source[None], "driving": frames[None], "use_initial": np.array([False])}
    return fake.model.predict("animate_uint8", clip | options_inputs | initial)["frames"][0]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_client_animate_writes_the_server_frames(fake, arguments, inputs, capsys, protocol):
    address = getattr(fake, protocol)
    assert cli.main(arguments("--protocol", protocol, "--batch-size", "4", server=address)) == 0
    assert capsys.readouterr() == (f"{inputs / 'out'}: 11 frames\n", "")
    np.testing.assert_array_equal(list(video.open_video(inputs / "out")), expected_frames(fake))
    assert [request.inputs["driving"].shape[:2] for request in fake.requests] == [(1, 4)] * 3


def test_client_animate_uses_every_option(fake, arguments, inputs, capsys):
    video.write_image(inputs / "source.png", np.repeat(CLIP[3], 2, axis=0))
    options = "--mode absolute --adapt-scale --fit stretch --start 0.2 --duration 0.4 --fps 10 --label stable --quiet"
    options += " --no-audio --no-tag --model fomm --timeout 20 --retry-timeout 1 --batch-size 3"
    assert cli.main(arguments(*options.split(), out=inputs / "out.mp4")) == 0
    assert capsys.readouterr() == ("", "")
    clip = video.open_video(inputs / "out.mp4")
    assert (clip.fps, clip.size, len(list(clip))) == (10, (6, 8), 4)
    assert comment(inputs / "out.mp4") is None
    first, second = fake.requests
    assert (first.version_path, first.inputs["relative"].tolist(), first.inputs["adapt_scale"].tolist()) == (
        *("/labels/stable", [False], [True]),
    )
    resized = video.resize(np.repeat(CLIP[3], 2, axis=0), (6, 8), "stretch")
    np.testing.assert_array_equal(first.inputs["source"], resized[None])
    sent = np.concatenate([first.inputs["driving"][0], second.inputs["driving"][0]])
    np.testing.assert_array_equal(sent, CLIP[[2, 3, 4, 5, 5, 5]])


def test_client_animate_requests_the_version_and_crops_other_sizes(fake, arguments, inputs):
    large = np.repeat(np.repeat(CLIP, 3, axis=1), 4, axis=2)
    with video.write_video(inputs / "large", 25) as writer:
        for frame in large:
            writer.write(frame)
    assert cli.main(arguments("--version", "7", driving=inputs / "large")) == 0
    assert {request.version_path for request in fake.requests} == {"/versions/7"}
    cropped = np.stack([video.resize(frame, (6, 8), "crop") for frame in large])
    np.testing.assert_array_equal(list(video.open_video(inputs / "out")), expected_frames(fake, cropped))


def comment(path):
    with av.open(str(path)) as container:
        return container.metadata.get("comment")


def write_clip_with_audio(path):
    """Writes a second of the clip with a tone."""
    with av.open(str(path), "w") as container:
        images, audio = container.add_stream("libx264", 10), container.add_stream("aac", 16000, layout="mono")
        images.width, images.height, images.pix_fmt = 32, 24, "yuv420p"
        for frame in CLIP[:10]:
            large = np.ascontiguousarray(np.repeat(np.repeat(frame, 4, axis=0), 4, axis=1))
            container.mux(images.encode(av.VideoFrame.from_ndarray(large)))
        tone = np.int16(10_000 * np.sin(np.arange(16_000) * 0.2))
        for start in range(0, len(tone), 1000):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1000], "s16", "mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(audio.encode(frame))
        container.mux(images.encode())
        container.mux(audio.encode())


def test_client_animate_keeps_audio_and_writes_the_tag(arguments, inputs):
    write_clip_with_audio(inputs / "audio.mp4")
    for options, has_audio, tag in ([[], True, "animated with fomm-tf"], [["--no-audio", "--no-tag"], False, None]):
        argv = arguments(*options, driving=inputs / "audio.mp4", out=inputs / "out.mp4")
        assert cli.main(argv) == 0
        assert video.open_video(inputs / "out.mp4").has_audio is has_audio
        assert comment(inputs / "out.mp4") == tag
        assert len(list(video.open_video(inputs / "out.mp4"))) == 10


def test_client_animate_shows_progress_on_a_terminal(arguments, inputs, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for options, shown in ([], True), (["--quiet"], False):
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert cli.main(arguments(*options)) == 0
        assert ("11/11" in sys.stderr.getvalue()) == shown
        assert shown or not sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ([], {"source": "away.png"}, ["away.png"]),
        ([], {"driving": "away.mp4"}, ["away.mp4"]),
        ([], {"out": "out.avi"}, ["out.avi", ".mp4"]),
        (["--start", "9"], {}, ["--start 9 s is after the last frame"]),
        (["--fps", "0"], {}, ["--fps must be"]),
        ([], {"server": "localhost"}, ["--server: got 'localhost'; expected HOST:PORT"]),
        (["--batch-size", "0"], {}, ["--batch-size: got 0; expected at least 1"]),
        (["--timeout", "0"], {}, ["--timeout: got 0 s"]),
        (["--version", "1", "--label", "stable"], {}, ["--label", "not allowed with argument --version"]),
        (["--protocol", "soap"], {}, ["--protocol", "soap"]),
    ],
)
def test_client_animate_rejects_invalid_arguments_before_sending(
    fake, arguments, inputs, capsys, options, changes, words
):
    before = file_names(inputs)
    assert_user_error(capsys, arguments(*options, **changes), *words)
    assert file_names(inputs) == before
    assert not fake.requests


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_client_animate_without_a_server_names_the_command(arguments, inputs, capsys, protocol):
    before, address = file_names(inputs), f"localhost:{servers.free_port()}"
    words = f"Server {address} is unavailable", "fomm serve --model DIR"
    assert_user_error(capsys, arguments("--retry-timeout", "0.2", "--protocol", protocol, server=address), *words)
    assert file_names(inputs) == before


@pytest.mark.parametrize("out", ["out", "out.mp4"])
def test_client_animate_leaves_no_partial_output_when_the_server_fails(fake, arguments, inputs, capsys, out):
    fake.faults.extend([None, 500])
    before = file_names(inputs)
    words = "failed animate_uint8 of model fomm: INTERNAL: injected status 500; see the server's log."
    assert_user_error(capsys, arguments("--batch-size", "4", out=inputs / out), words)
    assert len(fake.requests) == 2
    assert file_names(inputs) == before


def test_client_animate_names_missing_packages(arguments, capsys, monkeypatch):
    from fomm_tf import serving

    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "fomm_tf.serving.rest_transport", raising=False)
    monkeypatch.delattr(serving, "rest_transport", raising=False)
    assert_user_error(capsys, arguments(), "--protocol rest needs", "httpx", 'pip install "fomm-tf[serving]"')


@pytest.fixture(scope="module")
def animated(tmp_path_factory):
    """Returns arguments, and the frames that `fomm animate` writes for them."""
    folder = tmp_path_factory.mktemp("animated")
    video.write_image(folder / "source.png", drawn_heads.draw_image(150))
    drawn_heads.write_clip(folder / "driving", 140, 11)
    argv = ["animate", "--source", str(folder / "source.png"), "--driving", str(folder / "driving"), "--quiet"]
    assert cli.main([*argv, "--run", str(drawn_heads.MODEL), "--out", str(folder / "out")]) == 0
    return argv, np.int16(list(video.open_video(folder / "out")))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_client_animate_through_the_embedded_server_matches_fomm_animate(embedded, animated, tmp_path, protocol):
    argv, here = animated
    options = ["--out", str(tmp_path / "out"), "--server", getattr(embedded, protocol), "--protocol", protocol]
    assert cli.main(["client", *argv, *options]) == 0
    there = np.int16(list(video.open_video(tmp_path / "out")))
    assert here.shape == there.shape == (11, 128, 128, 3)
    assert np.abs(here - there).max() <= 1
    assert (here == there).mean() > 0.99
    assert here.std(axis=0).max() > 5, "it moves"


def test_client_animate_crops_and_filters_as_fomm_animate_does(embedded, animated, tmp_path):
    argv, _ = animated
    options = ["--crop", "20,10,100,100", "--paste-back", "--smooth", "1", "--motion-strength", "1.5"]
    assert cli.main([*argv, *options, "--run", str(drawn_heads.MODEL), "--out", str(tmp_path / "here")]) == 0
    server = ["--out", str(tmp_path / "there"), "--server", embedded.rest, "--batch-size", "4"]
    assert cli.main(["client", *argv, *options, *server]) == 0
    here, there = (np.int16(list(video.open_video(tmp_path / name))) for name in ("here", "there"))
    assert here.shape == there.shape == (11, 150, 150, 3)
    assert np.abs(here - there).max() <= 1
    np.testing.assert_array_equal(here[:, :8], here[:1, :8].repeat(11, 0))


@pytest.mark.parametrize("quiet", [True, False])
def test_client_animate_says_what_it_crops(embedded, animated, tmp_path, capsys, quiet):
    argv = [part for part in animated[0] if part != "--quiet"] + ["--quiet"] * quiet
    options = ["--crop", "20,10,100,100", "--duration", "0.05", "--out", str(tmp_path / "out"), "--server"]
    assert cli.main(["client", *argv, *options, embedded.rest]) == 0
    lines = capsys.readouterr().out.splitlines()
    if quiet:
        assert lines == []
    else:
        assert "source.png: cropped to" in lines[0] and lines[-1].startswith(f"{tmp_path}/out: ")
