"""Recognizes files that are given as checkpoints by mistake, to refuse them by name."""

import os
import re

from fomm_tf import errors

_DOWNLOAD = "download the checkpoint again; a link may need a login or a confirmation in the browser"
_UNPACK = "unpack it, and give the .pth or .pth.tar in it"
_TORCH = "give the .pth or .pth.tar that torch.save wrote"
_SIGNATURES = (
    (b"version https://git-lfs.github.com/", "a Git LFS pointer", "fetch the checkpoint itself with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as of Keras", _TORCH),
    (b"\x93NUMPY", "a NumPy array", _TORCH),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"GGUF", "a GGUF file", _TORCH),
)
_LARGEST_SAFETENSORS_HEADER = 100_000_000  # bytes; the limit of the format
_FIRST_ONNX_VERSION = 3  # of the format, the first that was published
# What follows the version in an ONNX model: tags of the protocol buffer's other fields.
_ONNX_TAGS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)


def refuse(head: bytes, path: str | os.PathLike[str]) -> None:
    """Raises an error that names the format of a file, if it is a known one that is not PyTorch's.

    Args:
      head: the first bytes of the file, at least 512 of a longer file.
      path: the file, for the message.

    Raises:
      errors.UserError: if the format is recognized.
    """
    if recognized := _recognize(head):
        raise errors.UserError("{} is {}, not a PyTorch checkpoint; {}.".format(path, *recognized))


def _recognize(head: bytes) -> tuple[str, str] | None:
    """The name of the format and what to do."""
    for signature, kind, cure in _SIGNATURES:
        if head.startswith(signature):
            return kind, cure
    text = _decode(head).lstrip().lower()
    if re.match(r"<(!doctype\s+html|!--|html|head|body|title|script|meta|[a-z]+[\s>])", text):
        return "an HTML page (a web page)", _DOWNLOAD
    if text.startswith("<?xml"):
        name = "an HTML page (a web page)" if "<html" in text else "an XML document, as of a failed download"
        return name, _DOWNLOAD
    if re.match(r"\{\s*\"", text):
        return "a JSON document, as of a failed download", _DOWNLOAD
    if int.from_bytes(head[:8], "little") <= _LARGEST_SAFETENSORS_HEADER and head[8:9] == b"{":
        return "a safetensors file", f"{_TORCH}, or convert it with torch.save(safetensors.torch.load_file(FILE), OUT)"
    if len(head) > 2 and head[0] == 8 and _FIRST_ONNX_VERSION <= head[1] < 32 and head[2] in _ONNX_TAGS:
        return "an ONNX model", f"{_TORCH}: an exported model cannot be converted back"
    if head[4:8] == b"TFL3":
        return "a TFLite model", f"{_TORCH}: an exported model cannot be converted back"
    return None


def _decode(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").lstrip("\ufeff")
    return head.decode("utf-8-sig", "replace")
