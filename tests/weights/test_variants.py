"""Checkpoint files of other containers and formats, and what training scripts leave in checkpoints."""

import argparse
import collections
import datetime
import decimal
import os
import pathlib
import pickle
import struct
import tracemalloc
import types
import uuid
import zipfile

import numpy as np
import pytest
import torch_files

from fomm_tf import errors, weights

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
TINY = DATA / "tiny-checkpoint.pth.tar"


def load_error(path):
    with pytest.raises(errors.UserError) as caught:
        weights.load(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < len(str(path)) + 300
    return message.replace(str(path), "FILE")


# Compressed zip files -------------------------------------------------------------------------------------------------


def compress(path, level=None, root=None, method=zipfile.ZIP_DEFLATED):
    """Zips a checkpoint again, as archive programs do: with entries of directories."""
    with zipfile.ZipFile(TINY) as source, zipfile.ZipFile(path, "w", method, compresslevel=level) as target:
        old = source.namelist()[0].split("/")[0]
        root = old if root is None else root
        if root:
            target.writestr(f"{root}/", b"")
        for name in source.namelist():
            target.writestr(name.replace(f"{old}/", f"{root}/" if root else "", 1), source.read(name))


@pytest.mark.parametrize(
    ("level", "root", "method"),
    [(None, None, zipfile.ZIP_DEFLATED), (1, "cpk", zipfile.ZIP_DEFLATED), (9, "", zipfile.ZIP_DEFLATED),
     (None, "", zipfile.ZIP_STORED)],
)  # fmt: skip
def test_load_reads_zip_that_was_zipped_again(level, root, method, tmp_path):
    compress(tmp_path / "a.pth.tar", level, root, method)
    loaded, expected = weights.load(tmp_path / "a.pth.tar"), weights.load(TINY)
    for part in ("generator", "kp_detector", "discriminator"):
        assert list(loaded[part]) == list(expected[part])
        assert all(loaded[part][name].tobytes() == array.tobytes() for name, array in expected[part].items())


def test_load_limits_size_of_compressed_records(tmp_path):
    tensor = torch_files.pickle_dict(x=torch_files.pickle_tensor((1,), (1,), count=16 << 20))
    cases = {
        "tensor": (tensor, {"data/0": bytes(64 << 20)}, "it declares more data than the file holds"),
        "pickle": (b"\x80\x02}" + b"q\x00" * (2 << 20) + b".", {}, "record 'data.pkl' is too large"),
        "order": (b"\x80\x02}.", {"byteorder": bytes(8 << 20)}, "record 'byteorder' is too large"),
    }
    for name, (body, records, reason) in cases.items():
        torch_files.write_zip(tmp_path / name, body, records, compression=zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        assert reason in load_error(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_load_limits_size_of_record_that_declares_less(tmp_path):
    torch_files.write_zip(tmp_path / "a", b"\x80\x02" + b"N0" * (16 << 20), compression=zipfile.ZIP_DEFLATED)
    data = bytearray((tmp_path / "a").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    (tmp_path / "a").write_bytes(data)
    tracemalloc.start()
    load_error(tmp_path / "a")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_load_rejects_damaged_compressed_zip(tmp_path):
    compress(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for place in range(60, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff" * 8
        (tmp_path / "a").write_bytes(damaged)
        try:
            weights.load(tmp_path / "a")
        except errors.UserError as error:
            assert "\n" not in str(error)


# Other formats --------------------------------------------------------------------------------------------------------


def safetensors(header=b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'):
    return struct.pack("<Q", len(header)) + header + bytes(4)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><title>Too large to scan for viruses</title>", "HTML page"),
        (b"\n\n  <!doctype HTML public>", "HTML page"),
        (b"<html lang=en><head>", "HTML page"),
        (b"\xef\xbb\xbf<HTML>", "HTML page"),
        ("<!DOCTYPE html><html>".encode("utf-16"), "HTML page"),
        (b"<!-- saved from a browser --><html>", "HTML page"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html>', "HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML document"),
        (b'{"error": "quota exceeded"}', "JSON document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (safetensors(), "safetensors file"),
        (safetensors(b'{"__metadata__":{"format":"pt"}}   '), "safetensors file"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(64), "ONNX model"),
        (b"\x08\x07\x3a\x80\x10" + bytes(64), "ONNX model"),
        (b"\x08\x0a\x42\x04" + bytes(64), "ONNX model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TFLite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5 file"),
        (b"\x1f\x8b\x08\x00", "gzip archive"),
    ],
)
def test_load_refuses_other_formats_by_name(content, kind, tmp_path):
    (tmp_path / "a.pth.tar").write_bytes(content)
    message = load_error(tmp_path / "a.pth.tar")
    assert message.startswith(("FILE is a ", "FILE is an ")) and f"{kind}" in message.partition(",")[0]
    assert "not a PyTorch checkpoint" in message
    with pytest.raises(errors.UserError, match=kind):
        weights.describe(tmp_path / "a.pth.tar")


# Leftovers of training scripts ----------------------------------------------------------------------------------------

DATE = datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.timezone(datetime.timedelta(hours=1)))
SKIPPED = {
    "namespace": argparse.Namespace(lr=2e-4, nested=argparse.Namespace(a=[1]), started=DATE),
    "simple namespace": types.SimpleNamespace(a=1),
    "datetime": DATE,
    "date": DATE.date(),
    "delta": datetime.timedelta(1),
    "counter": collections.Counter("abca"),
    "deque": collections.deque([1, 2], maxlen=3),
    "path": pathlib.PurePosixPath("/data/vox"),
    "set": {1, 2},
    "complex": 1j,
    "decimal": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=5),
}
NUMBERS = [np.float64(0.25), np.float32(1.5), np.float16(-2), np.int64(-(2**40)), np.uint8(200), np.bool_(True)]


def write(container, path, tree):
    body = pickle.dumps(tree, protocol=2)
    if container == "zip":
        torch_files.write_zip(path, body)
    else:
        path.write_bytes(torch_files.pack_legacy(body))


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_load_skips_leftovers_of_training_scripts(container, tmp_path):
    write(container, tmp_path / "a", SKIPPED | {"list": [DATE, 3], "epoch": 7, "again": SKIPPED["namespace"]})
    expected = dict.fromkeys(SKIPPED) | {"list": [None, 3], "epoch": 7, "again": None}
    assert weights.load(tmp_path / "a") == expected


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: value.dtype.name)
@pytest.mark.parametrize("order", ["<", ">"])
def test_load_converts_numpy_scalars_to_numbers(value, order, tmp_path):
    if value.dtype.itemsize > 1:
        value = np.array(value, value.dtype.newbyteorder(order))[()]
    write("zip", tmp_path / "a", {"epoch": value, "all": [value]})
    loaded = weights.load(tmp_path / "a")
    assert loaded == {"epoch": value.item(), "all": [value.item()]}
    assert type(loaded["epoch"]) is type(value.item())


def test_load_skips_numpy_scalars_that_are_not_numbers(tmp_path):
    write("zip", tmp_path / "a", {"date": np.datetime64("2020-01-01"), "text": np.str_("vox"), "z": np.complex64(1)})
    assert weights.load(tmp_path / "a") == {"date": None, "text": None, "z": None}


def test_load_reads_default_dictionaries(tmp_path):
    write("zip", tmp_path / "a", {"state": collections.defaultdict(dict, {"a": 1})})
    assert weights.load(tmp_path / "a") == {"state": {"a": 1}}


def test_load_skips_devices_and_dtypes_of_torch(tmp_path):
    device = b"ctorch\ndevice\n(" + torch_files.put("cuda") + b"K\x00tR"
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(device=device, dtype=b"ctorch\nfloat32\n"))
    assert weights.load(tmp_path / "a") == {"device": None, "dtype": None}


def test_load_executes_nothing_below_leftovers(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/marker",)

    for number, value in enumerate((argparse.Namespace(x=Evil()), [Evil(), DATE], collections.deque([Evil()]))):
        write("zip", tmp_path / f"{number}", {"args": value})
        assert "system', as no checkpoint does; nothing was executed" in load_error(tmp_path / f"{number}")
    assert not (tmp_path / "marker").exists()


NAMESPACE = b"cargparse\nNamespace\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"ccollections\nOrderedDict\n)\x81", "creates an object that is not a leftover"),
        (torch_files.put("x") + b")\x81", "creates an object that is not a leftover"),
        (NAMESPACE + torch_files.put("x") + b"\x81", "creates an object that is not a leftover"),
        (NAMESPACE, "it holds a function"),
        (b"](" + (NAMESPACE + b")\x81") * 20_000 + b"e", "more than 30000 calls"),
        (NAMESPACE + b"q\x01](" + b"h\x01)\x81" * 40_000 + b"e", "more than 30000 calls"),
        (NAMESPACE + b")\x81" + b"Nb" * 80_000, "more than 150000 opcodes"),
        (b"c__builtin__\nbytes\n" + torch_files.put((10**12,)) + b"R", "TypeError"),
        (b"c_codecs\nencode\n" + torch_files.put(("x", "rot13")) + b"R", "bytes that are not Latin-1 text"),
        (b"cnumpy.core.multiarray\nscalar\n" + torch_files.put(("f8", "12345678")) + b"R", "scalar without dtype"),
        (
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n" + torch_files.put(("f8", False, True)) + b"R"
            b"c_codecs\nencode\n" + torch_files.put(("x", "latin1")) + b"RtR",
            "a NumPy scalar of another size",
        ),
        (b"cnumpy\ndtype\n" + torch_files.put(("f8", False, True)) + b"R}b", "a NumPy dtype without byte order"),
    ],
)
def test_load_rejects_malicious_leftovers(body, reason, tmp_path):
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(x=body))
    assert reason in load_error(tmp_path / "a")


EASY_DICT = b"ceasydict\nEasyDict\n)\x81"


@pytest.mark.parametrize(
    "body",
    [
        b"ccollections\ndeque\n)\x81" + torch_files.put(1) + b"a",
        b"ccollections\ndeque\n)\x81(" + torch_files.put(1) + torch_files.put(2) + b"e",
        EASY_DICT + torch_files.put("a") + torch_files.put(1) + b"s",
        EASY_DICT + b"(" + b"".join(map(torch_files.put, ("a", 1, "b", 2))) + b"u" + torch_files.put({"a": 1}) + b"b",
    ],
    ids=["one element", "two elements", "one item", "two items and attributes"],
)
def test_load_drops_what_is_put_into_leftovers(body, tmp_path):
    """Protocol 2 puts single elements and several ones into a container with other opcodes."""
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(x=body, list=torch_files.put([1, 2]), epoch=b"K\x07"))
    assert weights.load(tmp_path / "a") == {"x": None, "list": [1, 2], "epoch": 7}
