"""`fomm animate`: files and options that it rejects, and damaged files that it uses."""

import shutil
import struct
import zlib

import av
import drawn_heads
import numpy as np
import pytest
from animate_lines import assert_user_error, folder_of
from PIL import Image, ImageFile

from fomm_tf import cli, config, video
from fomm_tf.inference import engines

# Wrong inputs.


def huge_png(path):
    """Writes a png with 20,000 x 20,000 pixels in its header, and a few bytes of data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    pieces = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + pieces)


def test_animate_names_missing_files(arguments, capsys, tmp_path):
    assert_user_error(capsys, arguments(source="no.png"), "no.png")
    assert_user_error(capsys, arguments(driving="no.mp4"), "no.mp4")
    assert_user_error(capsys, arguments(run=tmp_path / "no-run"), "no-run", "does not exist", "fomm convert")
    assert folder_of(tmp_path) == []


def test_animate_rejects_files_that_are_not_videos(arguments, capsys, tmp_path):
    for name, content in {"text.mp4": b"not a video, just a line of text\n" * 20, "empty.mp4": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert_user_error(capsys, arguments(driving=tmp_path / name), name)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros([1, 1024], np.int16), "s16", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert_user_error(capsys, arguments(driving=tmp_path / "sound.mp4"), "sound.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_animate_uses_truncated_video_up_to_its_end(arguments, inputs, capsys, tmp_path):
    drawn_heads.write_clip(tmp_path / "whole.webm", 96, 100)
    whole = (tmp_path / "whole.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert cli.main(arguments(driving=tmp_path / "cut.webm")) == 0
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if "no object that the model finds" not in line]  # it is randomly initialized
    assert len(lines) == 1 and lines[0].startswith("fomm: warning: ") and "cut.webm" in lines[0]
    assert 10 < len(list(video.open_video(tmp_path / "out.mp4"))) < 100


def test_animate_accepts_image_of_one_pixel(arguments, tmp_path):
    Image.new("RGB", (1, 1), (200, 10, 10)).save(tmp_path / "dot.png")
    assert cli.main([*arguments(source=tmp_path / "dot.png"), "--duration", "0.1"]) == 0


def test_animate_rejects_huge_image_without_decoding_it(arguments, capsys, tmp_path, monkeypatch):
    huge_png(tmp_path / "huge.png")
    for decode in (ImageFile.ImageFile, Image.Image):
        monkeypatch.setattr(decode, "load", lambda _: pytest.fail("it was decoded"))
    assert_user_error(capsys, arguments(source=tmp_path / "huge.png"), "huge.png", "pixels")


def test_animate_rejects_checkpoint_of_another_architecture(arguments, run_folder, capsys, tmp_path):
    shutil.copytree(run_folder, tmp_path / "other")
    settings = config.override(config.load(run_folder / "config.yaml"), ["model.num_keypoints=4"])
    (tmp_path / "other" / "config.yaml").write_text(config.dump(settings))
    assert_user_error(capsys, arguments(run=tmp_path / "other"), "does not hold the model")


def test_animate_rejects_output_that_cannot_be_written(arguments, capsys, tmp_path):
    (tmp_path / "file").write_text("a file")
    assert_user_error(capsys, arguments(out=tmp_path / "file" / "out.mp4"), "file")
    assert_user_error(capsys, arguments(out=tmp_path / "out.docx"), ".docx", ".mp4")
    assert folder_of(tmp_path) == ["file"]


def test_animate_rejects_wrong_options(arguments, capsys, tmp_path):
    for options, word in (
        (["--best-frame", "first"], "index of a frame, from 0"),
        (["--crop", "head"], "--crop must be auto, off, face, body"),
        (["--face", "0"], "--face must be largest, all or the number"),
        (["--face", "2"], "--face 2 needs detected faces"),
        (["--smooth", "11"], "--smooth must"),
        (["--motion-strength", "-1"], "--motion-strength must"),
        (["--best-frame", "99"], "there are 20 driving frames"),
        (["--batch-size", "0"], "--batch-size must"),
        (["--loop", "0"], "--loop 0 repeats the motion until the source video ends"),
        (["--start", "99"], "99"),
        (["--duration", "-1"], "duration"),
        (["--fps", "0"], "fps"),
        (["--fit", "cover"], "crop"),
    ):
        assert_user_error(capsys, [*arguments(), *options], word)
    assert_user_error(capsys, ["animate"], "--source")
    assert not (tmp_path / "out.mp4").exists()


class PredictingEngine(engines.Engine):
    """Computes predictions only."""

    name, precision, has_details = "litert", "float32", False
    detect = encode_source = render = weights_sha256 = None

    def device(self):
        return "CPU"


def test_animate_visualizes_on_an_engine_that_computes_details_only(arguments, tmp_path, monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr(engines, "load", lambda folder, engine, *_: loaded.append(engine) or PredictingEngine())
    for chosen, engine in (("auto", "keras"), ("litert", "litert")):
        argv = [*arguments(visualize=tmp_path / "details"), "--engine", chosen]
        assert_user_error(capsys, argv, "--visualize needs intermediate results, which litert does not compute")
        assert loaded.pop() == engine
    assert folder_of(tmp_path) == []
