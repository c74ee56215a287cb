"""Models by name: bundled with the package, released by others, or added by the user.

Convention:
  * `models.yaml` lists what is bundled and what can be downloaded;
  * an installed model is `models/NAME/` in the cache: `float32/`, a run directory; `float16/`, the same as a packaged
    model; `source.json`, where it comes from. Either directory may be deleted;
  * `NAME` is the float32 model, or the float16 one if there is no other; `NAME/float16` chooses.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from fomm_tf import errors, files
from fomm_tf.fetch import cache

_PACKAGE = pathlib.Path(__file__).parents[1]
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
PRECISIONS = ("float32", "float16")


class Address(NamedTuple):
    """Where a file can be downloaded.

    Attributes:
      url: http or https.
      digest: `sha256:` or `md5:` and the hexadecimal digest; None if it is not known.
      size: in bytes; None if it is not known.
    """

    url: str
    digest: str | None = None
    size: int | None = None


class Model(NamedTuple):
    """An entry of `models.yaml`.

    Attributes:
      animates: what it was trained on, in a few words.
      license: as stated where it is published.
      frames: WIDTHxHEIGHT.
      speed: `fast`, `medium` or `slow`: above 10, above 1, or below 1 frame per second on two CPU cores.
      megabytes: of the first address' file; None if it is not known.
      recipe: the config whose model section it has; None if the model is part of the project.
      overrides: changes to the recipe, as on the command line.
      addresses: in the order to try.
      pages: where a person can look for it.
    """

    animates: str
    license: str
    frames: str = "256x256"
    speed: str = "medium"
    megabytes: int | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    pages: tuple[str, ...] = ()

    @property
    def terms(self) -> str:
        """What to say before a download."""
        size = f"{self.megabytes} MB to download" if self.megabytes else "download of unknown size"
        return f"{self.animates}, {size}. License: {self.license}."


class NotInstalledError(errors.UserError):
    """A released model is not in the cache; `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name} is not installed; download it with: fomm fetch model {name}")
        self.name = name


@functools.cache
def table() -> dict[str, Model]:
    """All entries of `models.yaml` by name, without bundled models that this installation lacks."""
    tree = yaml.safe_load((_PACKAGE / "fetch" / "models.yaml").read_text(encoding="utf-8"))
    models = {
        name: Model(**{**entry, "addresses": tuple(Address(**address) for address in entry.get("addresses", ()))})
        for name, entry in tree.items()
    }
    return {name: model for name, model in models.items() if model.recipe or name in bundled()}


def released(name: str) -> Model:
    """The entry of a model that can be downloaded.

    Raises:
      errors.UserError: if there is none.
    """
    names = [known for known, model in table().items() if model.recipe]
    if name not in names:
        raise errors.UserError(f"the model {name!r} is not in the list of released models: {', '.join(names)}.")
    return table()[name]


def bundled() -> dict[str, pathlib.Path]:
    """Name -> run directory of each model that is part of the installed package."""
    return {path.parent.name: path.parent for path in sorted((_PACKAGE / "assets").glob("*/config.yaml"))}


def installed() -> dict[str, pathlib.Path]:
    """Name -> directory of each model in the cache."""
    found = sorted({path.parents[1] for path in (cache.cache_folder() / "models").glob("*/float*/config.yaml")})
    return {path.name: path for path in found}


def locate(name: str) -> pathlib.Path:
    """The run directory of a bundled or installed model, without using the network.

    Raises:
      NotInstalledError: if it is a released model that is not in the cache.
      errors.UserError: if there is no model of this name.
    """
    if (run := bundled().get(name)) is not None:
        return run
    base, _, precision = name.partition("/")
    if base in installed() and precision in ("", *PRECISIONS):
        for chosen in (precision,) if precision else PRECISIONS:
            if (folder(base) / chosen / "config.yaml").is_file():
                return folder(base) / chosen
    if base in table():
        raise NotInstalledError(base)
    known = ", ".join(dict.fromkeys([*table(), *installed()]))
    raise errors.UserError(f"{name!r} is not the name of a model; expected one of {known}.")


def check_new_name(name: str) -> None:
    """Checks the name of a user's own model.

    Raises:
      errors.UserError: if it is not a simple name, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise errors.UserError(f"the name {name!r} must consist of letters, digits, '.', '-' and '_'; choose another.")
    if name in table() or name in installed():
        raise errors.UserError(f"there is already a model {name}; choose another name, or delete {folder(name)}.")


def folder(name: str) -> pathlib.Path:
    """The directory of an installed model, which may not exist."""
    return cache.cache_folder() / "models" / name


@contextlib.contextmanager
def locked(name: str) -> Iterator[pathlib.Path]:
    """Yields the directory of a model, which no other process installs meanwhile.

    Raises:
      errors.UserError: if another process does, or the cache cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with cache.convert_errors(folder(name)):
            folder(name).mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(files.lock(folder(name) / ".lock"))
            except BlockingIOError:
                raise errors.UserError(f"another process is installing {name}; wait for it, then try again.") from None
        yield folder(name)
