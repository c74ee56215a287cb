"""`fomm convert` and `fomm info`: malicious and wrong files are rejected in one line and change nothing."""

import functools
import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch_files
from convert_lines import DATA, STEP5, TINY, YAML, fail

from fomm_tf import checkpoint, weights

GARBLED = "is not a readable torch checkpoint ("


def change(edit, source=TINY):
    """Writes a copy of `source` with an edit."""

    def write(path):
        tree = weights.load(source)
        edit(tree)
        weights.save(path, tree)

    return write


def run_command(container, protocol=2):
    """Writes a pickle that would create the file `marker` beside it."""

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
    """Writes a zip file whose tensor and directory declare many more bytes than it has."""

    def write(path):
        body = torch_files.pickle_dict(x=torch_files.pickle_tensor((count,), (1,), count=count))
        torch_files.write_zip(path, body, {"data/0": bytes(24)})
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\x01\x02")
        data[entry + 20 : entry + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
        path.write_bytes(data)

    return write


def inflate(path):
    body = torch_files.pickle_dict(x=torch_files.pickle_tensor((1 << 20,), (1,), count=1 << 20))
    torch_files.write_zip(path, body, {"data/0": bytes(1 << 22)}, compression=zipfile.ZIP_DEFLATED)


def archive(path):
    with tarfile.open(path, "w") as tar:
        tar.add(TINY, "weights/tiny.pth")


def archive_gz(path):
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("weights"), io.BytesIO())


# For speed: the networks are reused, since a rejected file does not become a run.
build_once = functools.cache(checkpoint.build)


# Rejected when the file is read.
UNREADABLE = {
    "a zip that would run a command": (run_command("zip"), f"{GARBLED}it refers to 'posix.system', as no checkpoint"),
    "a legacy file that would run a command": (run_command("legacy"), f"{GARBLED}it refers to 'posix.system', as no"),
    "a zip of protocol 4 that would run a command": (run_command("zip", 4), f"{GARBLED}pickle opcode"),
    "a legacy file of protocol 0 that would run a command": (run_command("legacy", 0), GARBLED),
    "a bare pickle that would run a command": (run_command("bare"), f"{GARBLED}it refers to '"),
    "a zip that would evaluate": (evaluate("zip"), f"{GARBLED}it refers to 'builtins.eval', as no checkpoint does"),
    "a legacy file that would evaluate": (
        evaluate("legacy"),
        f"{GARBLED}it refers to 'builtins.eval', as no checkpoint",
    ),
    "a truncated zip": (truncate("tiny", 0.7), GARBLED),
    "a truncated legacy file": (truncate("tiny-legacy-cuda", 0.7), f"{GARBLED}it declares more data than the file"),
    "a legacy file without its last bytes": (truncate("tiny-legacy-cuda", 0.99999), f"{GARBLED}it is truncated"),
    "a legacy file cut in its pickle": (truncate("tiny-legacy-cuda", 0.01), GARBLED),
    "a giant declared size": (declare(2**40), f"{GARBLED}it declares more data than the file holds"),
    "a large declared size": (declare(2**29), f"{GARBLED}it declares more data than the file holds"),
    "a zip bomb": (inflate, f"{GARBLED}it declares more data than the file holds"),
    "an empty file": (lambda path: path.write_bytes(b""), f"{GARBLED}it does not start like a PyTorch file"),
    "a text file": (
        lambda path: path.write_text("epoch: 100\n" * 99),
        f"{GARBLED}it does not start like a PyTorch file",
    ),
    "a page of HTML": (
        lambda path: path.write_text("<!DOCTYPE html>\n" * 99),
        " is an HTML page (a web page), not a PyTorch checkpoint; download the checkpoint again",
    ),
    "a tar": (archive, f"{GARBLED}it is a tar archive, not a file of torch.save"),
    "a tar.gz": (archive_gz, " is a gzip archive, not a PyTorch checkpoint; unpack it"),
    "a missing file": (lambda path: None, "does not exist; give the path of a .pth or .pth.tar checkpoint."),
}


