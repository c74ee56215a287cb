"""`fomm convert` and `fomm info`: hostile and wrong files end in one line, exit code 2, nothing run, nothing left."""

import functools
import io
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch_files

import fomm_tf
from fomm_tf import checkpoint, cli, config, weights

DATA = pathlib.Path(__file__).parent / "parity" / "data"
TINY = DATA / "tiny-checkpoint.pth.tar"
STEP5 = DATA / "tiny-step5-checkpoint.pth.tar"
YAML = DATA / "tiny.yaml"
GARBLED = "is not a readable torch checkpoint ("


def fail(capfd, *arguments):
    """Runs a command that must fail as a user's mistake; returns its one line."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("fomm: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    return err.removeprefix("fomm: ").rstrip("\n")


# Hostile files ------------------------------------------------------------------------------------------------------


def change(edit, source=TINY):
    """A file that holds what `source` holds, but for an edit."""

    def write(path):
        tree = weights.load(source)
        edit(tree)
        weights.save(path, tree)

    return write


def run_command(container, protocol=2):
    """A pickle that would make the file `marker` beside it."""

    def write(path):
        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {path.parent}/marker",)

        body = pickle.dumps({"generator": Evil(), "kp_detector": Evil()}, protocol)
        if container == "zip":
            torch_files.write_zip(path, body)
        elif container == "legacy":
            path.write_bytes(torch_files.pack_legacy(body))
        else:
            path.write_bytes(body)

    return write


def evaluate(container):
    def write(path):
        body = torch_files.pickle_call("builtins.eval", f"open('{path.parent}/marker', 'w')")
        if container == "zip":
            torch_files.write_zip(path, body)
        else:
            path.write_bytes(torch_files.pack_legacy(body))

    return write


def truncate(name, share):
    def write(path):
        whole = (DATA / f"{name}-checkpoint.pth.tar").read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return write


def declare(count):
    """A zip whose tensor, and whose directory, declare far more bytes than there are."""

    def write(path):
        body = torch_files.pickle_dict(x=torch_files.pickle_tensor((count,), (1,), count=count))
        torch_files.write_zip(path, body, {"data/0": bytes(24)})
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\x01\x02")
        data[entry + 20 : entry + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
        path.write_bytes(data)

    return write


def inflate(path):
    torch_files.write_zip(path, torch_files.pickle_dict(), {"data/0": bytes(1 << 22)}, compression=zipfile.ZIP_DEFLATED)


def archive(path):
    with tarfile.open(path, "w") as tar:
        tar.add(TINY, "weights/tiny.pth")


def archive_gz(path):
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("weights"), io.BytesIO())


# For speed: what is refused leaves no run behind, so that its networks can serve again.
build_once = functools.cache(checkpoint.build)
# Refused by whoever reads the file.
UNREADABLE = {
    "a zip that would run a command": (run_command("zip"), f"{GARBLED}it asks for 'posix.system', as no checkpoint"),
    "a legacy file that would run a command": (run_command("legacy"), f"{GARBLED}it asks for 'posix.system', as no"),
    "a zip of protocol 4 that would run a command": (run_command("zip", 4), f"{GARBLED}pickle opcode"),
    "a legacy file of protocol 0 that would run a command": (run_command("legacy", 0), GARBLED),
    "a bare pickle that would run a command": (run_command("bare"), f"{GARBLED}it starts like no torch file"),
    "a zip that would evaluate": (evaluate("zip"), f"{GARBLED}it asks for 'builtins.eval', as no checkpoint does"),
    "a legacy file that would evaluate": (
        evaluate("legacy"),
        f"{GARBLED}it asks for 'builtins.eval', as no checkpoint",
    ),
    "a truncated zip": (truncate("tiny", 0.7), GARBLED),
    "a truncated legacy file": (truncate("tiny-legacy-cuda", 0.7), f"{GARBLED}it declares more data than the file"),
    "a legacy file without its last bytes": (truncate("tiny-legacy-cuda", 0.99999), f"{GARBLED}it is cut short"),
    "a legacy file cut in its pickle": (truncate("tiny-legacy-cuda", 0.01), GARBLED),
    "a giant declared size": (declare(2**40), f"{GARBLED}it declares more data than the file holds"),
    "a large declared size": (declare(2**29), f"{GARBLED}it declares more data than the file holds"),
    "a compressed zip": (inflate, f"{GARBLED}record 'data.pkl' is compressed"),
    "an empty file": (lambda path: path.write_bytes(b""), f"{GARBLED}it starts like no torch file"),
    "a text file": (lambda path: path.write_text("epoch: 100\n" * 99), f"{GARBLED}it starts like no torch file"),
    "a page of HTML": (lambda path: path.write_text("<!DOCTYPE html>\n" * 99), f"{GARBLED}it starts like no torch fil"),
    "a tar": (archive, f"{GARBLED}it is a real tar archive, and there is nothing in it to load"),
    "a tar.gz": (archive_gz, f"{GARBLED}it starts like no torch file"),
    "a file that is not there": (lambda path: None, "is no file; give the path of a .pth or .pth.tar checkpoint."),
}
# Refused by the import.
UNFIT = {
    "a wrong shape": (
        change(lambda tree: tree["generator"].update({"final.weight": np.zeros((3, 8, 5, 5), "f4")})),
        ": generator: final.weight must be [3, 8, 7, 7]; got [3, 8, 5, 5]: give --config of this model.",
    ),
    "a missing tensor": (
        change(lambda tree: tree["kp_detector"].pop("kp.bias")),
        ": kp_detector lacks tensor kp.bias; this is not the config's model: give --config of this one.",
    ),
    "a surplus tensor": (
        change(lambda tree: tree["generator"].update(audio=np.zeros(3, "f4"))),
        ": generator has the surplus tensor audio; this is not the config's model: give --config of this one.",
    ),
    "a number for a tensor": (
        change(lambda tree: tree["generator"].update({"final.weight": 5})),
        ": generator: final.weight must be [3, 8, 7, 7]; got int: give --config of this model.",
    ),
    "a wrong discriminator": (
        change(lambda tree: tree["discriminator"].pop("discs.1.conv.weight_v")),
        ": discriminator lacks tensor discs.1.conv.weight_v; this is not the config's model",
    ),
    "a wrong moment": (
        change(lambda tree: tree["optimizer_generator"]["state"][0].update(exp_avg=np.zeros(3, "f4")), STEP5),
        ": optimizer_generator: exp_avg of dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight must be",
    ),
    "no network": (change(dict.clear), " holds no state dictionary 'kp_detector'; it holds nothing."),
    "an epoch that is none": (
        change(lambda tree: tree.update(epoch=float("nan"))),
        ": epoch must be a whole number; got nan.",
    ),
}


@pytest.mark.parametrize("case", [*UNREADABLE, *UNFIT])
def test_convert_refuses_and_leaves_nothing(case, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    path = tmp_path / "cpk.pth.tar"
    write, message = (UNREADABLE | UNFIT)[case]
    write(path)
    before = sorted(os.listdir(tmp_path))
    for out in (tmp_path / "run", tmp_path / "runs" / "new"):
        line = fail(capfd, "convert", path, "--config", YAML, "--out", out)
        assert line.startswith(str(path)) and message in line
        assert len(line) < len(str(path)) + 300
        assert sorted(os.listdir(tmp_path)) == before and "marker" not in before


@pytest.mark.parametrize("case", UNREADABLE)
def test_info_refuses_and_runs_nothing(case, tmp_path, capfd):
    path = tmp_path / "cpk.pth.tar"
    write, message = UNREADABLE[case]
    write(path)
    before = sorted(os.listdir(tmp_path))
    line = fail(capfd, "info", path)
    assert line.startswith(str(path)) and message in line
    assert sorted(os.listdir(tmp_path)) == before and "marker" not in before


@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_the_weapons_of_these_tests_are_sharp(container, tmp_path):
    run_command(container)(tmp_path / "evil")
    stored = (tmp_path / "evil").read_bytes()
    if container == "zip":
        stored = zipfile.ZipFile(tmp_path / "evil").read("archive/data.pkl")
    stream = io.BytesIO(stored)
    for _ in range(4 if container == "legacy" else 1):
        pickle.load(stream)
    assert (tmp_path / "marker").exists()


def test_a_directory_is_refused(tmp_path, capfd):
    (tmp_path / "cpk.pth.tar").mkdir()
    line = fail(capfd, "convert", tmp_path / "cpk.pth.tar", "--config", YAML, "--out", tmp_path / "run")
    assert line == (
        f"{tmp_path}/cpk.pth.tar is a folder; give the checkpoint itself: a .pth.tar is no archive to unpack."
    )
    line = fail(capfd, "info", tmp_path / "cpk.pth.tar")
    assert line.startswith(f"{tmp_path}/cpk.pth.tar is not a run directory: it has no config.yaml")
    assert os.listdir(tmp_path) == ["cpk.pth.tar"] and not os.listdir(tmp_path / "cpk.pth.tar")


def test_info_refuses_a_torch_file_that_is_no_checkpoint(tmp_path, capfd):
    weights.save(tmp_path / "a.pth", {"state_dict": {"w": np.zeros(3, "f4")}})
    assert fail(capfd, "info", tmp_path / "a.pth") == (
        f"{tmp_path}/a.pth is a PyTorch file, but no checkpoint of the reference: it has none of generator, "
        "kp_detector, discriminator."
    )


# Wrong arguments ----------------------------------------------------------------------------------------------------


def test_a_folder_that_exists_is_not_overwritten(tmp_path, capfd):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    line = fail(capfd, "convert", TINY, "--config", YAML, "--out", tmp_path / "run")
    assert line == f"{tmp_path}/run already exists; give another --out, or delete it first."
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_an_unknown_config_is_refused_with_the_recipes(tmp_path, capfd):
    line = fail(capfd, "convert", TINY, "--config", "vox", "--out", tmp_path / "run")
    assert line == f"--config vox is neither a file nor a recipe; the recipes are {', '.join(config.recipes())}."
    assert "vox-256" in line and not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model_params: {common_params: {num_kps: 5}}", "has the key model_params.common_params.num_kps, which no con"),
        ("model: {generator: {block_expansion: 0}}", "model.generator.block_expansion must be at least 1; got 0."),
        ("model: [", "is not valid YAML"),
        ("dataset_params: {frame_shape: 64}\nmodel_params: {}", "model.frame_size must be tuple; got 64."),
    ],
)
def test_a_wrong_config_is_refused(content, message, tmp_path, capfd):
    (tmp_path / "a.yaml").write_text(content)
    assert message in fail(capfd, "convert", TINY, "--config", tmp_path / "a.yaml", "--out", tmp_path / "run")
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_a_small_model_needs_a_config(tmp_path, capfd):
    line = fail(capfd, "convert", TINY, "--out", tmp_path / "run")
    assert "its keypoint detector is not that of the released models" in line and "give --config" in line
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", TINY], "Say where to: --out RUN (or --to-torch OUT.pth.tar, or --pack DIR)."),
        (["convert", TINY, "--out", ""], "Say where to: --out RUN (or --to-torch OUT.pth.tar, or --pack DIR)."),
        (["convert", "run", "--to-torch", "a", "--out", "b"], "--to-torch writes a checkpoint: --out and --config do"),
        (["convert", "run", "--to-torch", "a", "--config", "b"], "--to-torch writes a checkpoint: --out and --config"),
        (["convert", "run", "--pack", "a", "--out", "b"], "--pack DIR names what to write: --out, --config and --to-t"),
        (["convert"], "the following arguments are required: FILE.pth.tar|RUN; see fomm convert --help."),
        (["convert", TINY, "--align-corners", "maybe", "--out", "a"], "argument --align-corners: invalid choice: 'may"),
        (["convert", TINY, "--ot", "a"], "unrecognized arguments: --ot a; see fomm --help."),
        (["info"], "the following arguments are required: RUN|FILE; see fomm info --help."),
        (["inform", "a"], "argument COMMAND: invalid choice: 'inform'"),
        ([], "the following arguments are required: COMMAND; see fomm --help."),
    ],
)
def test_wrong_arguments_are_refused_with_the_cure(arguments, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fail(capfd, *arguments).startswith(message)
    assert not os.listdir(tmp_path)


def test_a_run_is_packed_to_be_passed_on(tmp_path, capfd):
    run, packed = tmp_path / "run", tmp_path / "packed"
    assert cli.main(["convert", str(STEP5), "--config", str(YAML), "--out", str(run)]) == 0
    assert cli.main(["convert", str(run), "--pack", str(packed)]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith(f"{packed}: ")
    whole, small = (sum(file.stat().st_size for file in folder.iterdir()) for folder in (run, packed))
    assert small < whole / 4
    assert cli.main(["info", str(packed)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{packed}: run folder, epoch 5" and "Adam moments: no" in lines
    assert "already exists" in fail(capfd, "convert", run, "--pack", packed)


def test_the_way_back_needs_a_run_folder_and_a_new_name(tmp_path, capfd):
    out = tmp_path / "back.pth.tar"
    assert "absent is not a run directory: it does not exist" in fail(
        capfd, "convert", tmp_path / "absent", "--to-torch", out
    )
    assert "is not a run directory: it has no config.yaml" in fail(capfd, "convert", tmp_path, "--to-torch", out)
    assert "is not a run directory: it" in fail(capfd, "convert", TINY, "--to-torch", out)
    out.write_text("mine")
    line = fail(capfd, "convert", tmp_path / "absent", "--to-torch", out)
    assert line == f"{out} already exists; give another name, or delete it first."
    assert os.listdir(tmp_path) == ["back.pth.tar"] and out.read_text() == "mine"


# What works ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "run"
    assert cli.main(["convert", str(STEP5), "--config", str(YAML), "--out", str(folder)]) == 0
    return folder


def test_a_damaged_run_folder_is_refused_by_info_and_by_the_way_back(run, tmp_path, capfd):
    capfd.readouterr()
    folder = pathlib.Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "ckpt-5.data-00000-of-00001").write_bytes(b"")
    assert fail(capfd, "info", folder).startswith(f"{folder}/ckpt-5 is not a readable checkpoint: ")
    line = fail(capfd, "convert", folder, "--to-torch", tmp_path / "back.pth.tar")
    assert line.startswith(f"{folder}/ckpt-5 does not hold the model of {folder}/config.yaml: ")
    assert os.listdir(tmp_path) == ["run"]


def test_the_way_back_into_a_missing_folder_leaves_nothing(run, tmp_path, capfd):
    capfd.readouterr()
    line = fail(capfd, "convert", run, "--to-torch", tmp_path / "absent" / "back.pth.tar")
    assert "back.pth.tar cannot be written (No such file or directory)" in line and not os.listdir(tmp_path)


@pytest.mark.parametrize("align_corners", ["true", "false"])
def test_the_meaning_of_align_corners_is_kept_in_the_run_folder(align_corners, tmp_path, capfd):
    arguments = ["--config", str(DATA / "wide.yaml"), "--out", str(tmp_path / "run"), "--align-corners", align_corners]
    assert cli.main(["convert", str(DATA / "wide-checkpoint.pth.tar"), *arguments]) == 0
    assert capfd.readouterr() == (f"{tmp_path}/run: 1 keypoints, frames of 96x64, epoch 0.\n", "")
    assert checkpoint.read_config(tmp_path / "run").model.align_corners is (align_corners == "true")
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    assert f"align_corners {align_corners}\n" in capfd.readouterr().out


def test_an_old_container_says_so(capfd):
    assert cli.main(["info", str(DATA / "tiny-legacy-cuda-checkpoint.pth.tar")]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].endswith("tiny-legacy-cuda-checkpoint.pth.tar: PyTorch checkpoint (legacy container), epoch 0")
    assert lines[1].startswith("generator: 112 tensors, ") and lines[2].startswith("kp_detector: 47 tensors, ")
    assert lines[3:5] == ["Adam moments: no", "keypoints: 5"] and err == ""


@pytest.mark.slow
def test_there_and_back_as_a_user_types_it(tmp_path):
    def type_in(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "fomm_tf", *arguments],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    shutil.copy(STEP5, tmp_path / "cpk.pth.tar")
    assert type_in("convert", "cpk.pth.tar", "--config", str(YAML), "--out", "runs/tiny") == [
        "runs/tiny: 5 keypoints, frames of 64x64, epoch 5, with discriminator, with Adam moments."
    ]
    lines = type_in("info", "runs/tiny")
    assert lines[:2] == [
        "runs/tiny: run folder, epoch 5",
        "model: 5 keypoints, frames of 64x64, first order, with occlusion map, align_corners true",
    ]
    assert [line.split(":")[0] for line in lines[2:6]] == ["detector", "dense_motion", "generator", "discriminator"]
    assert lines[2].startswith("detector: 47 tensors, ") and lines[6] == "Adam moments: yes, training can go on"
    assert lines[7].startswith(
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}, converted from cpk.pth.tar (sha256 "
    )
    assert lines[-1].startswith("device: ") and len(lines) == 9

    parts = ["generator", "kp_detector", "discriminator"]
    everything = ", ".join([*parts, "optimizer_generator", "optimizer_kp_detector", "optimizer_discriminator", "epoch"])
    assert type_in("convert", "runs/tiny", "--to-torch", "back.pth.tar") == [f"back.pth.tar: {everything}."]
    there, back = weights.load(STEP5), weights.load(tmp_path / "back.pth.tar")
    for part in parts:
        assert list(there[part]) == list(back[part])
        assert all(array.tobytes() == back[part][name].tobytes() for name, array in there[part].items())
        assert len(back[f"optimizer_{part}"]["state"]) == len(there[f"optimizer_{part}"]["state"])
    lines = type_in("info", "back.pth.tar")
    assert lines[0] == "back.pth.tar: PyTorch checkpoint (zip container), epoch 5"
    assert lines[4] == "Adam moments: generator, kp_detector, discriminator"
    assert sorted(os.listdir(tmp_path)) == ["back.pth.tar", "cpk.pth.tar", "runs"]
    assert os.listdir(tmp_path / "runs") == ["tiny"]
