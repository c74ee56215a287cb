"""Engines: each kind of model directory gives the same frames; exports are cached; TensorFlow only where needed."""

import contextlib
import subprocess
import sys
import types

import numpy as np
import pytest

import fomm_tf
import fomm_tf.export
from fomm_tf import cli, config, errors, model_folders, video
from fomm_tf.inference import engines
from fomm_tf.inference.engines import choice, stages

EXPORTS = ("tflite", "onnx", "saved_model")


def frames(count, seed=0, side=32):
    """Smooth images: float32 rounding at the edges of a random one would be a gray level."""
    coarse = np.random.default_rng(seed).integers(0, 256, [count, 4, 4, 3], np.uint8)
    return np.stack([video.resize(image, (side, side), "stretch") for image in coarse])


def animate(model, mode):
    source, driving = frames(1)[0], frames(5, seed=1)
    return np.stack(list(model.animate(source, driving, mode=mode, adapt_scale=True, batch_size=2))).astype(int)


def write_inputs(folder):
    """An image and a driving video in a directory, as options of `fomm animate`."""
    video.write_image(folder / "source.png", frames(1)[0])
    with video.write_video(f"{folder}/driving/", 25) as writer:
        for frame in frames(3, seed=1):
            writer.write(frame)
    return ["--source", folder / "source.png", "--driving", folder / "driving"]


@pytest.fixture(scope="module")
def expected(small_files):
    model = fomm_tf.Animator.load(small_files("run"))
    return {mode: animate(model, mode) for mode in ("relative", "absolute")}


@pytest.mark.slow
@pytest.mark.parametrize("form", EXPORTS)
def test_export_animates_as_keras_to_one_gray_level(form, small_files, expected):
    model = fomm_tf.Animator.load(small_files(form))
    for mode, frames_of_keras in expected.items():
        assert np.abs(animate(model, mode) - frames_of_keras).max() <= 1
    assert frames_of_keras.std(axis=(1, 2)).max() > 2


