"""Writes run directories: complete ones, and checkpoints while a run trains."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

import tensorflow as tf

from fomm_tf import config, errors, files
from fomm_tf.checkpoint import runs

BEST = "best"


def refuse_existing(folder: str | pathlib.Path, cure: str = "choose another directory, or delete it first") -> None:
    """Checks that a new directory can get a name; to be called before long work.

    Raises:
      errors.UserError: if it is that of a file or of a non-empty directory; the message ends with `cure`.
    """
    folder = pathlib.Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise errors.UserError(f"{folder} already exists; {cure}.")


@contextlib.contextmanager
def new_folder(folder: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a directory that gets the name `folder` only if the block ends without an exception.

    Raises:
      errors.UserError: if `folder` exists and is not empty, or cannot be written.
    """
    refuse_existing(folder)
    with files.replace_atomically(pathlib.Path(folder)) as work:
        work.mkdir()
        yield work


def save(folder: str | pathlib.Path, run: runs.Run, provenance: str) -> None:
    """Writes a new run directory, atomically.

    Args:
      folder: must not exist, or be empty.
      run: what to write.
      provenance: where the weights come from, for README.txt.

    Raises:
      errors.UserError: see `new_folder`.
    """
    with new_folder(folder) as work:
        describe(work, run.config, provenance)
        try:
            name = _write_checkpoint(work, run)
        except tf.errors.OpError as error:
            raise errors.UserError(f"Cannot write the weights to {folder}: {error.message}.") from error
        _write_state(work, [name])


def pack(folder: str | pathlib.Path, run: runs.Run, provenance: str) -> None:
    """Writes a packaged model, atomically: float16 weights only, for distribution.

    Its config.yaml has no paths of data and backbone on this machine. Arguments as of `save`.

    Raises:
      errors.UserError: see `new_folder`; or if a weight exceeds float16.
    """
    defaults = config.Config().data
    data = dataclasses.replace(run.config.data, root=defaults.root, cache=defaults.cache)
    train = dataclasses.replace(run.config.train, backbone_file=None, init_from=None)
    settings = dataclasses.replace(run.config, data=data, train=train)
    with new_folder(folder) as work:
        describe(work, settings, provenance)
        runs.write_packaged(work, run)


def describe(folder: pathlib.Path, settings: config.Config, provenance: str) -> None:
    """Writes README.txt and config.yaml, which begins with it as comments, into a run directory, each atomically."""
    lines = provenance.rstrip().splitlines()
    # YAML allows no control characters, which file names may have.
    header = ("".join(char if char.isprintable() else " " for char in f"# {line}".rstrip()) for line in lines)
    _write_durably(folder / "config.yaml", "".join(f"{line}\n" for line in header) + config.dump(settings))
    _write_durably(folder / "README.txt", "".join(f"{line}\n" for line in lines))


class CheckpointManager:
    """Manages the checkpoints of a run that trains: the newest ones, and the best in `best/`, a run directory itself.

    Checkpoints are written atomically, and an older one is deleted only when a newer one is complete: a kill or a full
    disk at any moment leaves the previous checkpoint intact.

    Args:
      folder: the run directory, with its config.yaml and README.txt.
      run: what to save.
      keep: how many of the newest to keep.
    """

    def __init__(self, folder: pathlib.Path, run: runs.Run, keep: int) -> None:
        self._folder, self._run, self._keep = folder, run, keep
        # Left by a killed process.
        files.remove_temporary_files([folder])
        for path in folder.glob("ckpt-*.data-*"):
            if not path.with_suffix(".index").exists():
                path.unlink()
        state = tf.train.get_checkpoint_state(str(folder))
        paths = state.all_model_checkpoint_paths if state else ()
        self._kept = [name for name in map(os.path.basename, paths) if (folder / f"{name}.index").exists()]

    def save(self) -> None:
        """Writes a checkpoint of the run.

        Raises:
          errors.UserError: if it cannot be written; the previous checkpoint remains.
        """
        try:
            name = _write_checkpoint(self._folder, self._run)
            kept = [*(kept for kept in self._kept if kept != name), name]
            _write_state(self._folder, kept[-self._keep :])
        except (tf.errors.OpError, OSError, errors.UserError) as error:
            reason = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
            last = f"the last good one is {self._kept[-1]}" if self._kept else "there is no earlier one"
            raise errors.UserError(
                f"Cannot write the checkpoint of step {self._run.step} to {self._folder}: {reason}; {last}. Free "
                "disk space, then continue with `resume`."
            ) from error
        for stale in kept[: -self._keep]:
            for path in self._folder.glob(f"{stale}.*"):
                path.unlink()
        self._kept = kept[-self._keep :]

    def mark_best(self) -> None:
        """Makes the newest checkpoint the one in `best/`, by hard links where the file system has them."""
        name = self._kept[-1]
        with files.replace_atomically(self._folder / BEST) as best:
            best.mkdir()
            for path in [self._folder / "config.yaml", self._folder / "README.txt", *self._folder.glob(f"{name}.*")]:
                try:
                    os.link(path, best / path.name)
                except OSError:
                    shutil.copy2(path, best / path.name)
            _write_state(best, [name])


def _write_checkpoint(folder: pathlib.Path, run: runs.Run) -> str:
    """Writes `ckpt-N`, its index last: without the index it is not a checkpoint."""
    name = f"ckpt-{run.step or run.epoch}"
    with tempfile.TemporaryDirectory(prefix=files.TEMPORARY_PREFIX, dir=folder) as work:
        runs.trackable(run).write(str(pathlib.Path(work) / name))
        for path in sorted(pathlib.Path(work).glob(f"{name}.*")):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(path, folder / path.name)
    return name


def _write_state(folder: pathlib.Path, names: Sequence[str]) -> None:
    """Lists the checkpoints by relative names, as a run directory may be moved; TensorFlow writes absolute ones."""
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    _write_durably(folder / "checkpoint", "\n".join(lines) + "\n")


def _write_durably(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically, so that it also survives a power failure."""
    with files.replace_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
