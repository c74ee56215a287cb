"""Loads trained models by name, run directory, or checkpoint of the PyTorch reference; installs models by name."""

from __future__ import annotations

import datetime
import functools
import pathlib
import shutil
from collections.abc import Callable

import fomm_tf
from fomm_tf import checkpoint, config, errors, fetch, files, torch_import, weights
from fomm_tf.fetch import catalog
from fomm_tf.models import execution

# float32 and float16 files of the released networks: 59.8 million values.
_CONVERTED_BYTES = 59_800_000 * 6
_SOURCE = "source.json"


def load(
    preset: str | pathlib.Path,
    precision: str = "float32",
    reference_config: str | None = None,
    align_corners: bool = True,
) -> checkpoint.Run:
    """Loads a trained model; the arguments are those of `FirstOrderMotionModel.from_preset`.

    Raises:
      errors.UserError: if there is no such model, or it cannot be read.
    """
    path = pathlib.Path(preset)
    if str(preset) in fetch.bundled() or not path.exists():
        try:
            path = fetch.locate(str(preset))
        except fetch.NotInstalledError:
            raise
        except errors.UserError as error:
            raise errors.UserError(f"preset: {error} Or give a run directory or a reference checkpoint.") from None
    if path.is_dir():
        return checkpoint.load(path, precision=precision)
    with execution.mixed_precision_scope(precision):
        return torch_import.import_checkpoint(weights.load(path), reference_config, align_corners, str(path))


def install(
    name: str, origin: str | None = None, keep_original: bool = False, report: Callable[[str], object] = print
) -> pathlib.Path:
    """Downloads a released model and converts it, for use by its name.

    Args:
      name: see `fetch.released`.
      origin: an address or a file to use instead of the listed addresses.
      keep_original: keep the downloaded checkpoint too.
      report: receives lines about what is downloaded, its size and its license.

    Returns:
      The model's directory.

    Raises:
      fetch.UnavailableError: if it cannot be downloaded.
      errors.UserError: if there is no such model, another process installs it, the file is not this model, or the disk
        is full.
    """
    model = fetch.released(name)
    if origin is None and name in fetch.installed():
        report(f"{name} is already installed; delete {catalog.folder(name)} to download it again")
        return catalog.folder(name)
    settings = config.override(config.load(config.recipes()[model.recipe]), model.overrides)
    is_file = origin is not None and "://" not in origin
    report(f"{name}: {model.terms}")
    addresses = [catalog.Address(origin, _expected_digest(model, origin))] if origin is not None else model.addresses
    with catalog.locked(name) as folder:
        original = folder / pathlib.PurePosixPath(model.addresses[0].url.partition("?")[0]).name
        if is_file:
            source, sha256 = origin, _check_file(addresses[0], name)
            run = _read_checkpoint(pathlib.Path(origin), settings)
        else:
            from fomm_tf.fetch import http

            earlier = _earlier_digests(folder)
            addresses = [address._replace(digest=address.digest or earlier.get(address.url)) for address in addresses]
            read = functools.partial(_read_checkpoint, settings=settings)
            try:
                run, source, sha256 = http.download(addresses, original, read, _CONVERTED_BYTES, report)
            except fetch.UnavailableError as error:
                pages = f" from {' or '.join(model.pages)}" if model.pages else ""
                raise fetch.UnavailableError(
                    f"{error}. Download it with a browser{pages}, then: fomm fetch model {name} --from FILE"
                ) from error
        report(f"sha256 {sha256}; all tensors have the names and shapes of {name}; converting")
        _write(folder, run, source, sha256, model.license)
        if not keep_original:
            original.unlink(missing_ok=True)
    return folder


def add(name: str, origin: str, reference_config: str | None = None) -> pathlib.Path:
    """Installs a model of the user's own, for use by its name.

    Args:
      name: letters, digits, '.', '-' and '_'.
      origin: a run directory, or a reference checkpoint.
      reference_config: see `torch_import.choose_config`.

    Returns:
      The model's directory.

    Raises:
      errors.UserError: if the name is taken, or the model cannot be read.
    """
    path = pathlib.Path(origin)
    catalog.check_new_name(name)
    run = checkpoint.load(path) if path.is_dir() else _read_checkpoint(path, reference_config)
    with catalog.locked(name) as folder:
        _write(folder, run, str(path.absolute()), None if path.is_dir() else files.file_digest(path), "the user's own")
    return folder


def _read_checkpoint(path: pathlib.Path, settings: config.Config | str | None) -> checkpoint.Run:
    """Reads the networks only: neither discriminator nor optimizers are needed to animate."""
    if path.is_file():
        from fomm_tf.fetch import http

        if (page := http.describe_page(path)) is not None:
            raise errors.UserError(f"{path} is {page}, not the checkpoint; download it again.")
    return torch_import.import_checkpoint(weights.load(path, networks_only=True), settings, True, str(path))


def _write(folder: pathlib.Path, run: checkpoint.Run, source: str, sha256: str | None, terms: str) -> None:
    """Writes both forms of a model and what it comes from."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    origin = f"{source}\n(sha256 {sha256})" if sha256 else source
    provenance = (
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}, {date}, from\n{origin}\nLicense: {terms}.\n"
    )
    files.remove_temporary_files([folder])
    for exported in folder.rglob("saved_model-*"):
        shutil.rmtree(exported)
    for precision, write in zip(catalog.PRECISIONS, (checkpoint.save, checkpoint.pack), strict=True):
        with files.replace_atomically(folder / precision) as work:
            write(work, run, provenance)
    files.write_json(folder / _SOURCE, {"source": source, "sha256": sha256, "date": date, "license": terms})


def _earlier_digests(folder: pathlib.Path) -> dict[str, str]:
    """Address -> digest of what was installed before, so that a changed file is noticed."""
    if not (folder / _SOURCE).is_file():
        return {}
    earlier = files.read_json(folder / _SOURCE)
    return {earlier["source"]: f"sha256:{earlier['sha256']}"}


def _expected_digest(model: catalog.Model, origin: str) -> str | None:
    """The digest of a file from elsewhere: that of the listed files of its kind, if each of them has one."""
    is_paddle = origin.endswith(".pdparams")
    digests = [each.digest for each in model.addresses if each.url.endswith(".pdparams") == is_paddle]
    return digests[0] if digests and all(digests) else None


def _check_file(file: catalog.Address, name: str) -> str:
    """Checks the digest of a file that the user has, and returns its sha256."""
    files.check_readable(pathlib.Path(file.url))
    algorithm, _, digest = (file.digest or "").partition(":")
    if digest and (got := files.file_digest(file.url, algorithm)) != digest:
        raise errors.UserError(
            f"{file.url} has {algorithm} {got}; expected {digest}, that of {name}: download it again, or install it "
            f"under a name of its own with: fomm models add NAME {file.url}"
        )
    return files.file_digest(file.url)
