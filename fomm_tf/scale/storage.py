"""Files by Beam's `FileSystems`: local paths, and URLs such as gs://, s3:// and hdfs://.

Convention: a URL is a path with a scheme. Functions take both unless they say otherwise.
"""

from __future__ import annotations

import contextlib

from apache_beam.io import filesystem
from apache_beam.io.filesystems import FileSystems


def list_files(pattern: str) -> list[filesystem.FileMetadata]:
    """The files that match a pattern, sorted by path; `*` stands for a part of a name, `**` for directories too."""
    (match,) = FileSystems.match([pattern])
    return sorted(match.metadata_list, key=lambda file: file.path)


def delete(path: str) -> None:
    """Deletes a file, or a directory with its contents; nothing happens if there is none."""
    with contextlib.suppress(filesystem.BeamIOError):
        if FileSystems.exists(path):
            FileSystems.delete([path])


def write_text(path: str, text: str) -> None:
    """Writes a text file: it appears under its name complete or not at all."""
    temporary = f"{path}.part"
    with FileSystems.create(temporary) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    delete(path)
    FileSystems.rename([temporary], [path])
