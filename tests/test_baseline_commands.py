"""The baselines through the commands: train, resume, evaluate, animate, draw figures, export."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, cli, config, model_folders, models, video
from fomm_tf.data.puppets import dataset
from fomm_tf.inference import engines
from fomm_tf.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "training" / "small.yaml"
L1_ONLY = ["perceptual=[0,0,0,0,0]", "pixel=1.0", "equivariance_value=0.0", "equivariance_jacobian=0.0"]
KINDS = {
    "monkey-net": ["model.generator.warp_skips=true", "train.loss_weights.generator_gan=1.0"],
    "x2face": ["model.jacobian=false"],
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("baselines") / "data"
    dataset.write(root, identities=2, test_identities=1, clips=1, frames=4, size=(32, 32), seed=0)
    return root


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """The run directory of a kind, trained for two steps."""
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def make(kind):
        if kind not in done:
            changes = [f"data.root={data}", f"model.kind={kind}", "model.occlusion=false", *KINDS[kind]]
            changes += ["train.steps=2", "train.batch_size=2", *(f"train.loss_weights.{each}" for each in L1_ONLY)]
            lines, one_replica = [], tf.distribute.MirroredStrategy(["CPU:0"])
            settings = config.override(config.load(SMALL), changes)
            loop.run(settings, folder / kind, strategy=one_replica, report=lines.append)
            done[kind] = folder / kind, lines
        return done[kind]

    return make


@EVERY_KIND
def test_train_writes_a_run_directory(kind, runs):
    folder, lines = runs(kind)
    settings = checkpoint.read_config(folder)
    assert settings.model.kind == kind
    terms = {"monkey-net": ("pixel", "gen_gan", "feature_matching", "disc_gan"), "x2face": ("pixel",)}[kind]
    (last,) = (line for line in lines if line.startswith("step 2 of 2"))
    assert all(f"{term} " in last for term in terms) and "perceptual" not in last and "equivariance" not in last
    assert any("of the source-copy baseline" in line for line in lines)
    columns = 5 if kind == "monkey-net" else 4  # two frames, the prediction, the deformed source, and the masks
    assert video.read_image(folder / "pictures" / "latest.png").shape == (32, columns * 32, 3)
    run = checkpoint.load(folder, training=True)
    assert isinstance(run.model, models.model_class(settings.model)) and run.step == 2
    assert set(run.optimizers) == {"generator", "detector"} | ({"discriminator"} if kind == "monkey-net" else set())


@EVERY_KIND
def test_evaluate_and_animate_take_a_baseline(kind, runs, data, tmp_path, capsys):
    folder, _ = runs(kind)
    line = ["evaluate", "--run", folder, "--data", data, "--out", tmp_path / "report", "--metrics", "l1,ssim"]
    assert cli.main([str(part) for part in line]) == 0
    assert "| L1 |" in capsys.readouterr().out
    clip = next((data / "test").iterdir())
    video.write_image(tmp_path / "source.png", next(iter(video.open_video(clip))))
    line = ["animate", "--run", folder, "--source", tmp_path / "source.png", "--driving", clip]
    line += ["--out", tmp_path / "out.mp4", "--visualize", tmp_path / "panels", "--smooth", "1"]
    assert cli.main([str(part) for part in line]) == 0
    assert len(list(video.open_video(tmp_path / "out.mp4"))) == 4
    panels = {path.stem for path in (tmp_path / "panels").glob("*.mp4")}
    assert panels == {"keypoints", "deformed"} | ({"masks"} if kind == "monkey-net" else set())


@pytest.mark.conformance
def test_figure_compares_a_baseline_with_the_method(runs, data, tmp_path):
    clip = next((data / "test").iterdir())
    for kind in ("motion", "keypoints", "reconstruction"):
        line = ["figure", kind, "--driving", clip, "--out", tmp_path / f"{kind}.png", "--frames", "2"]
        if kind == "motion":
            video.write_image(tmp_path / "source.png", np.zeros((32, 32, 3), np.uint8))
            line += ["--source", tmp_path / "source.png"]
        for each in KINDS:
            line += ["--run", f"{each}={runs(each)[0]}"]
        assert cli.main([str(part) for part in line]) == 0
        assert (tmp_path / f"{kind}.png").is_file()


@pytest.mark.parametrize("kind", ["x2face", pytest.param("monkey-net", marks=pytest.mark.conformance)])
def test_exports_in_stages_are_refused_by_the_kind(kind, runs, tmp_path, capsys):
    folder, _ = runs(kind)
    for form in ("tflite", "onnx"):
        assert cli.main(["export", "--run", str(folder), "--to", form, "--out", str(tmp_path / form)]) == 2
        complaint = capsys.readouterr().err
        assert complaint.count("\n") == 1
        assert f"A model of kind {kind} cannot be exported in stages; use the format saved_model." in complaint
        assert not (tmp_path / form).exists()
    assert cli.main(["convert", "--to-torch", str(tmp_path / "x.pth.tar"), str(folder)]) == 2
    assert f"model.kind: got {kind}; the PyTorch reference has no such model" in capsys.readouterr().err
    assert cli.main(["info", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in models.model_class(checkpoint.read_config(folder).model).NETWORKS)


@pytest.mark.conformance
@EVERY_KIND
def test_saved_model_renders_as_keras_does(kind, runs, export, tmp_path):
    folder, _ = runs(kind)
    printed = export(["--run", folder, "--to", "saved_model", "--out", tmp_path / "model"])
    assert "animate.prediction: differs by at most" in printed
    opened = model_folders.read(tmp_path / "model")
    assert opened.kind == "saved_model" and opened.config.model.kind == kind
    engine, keras = engines.load(opened), engines.load(model_folders.read(folder))
    frames = tf.image.resize(tf.random.stateless_uniform([3, 5, 5, 3], [1, 2]), [32, 32]).numpy()
    renderings = [
        each.render(each.encode_source(frames[:1]), each.detect(frames), details=True) for each in (engine, keras)
    ]
    for mine, other in zip(*renderings, strict=True):
        if other is not None and mine is not None:
            np.testing.assert_allclose(mine, other, atol=1e-4)
