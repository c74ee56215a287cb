"""`fomm convert` and `fomm info`: arguments, configs and run directories, and a round trip as a user types it."""

import os
import pathlib
import shutil
import subprocess
import sys

import processes
import pytest
from convert_lines import DATA, STEP5, TINY, YAML, fail

import fomm_tf
from fomm_tf import checkpoint, cli, config, weights
from fomm_tf.cli import convert


def test_convert_does_not_overwrite(tmp_path, capfd):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    line = fail(capfd, "convert", TINY, "--config", YAML, "--out", tmp_path / "run")
    assert line == f"{tmp_path}/run already exists; choose another directory, or delete it first."
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_convert_lists_recipes_for_unknown_config(tmp_path, capfd):
    line = fail(capfd, "convert", TINY, "--config", "vox", "--out", tmp_path / "run")
    assert line == f"--config vox is neither a file nor a recipe; the recipes are {', '.join(config.recipes())}."
    assert "vox-256" in line and not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model_params: {common_params: {num_kps: 5}}", "has the unknown key model_params.common_params.num_kps"),
        ("model: {generator: {block_expansion: 0}}", "model.generator.block_expansion must be at least 1; got 0."),
        ("model: [", "is not valid YAML"),
        ("dataset_params: {frame_shape: 64}\nmodel_params: {}", "model.frame_size must be tuple; got 64."),
    ],
)
def test_convert_rejects_wrong_config(content, message, tmp_path, capfd):
    (tmp_path / "a.yaml").write_text(content)
    assert message in fail(capfd, "convert", TINY, "--config", tmp_path / "a.yaml", "--out", tmp_path / "run")
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_convert_of_small_model_needs_config(tmp_path, capfd):
    line = fail(capfd, "convert", TINY, "--out", tmp_path / "run")
    assert "its keypoint detector is not that of the released models" in line and "give as --config" in line
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", TINY], "The output is missing; give --out RUN, --to-torch OUT.pth.tar, or --pack DIR."),
        (
            ["convert", TINY, "--out", ""],
            "The output is missing; give --out RUN, --to-torch OUT.pth.tar, or --pack DIR.",
        ),
        (["convert", "run", "--to-torch", "a", "--out", "b"], "--to-torch cannot be combined with --out or --config"),
        (
            ["convert", "run", "--to-torch", "a", "--config", "b"],
            "--to-torch cannot be combined with --out or --config",
        ),
        (["convert", "run", "--pack", "a", "--out", "b"], "--pack cannot be combined with --out, --config or --to-t"),
        (["convert"], "the following arguments are required: FILE.pth.tar|RUN; see fomm convert --help."),
        (["convert", TINY, "--align-corners", "maybe", "--out", "a"], "argument --align-corners: invalid choice: 'may"),
        (["convert", TINY, "--ot", "a"], "unrecognized arguments: --ot a; see fomm --help."),
        (["info"], "the following arguments are required: RUN|FILE; see fomm info --help."),
        (["inform", "a"], "argument COMMAND: invalid choice: 'inform'"),
        ([], "the following arguments are required: COMMAND; see fomm --help."),
    ],
)
def test_wrong_arguments_are_rejected(arguments, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fail(capfd, *arguments).startswith(message)
    assert not os.listdir(tmp_path)


def test_convert_pack_writes_packaged_model(tmp_path, capfd):
    run, packed = tmp_path / "run", tmp_path / "packed"
    assert cli.main(["convert", str(STEP5), "--config", str(YAML), "--out", str(run)]) == 0
    assert cli.main(["convert", str(run), "--pack", str(packed)]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith(f"{packed}: ")
    whole, small = (sum(file.stat().st_size for file in folder.iterdir()) for folder in (run, packed))
    assert small < whole / 4
    assert cli.main(["info", str(packed)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{packed}: run directory, epoch 5" and "Adam moments: no" in lines
    assert "already exists" in fail(capfd, "convert", run, "--pack", packed)


def test_to_torch_needs_a_run_directory_and_a_new_name(tmp_path, capfd):
    out = tmp_path / "back.pth.tar"
    assert "absent is not a run directory: it does not exist" in fail(
        capfd, "convert", tmp_path / "absent", "--to-torch", out
    )
    assert "is not a run directory: it has no config.yaml" in fail(capfd, "convert", tmp_path, "--to-torch", out)
    assert "is not a run directory: it" in fail(capfd, "convert", TINY, "--to-torch", out)
    out.write_text("mine")
    line = fail(capfd, "convert", tmp_path / "absent", "--to-torch", out)
    assert line == f"{out} already exists; choose another name, or delete it first."
    assert os.listdir(tmp_path) == ["back.pth.tar"] and out.read_text() == "mine"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "run"
    assert cli.main(["convert", str(STEP5), "--config", str(YAML), "--out", str(folder)]) == 0
    return folder


def test_info_and_to_torch_reject_damaged_run_directory(run, tmp_path, capfd):
    capfd.readouterr()
    folder = pathlib.Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "ckpt-5.data-00000-of-00001").write_bytes(b"")
    assert fail(capfd, "info", folder).startswith(f"{folder}/ckpt-5 is not a readable checkpoint: ")
    line = fail(capfd, "convert", folder, "--to-torch", tmp_path / "back.pth.tar")
    assert line.startswith(f"{folder}/ckpt-5 does not hold the model of {folder}/config.yaml: ")
    assert os.listdir(tmp_path) == ["run"]


def test_to_torch_rejects_path_below_a_file(run, tmp_path, capfd):
    capfd.readouterr()
    (tmp_path / "file").touch()
    line = fail(capfd, "convert", run, "--to-torch", tmp_path / "file" / "back.pth.tar")
    assert "file is not a directory; choose another place." in line and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("align_corners", ["true", "false"])
def test_convert_stores_align_corners(align_corners, tmp_path, capfd):
    arguments = ["--config", str(DATA / "wide.yaml"), "--out", str(tmp_path / "run"), "--align-corners", align_corners]
    assert cli.main(["convert", str(DATA / "wide-checkpoint.pth.tar"), *arguments]) == 0
    assert capfd.readouterr() == (f"{tmp_path}/run: 1 keypoints, frames of 96x64, epoch 0.\n", "")
    assert checkpoint.read_config(tmp_path / "run").model.align_corners is (align_corners == "true")
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    assert f"align_corners {align_corners}\n" in capfd.readouterr().out


def test_info_reports_legacy_container(capfd):
    assert cli.main(["info", str(DATA / "tiny-legacy-cuda-checkpoint.pth.tar")]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].endswith("tiny-legacy-cuda-checkpoint.pth.tar: PyTorch checkpoint (legacy container), epoch 0")
    assert lines[1].startswith("generator: 112 tensors, ") and lines[2].startswith("kp_detector: 47 tensors, ")
    assert lines[3:5] == ["Adam moments: no", "keypoints: 5"] and err == ""


@pytest.mark.slow
def test_convert_round_trip_as_a_user_types_it(tmp_path):
    def fomm(*arguments):
        done = processes.run("-m", "fomm_tf", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    shutil.copy(STEP5, tmp_path / "cpk.pth.tar")
    # In a fresh interpreter, whose TensorFlow must not log either.
    done = subprocess.run(
        [sys.executable, "-m", "fomm_tf", "convert", "cpk.pth.tar", "--config", str(YAML), "--out", "runs/tiny"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = "runs/tiny: 5 keypoints, frames of 64x64, epoch 5, with discriminator, with Adam moments.\n"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", report)
    lines = fomm("info", "runs/tiny")
    assert lines[:2] == [
        "runs/tiny: run directory, epoch 5",
        "model: 5 keypoints, frames of 64x64, first order, with occlusion map, align_corners true",
    ]
    assert [line.split(":")[0] for line in lines[2:6]] == ["detector", "dense_motion", "generator", "discriminator"]
    assert lines[2].startswith("detector: 47 tensors, ") and lines[6] == "Adam moments: yes, training can be resumed"
    assert lines[7].startswith(
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}, converted from cpk.pth.tar (sha256 "
    )
    assert lines[-1].startswith("device: ") and len(lines) == 9

    parts = ["generator", "kp_detector", "discriminator"]
    everything = ", ".join([*parts, "optimizer_generator", "optimizer_kp_detector", "optimizer_discriminator", "epoch"])
    assert fomm("convert", "runs/tiny", "--to-torch", "back.pth.tar") == [f"back.pth.tar: {everything}."]
    there, back = weights.load(STEP5), weights.load(tmp_path / "back.pth.tar")
    for part in parts:
        assert list(there[part]) == list(back[part])
        assert all(array.tobytes() == back[part][name].tobytes() for name, array in there[part].items())
        assert len(back[f"optimizer_{part}"]["state"]) == len(there[f"optimizer_{part}"]["state"])
    lines = fomm("info", "back.pth.tar")
    assert lines[0] == "back.pth.tar: PyTorch checkpoint (zip container), epoch 5"
    assert lines[4] == "Adam moments: generator, kp_detector, discriminator"
    assert sorted(os.listdir(tmp_path)) == ["back.pth.tar", "cpk.pth.tar", "runs"]
    assert os.listdir(tmp_path / "runs") == ["tiny"]


def test_info_describes_a_run_directory_without_provenance(run, tmp_path, capfd):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    with_text = list(convert.describe(folder))
    (folder / "README.txt").unlink()
    assert [line for line in with_text if line not in convert.describe(folder)] == [
        line for line in with_text if line.startswith("First Order Motion Model of fomm-tf")
    ]


def test_info_describes_a_checkpoint_without_a_detector(tmp_path):
    tree = {"generator": weights.load(TINY)["generator"]}
    weights.save(tmp_path / "generator.pth.tar", tree)
    lines = list(convert.describe(tmp_path / "generator.pth.tar"))
    assert [line.split(":")[0] for line in lines[1:]] == ["generator", "Adam moments", "to use it", "device"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "delete", "mine"], "models: got 'delete mine'; expected add NAME RUN|FILE, or nothing."),
        (["models", "add", "mine"], "models: got 'add mine'; expected add NAME RUN|FILE, or nothing."),
        (["fetch", "faces", "vox"], "NAME, --from and --keep-original belong to `fomm fetch model NAME`."),
        (["fetch", "faces", "--keep-original"], "NAME, --from and --keep-original belong to `fomm fetch model NAME`."),
        (["fetch", "model"], "the NAME of the model is missing; fomm models lists them."),
        (["fetch", "model", "absent"], "the model 'absent' is not in the list of released models: "),
    ],
)
def test_models_and_fetch_reject_wrong_words(arguments, message, capfd):
    assert fail(capfd, *arguments).startswith(message)