@pytest.mark.slow
@pytest.mark.parametrize("form", ["run", *EXPORTS])
def test_several_sources_are_rendered_by_a_driving_frame_each(form, small_files):
    model = fomm_tf.Animator.load(small_files(form))
    images, keypoints = frames(3), model.detect(frames(3, seed=1))
    together = model.render(model.encode_sources(images), keypoints).prediction
    for index, image in enumerate(images):
        pose = type(keypoints)(*(part[index : index + 1] for part in keypoints))
        alone = model.render(model.encode_source(image), pose).prediction
        np.testing.assert_allclose(together[index], alone[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", EXPORTS)
def test_read_describes_export(form, small_files):
    run, exported = (model_folders.read(small_files(name)) for name in ("run", form))
    assert (exported.kind, exported.variants) == (form, ("float32",))
    assert (exported.config.model, exported.config.animate) == (run.config.model, run.config.animate)
    assert exported.weights_sha256 == engines.load(run).weights_sha256()


@pytest.mark.slow
def test_only_keras_and_saved_models_render_details(small_files):
    models = [fomm_tf.Animator.load(small_files(name)) for name in ("run", "saved_model", "tflite")]
    images = frames(2)
    renderings = [model.render(model.encode_source(images[0]), model.detect(images), True) for model in models[:2]]
    np.testing.assert_allclose(renderings[0].mask, renderings[1].mask, atol=1e-4)
    source = models[2].encode_source(images[0])
    with pytest.raises(errors.UserError, match="litert computes predictions only; use the engine keras"):
        models[2].render(source, models[2].detect(images), details=True)


@pytest.mark.slow
def test_load_rejects_engine_and_precision_that_an_export_lacks(small_files):
    with pytest.raises(errors.UserError, match="was exported for litert only"):
        fomm_tf.Animator.load(small_files("tflite"), engine="onnxruntime")
    with pytest.raises(errors.UserError, match=r"`precision`: got int8; .* has float32; choose one of these"):
        fomm_tf.Animator.load(small_files("tflite"), "int8")


def test_load_rejects_unknown_engine(small_files):
    with pytest.raises(errors.UserError, match="engine must be one of keras, litert, onnxruntime; got 'cuda'"):
        fomm_tf.Animator.load(small_files("run"), engine="cuda")


def test_load_rejects_export_without_description(tmp_path):
    (tmp_path / "pipeline.json").write_text('{"variants": {}}')
    with pytest.raises(
        errors.UserError, match="does not describe the model that it belongs to; export the model again"
    ):
        fomm_tf.Animator.load(tmp_path)


def test_run_digest_identifies_weights_and_config(small_files, tmp_path):
    run, original = tmp_path / "run", small_files("run")
    run.mkdir()
    for path in original.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    assert model_folders.run_digest(run) == model_folders.run_digest(original)
    next(run.glob("ckpt-*.data-*")).write_bytes(b"other")
    assert model_folders.run_digest(run) != model_folders.run_digest(original)


@pytest.mark.slow
def test_run_is_exported_into_the_cache_once(small_files, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    model = fomm_tf.Animator.load(small_files("run"), engine="litert")
    assert np.abs(animate(model, "relative") - expected["relative"]).max() <= 1
    assert "for litert in float32, once" in capsys.readouterr().err
    fomm_tf.Animator.load(small_files("run"), engine="litert")
    assert not capsys.readouterr().err
    place = stages.cache_folder(model_folders.read(small_files("run"))) / "litert-float32"
    assert model_folders.read(place).kind == "tflite"

    def measure(loaders, image):
        assert image.shape == (32, 32, 3)
        return {pair: choice.Timing(1 if pair == ("litert", "float32") else 2, 99) for pair in loaders}

    monkeypatch.setattr(choice, "measure", measure)
    line = [
        "animate",
        "--run",
        small_files("run"),
        "--engine",
        "auto",
        *write_inputs(tmp_path),
        "--out",
        tmp_path / "out",
    ]
    assert cli.main(list(map(str, line))) == 0
    timing, choice_line, device = capsys.readouterr().out.splitlines()[:3]
    assert "once for this machine and model" in timing
    assert choice_line.startswith("engine: litert float32, 1 ms a frame, 99 dB from float32 (keras float32 2 ms;")
    assert device == "device: CPU (ai-edge-litert, float32)"
    assert cli.main(list(map(str, line))) == 0
    assert "once" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_animate_command_on_exported_files_loads_no_tensorflow(form, small_files, tmp_path):
    code = "import sys; from fomm_tf import cli; code = cli.main(); sys.exit(code or 'tensorflow' in sys.modules)"
    line = ["animate", "--run", small_files(form), *write_inputs(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *line, "--out", f"{tmp_path}/out/"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 3


def fake_export(monkeypatch, kind, write):
    monkeypatch.setattr(fomm_tf.export, kind, types.SimpleNamespace(write=write), raising=False)


def test_export_once_writes_the_networks_for_onnxruntime(small_files, tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    calls, lines = [], []
    fake_export(monkeypatch, "onnx", lambda *arguments, **options: calls.append((arguments, options)))
    run = model_folders.read(small_files("run"))
    target = stages.export_once(run, "onnxruntime", "float16", lines.append)
    assert target == stages.cache_folder(run) / "onnxruntime-float16"
    assert calls == [((run.path, target, ["float16"]), {"whole": False})]
    assert lines == [f"exporting {run.path} for onnxruntime in float16, once"]


@pytest.mark.parametrize("is_written", [True, False])
def test_export_once_takes_what_another_process_wrote_meanwhile(small_files, tmp_path, monkeypatch, is_written):
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))

    def write(path, target, variants):
        if is_written:
            target.mkdir(parents=True)
            (target / model_folders.PIPELINE).touch()
        raise errors.UserError(f"{target} already exists.")

    fake_export(monkeypatch, "tflite", write)
    run = model_folders.read(small_files("run"))
    with contextlib.nullcontext() if is_written else pytest.raises(errors.UserError, match="already exists"):
        assert (stages.export_once(run, "litert", "float32", str) / model_folders.PIPELINE).is_file()


def test_run_digest_of_a_directory_without_weights_is_an_error(tmp_path):
    (tmp_path / "config.yaml").write_text(config.dump(config.Config()))
    with pytest.raises(errors.UserError, match=f"{tmp_path} has no checkpoint"):
        model_folders.run_digest(tmp_path)


def test_run_digest_of_a_packaged_model_is_that_of_its_file(tmp_path):
    (tmp_path / "config.yaml").write_text(config.dump(config.Config()))
    digests = []
    for content in (b"a", b"b", b"a"):
        (tmp_path / model_folders.PACKAGED).write_bytes(content)
        digests.append(model_folders.run_digest(tmp_path))
    assert digests[0] == digests[2] != digests[1]
