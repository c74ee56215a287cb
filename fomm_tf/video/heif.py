"""HEIC / HEIF photos, which Pillow reads with the optional package pillow-heif."""

from pathlib import Path

from fomm_tf import errors

# Brands of a file type box, without those of AVIF, which Pillow reads itself.
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


def is_heif(path: Path) -> bool:
    """Whether a file starts like HEIC or HEIF."""
    with path.open("rb") as file:
        header = file.read(12)
    return header[4:8] == b"ftyp" and header[8:12] in _BRANDS


def register(path: Path) -> None:
    """Teaches Pillow to open HEIF files.

    Raises:
      UnreadableError: if pillow-heif is not installed; it names `path`.
    """
    try:
        import pillow_heif
    except ImportError:
        message = (
            f"{path} is a HEIC image, which needs the package pillow-heif; install it (pip install pillow-heif), or "
            "convert the image to jpg."
        )
        raise errors.UnreadableError(message) from None
    pillow_heif.register_heif_opener()
