"""A file system of Beam for URLs with the scheme store, kept in the directory $STORE; no directories, as in S3."""

import os
import pathlib

from apache_beam.io import filesystem, localfilesystem

_PREFIX = "store://"


class ObjectStore(filesystem.FileSystem):
    def __init__(self, pipeline_options):
        super().__init__(pipeline_options)
        self._files = localfilesystem.LocalFileSystem(pipeline_options)

    @classmethod
    def scheme(cls):
        return "store"

    @staticmethod
    def _local(url):
        assert url.startswith(_PREFIX)
        return str(pathlib.Path(os.environ["STORE"]) / url.removeprefix(_PREFIX))

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        root = pathlib.Path(os.environ["STORE"])
        for path in root.rglob("*"):
            url = f"{_PREFIX}{path.relative_to(root).as_posix()}"
            if path.is_file() and url.startswith(dir_or_prefix):
                yield self.metadata(url)

    def create(self, path, mime_type="application/octet-stream", compression_type="auto"):
        return self._files.create(self._local(path), mime_type, compression_type)

    def open(self, path, mime_type="application/octet-stream", compression_type="auto"):
        return self._files.open(self._local(path), mime_type, compression_type)

    def copy(self, source_file_names, destination_file_names):
        self._files.copy(*([self._local(url) for url in urls] for urls in (source_file_names, destination_file_names)))

    def rename(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            pathlib.Path(self._local(target)).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._local(source), self._local(target))

    def exists(self, path):
        return os.path.isfile(self._local(path))

    def size(self, path):
        return self._files.size(self._local(path))

    def last_updated(self, path):
        return self._files.last_updated(self._local(path))

    def checksum(self, path):
        return self._files.checksum(self._local(path))

    def metadata(self, path):
        return filesystem.FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        for path in paths:
            os.remove(self._local(path))
