"""Damaged files and files of other kinds are rejected with one line."""

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch_files
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_files import DATA, FLOATS, load_error, write

from fomm_tf import errors, weights


def test_load_rejects_overlapping_records(tmp_path):
    count = 1 << 18
    tensors = {f"k{i}": torch_files.pickle_tensor((1,), (1,), count=count, key=str(i)) for i in range(100)}
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(**tensors), {"data/0": bytes(4 * count)})
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        first = archive.getinfo("archive/data/0")
        for index in range(1, 100):
            twin = zipfile.ZipInfo(f"archive/data/{index}")
            twin.header_offset, twin.CRC = first.header_offset, first.CRC
            twin.file_size, twin.compress_size = first.file_size, first.compress_size
            archive.filelist.append(twin)
        archive._didModify = True
    load_error(tmp_path / "a")


# Damaged files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "tiny-legacy-cuda"])
def test_load_rejects_truncated_checkpoint(name, tmp_path):
    whole = (DATA / f"{name}-checkpoint.pth.tar").read_bytes()
    for length in [*range(1, 40), *range(40, len(whole), len(whole) // 40), len(whole) - 1]:
        (tmp_path / "cut.pth.tar").write_bytes(whole[:length])
        assert "not a readable torch checkpoint" in load_error(tmp_path / "cut.pth.tar")


@pytest.mark.parametrize("content", [b"", b"P", b"not a checkpoint\n" * 50, b"\x1f", b"<" * 99])
def test_load_rejects_other_kinds_of_files(content, tmp_path):
    (tmp_path / "a.pth.tar").write_bytes(content)
    message = load_error(tmp_path / "a.pth.tar")
    assert "it does not start like a PyTorch file" in message and "a .pth.tar must not be unpacked" in message
    with pytest.raises(errors.UserError, match="it does not start like a PyTorch file"):
        weights.describe(tmp_path / "a.pth.tar")


def test_load_rejects_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "a.pth.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    message = load_error(tmp_path / "a.pth.tar")
    assert "it is a tar archive, not a file of torch.save" in message and "must not be unpacked" in message


def test_load_rejects_directory_and_missing_file(tmp_path):
    assert "is a directory; give the checkpoint file: a .pth.tar must not be unpacked" in load_error(tmp_path)
    assert "does not exist; give the path" in load_error(tmp_path / "absent.pth.tar")


def test_load_rejects_torchscript_program(tmp_path):
    for record in ("constants.pkl", "code/__torch__.py"):
        torch_files.write_zip(tmp_path / "a.pt", b"\x80\x02}.", {record: b""})
        assert "TorchScript program of torch.jit.save" in load_error(tmp_path / "a.pt")


def test_load_rejects_other_zip_archives(tmp_path):
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", compression=compression)
        assert "record 'data.pkl' is compressed by another method than Deflate" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", {"byteorder": b"big"})
    assert "big-endian" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", root="deep/er")
    assert "without the data.pkl" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}" + b" " * (5 << 20))
    assert "too large" in load_error(tmp_path / "a")


def test_load_rejects_record_larger_than_the_file(tmp_path):
    write("zip", tmp_path / "a", torch_files.pickle_dict(x=torch_files.pickle_tensor((1,), (1,), count=2**28)))
    data = bytearray((tmp_path / "a").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 2**30, 2**30)
    (tmp_path / "a").write_bytes(data)
    assert "it declares more data than the file holds" in load_error(tmp_path / "a")


def test_load_detects_flipped_bit_in_zip(tmp_path):
    weights.save(tmp_path / "a", {"w": np.full(100, 7, "f4")})
    data = (tmp_path / "a").read_bytes().replace(np.full(100, 7, "f4").tobytes(), np.full(100, 8, "f4").tobytes())
    (tmp_path / "a").write_bytes(data)
    assert "Bad CRC-32" in load_error(tmp_path / "a")


def test_load_rejects_inconsistent_legacy_files(tmp_path):
    body = torch_files.pickle_dict(x=torch_files.pickle_tensor((6,), (1,)))
    storage = struct.pack("<q", 6) + FLOATS
    path = tmp_path / "a"
    for data, reason in (
        (torch_files.pack_legacy(body, ["0"], protocol=1002) + storage, "its protocol is not 1001"),
        (torch_files.pack_legacy(body, ["0"], {"little_endian": False}) + storage, "big-endian"),
        (torch_files.pack_legacy(body, ["0"], [1]) + storage, "TypeError"),
        (torch_files.pack_legacy(body, []) + storage, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0", "0"]) + storage * 2, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0", "1"]) + storage * 2, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", 5) + FLOATS, "has another length"),
        (torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", -1) + FLOATS, "has another length"),
        (torch_files.pack_legacy(body, ["0"]) + storage[:-1], "it is truncated"),
    ):
        path.write_bytes(data)
        assert reason in load_error(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def small(folder):
    """A small valid file of each container, and a pickle, as bytes."""
    tree = {
        "generator": {"w": np.arange(6, dtype="f4").reshape(2, 3), "n": np.array(1)},
        "group": [{"betas": (0.5, 1)}],
    }
    weights.save(folder / "zip", tree)
    torch_files.write_legacy(folder / "legacy", tree, "cuda:0")
    with zipfile.ZipFile(folder / "zip") as archive:
        body = archive.read("archive/data.pkl")
    return {"zip": (folder / "zip").read_bytes(), "legacy": (folder / "legacy").read_bytes(), "pickle": body}


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@settings(max_examples=300, deadline=10_000)
@given(data=st.data())
def test_load_raises_only_user_errors_for_damaged_files(kind, small, folder, data):
    damaged = bytearray(small[kind])
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        damaged[place] = value
    damaged = damaged[: data.draw(st.one_of(st.just(len(damaged)), places))]
    path = folder / "damaged"
    if kind == "pickle":
        # With valid checksums, which otherwise detect nearly all damage.
        torch_files.write_zip(path, bytes(damaged), {"data/0": bytes(24), "data/1": bytes(8)})
    else:
        path.write_bytes(damaged)
    try:
        tree = weights.load(path)
    except errors.UserError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(tree, dict)


# Writing --------------------------------------------------------------------------------------------------------------