# Rejected by the import.
MISMATCHED = {
    "a wrong shape": (
        change(lambda tree: tree["generator"].update({"final.weight": np.zeros((3, 8, 5, 5), "f4")})),
        ": generator: final.weight must be [3, 8, 7, 7]; got [3, 8, 5, 5]; give another --config.",
    ),
    "a missing tensor": (
        change(lambda tree: tree["kp_detector"].pop("kp.bias")),
        ": kp_detector has no tensor kp.bias, unlike the config; give another --config.",
    ),
    "an unexpected tensor": (
        change(lambda tree: tree["generator"].update(audio=np.zeros(3, "f4"))),
        ": generator has the unexpected tensor audio, unlike the config; give another --config.",
    ),
    "a number instead of a tensor": (
        change(lambda tree: tree["generator"].update({"final.weight": 5})),
        ": generator: final.weight must be [3, 8, 7, 7]; got int; give another --config.",
    ),
    "a wrong discriminator": (
        change(lambda tree: tree["discriminator"].pop("discs.1.conv.weight_v")),
        ": discriminator has no tensor discs.1.conv.weight_v, unlike the config",
    ),
    "a wrong moment": (
        change(lambda tree: tree["optimizer_generator"]["state"][0].update(exp_avg=np.zeros(3, "f4")), STEP5),
        ": optimizer_generator: exp_avg of dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight must be",
    ),
    "no network": (change(dict.clear), " has no state dictionary 'kp_detector'; it has nothing."),
    "an epoch of NaN": (
        change(lambda tree: tree.update(epoch=float("nan"))),
        ": epoch must be a whole number; got nan.",
    ),
}


@pytest.mark.parametrize("case", [*UNREADABLE, *MISMATCHED])
def test_convert_rejects_file_and_leaves_nothing(case, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", build_once)
    path = tmp_path / "cpk.pth.tar"
    write, message = (UNREADABLE | MISMATCHED)[case]
    write(path)
    before = sorted(os.listdir(tmp_path))
    for out in (tmp_path / "run", tmp_path / "runs" / "new"):
        line = fail(capfd, "convert", path, "--config", YAML, "--out", out)
        assert line.startswith(str(path)) and message in line
        assert len(line) < len(str(path)) + 300
        assert sorted(os.listdir(tmp_path)) == before and "marker" not in before


@pytest.mark.parametrize("case", UNREADABLE)
def test_info_rejects_file_and_executes_nothing(case, tmp_path, capfd):
    path = tmp_path / "cpk.pth.tar"
    write, message = UNREADABLE[case]
    write(path)
    before = sorted(os.listdir(tmp_path))
    line = fail(capfd, "info", path)
    assert line.startswith(str(path)) and message in line
    assert sorted(os.listdir(tmp_path)) == before and "marker" not in before


@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_malicious_pickles_are_effective(container, tmp_path):
    run_command(container)(tmp_path / "evil")
    stored = (tmp_path / "evil").read_bytes()
    if container == "zip":
        stored = zipfile.ZipFile(tmp_path / "evil").read("archive/data.pkl")
    stream = io.BytesIO(stored)
    for _ in range(4 if container == "legacy" else 1):
        pickle.load(stream)
    assert (tmp_path / "marker").exists()


def test_convert_and_info_reject_directory(tmp_path, capfd):
    (tmp_path / "cpk.pth.tar").mkdir()
    line = fail(capfd, "convert", tmp_path / "cpk.pth.tar", "--config", YAML, "--out", tmp_path / "run")
    assert line == (
        f"{tmp_path}/cpk.pth.tar is a directory; give the checkpoint file: a .pth.tar must not be unpacked."
    )
    line = fail(capfd, "info", tmp_path / "cpk.pth.tar")
    assert line.startswith(f"{tmp_path}/cpk.pth.tar is not a run directory: it has no config.yaml")
    assert os.listdir(tmp_path) == ["cpk.pth.tar"] and not os.listdir(tmp_path / "cpk.pth.tar")


def test_info_rejects_other_torch_file(tmp_path, capfd):
    weights.save(tmp_path / "a.pth", {"state_dict": {"w": np.zeros(3, "f4")}})
    assert fail(capfd, "info", tmp_path / "a.pth") == (
        f"{tmp_path}/a.pth is a PyTorch file, but not a checkpoint of the reference: it has none of "
        "generator, kp_detector, discriminator."
    )
