"""The human mesh with its shape targets, face units, and skeleton, from `assets/human.npz`; shapes of identities.

Convention: x to the person's left, y up, z out of the face; lengths in decimeters. The file's provenance and license
(CC0) are in its directory.
"""

from __future__ import annotations

import enum
import functools
import pathlib
from typing import NamedTuple

import numpy as np

_FILE = pathlib.Path(__file__).parent / "assets" / "human.npz"
_UNIT = "unit/"
_ANCESTRIES = ("african", "asian", "caucasian")
# Groups of detail targets: how many are chosen, and the standard deviation of their weights.
_DETAILS = {
    "head": (5, 0.4),
    "nose": (10, 0.42),
    "mouth": (9, 0.4),
    "eyes": (10, 0.38),
    "chin": (5, 0.42),
    "cheek": (4, 0.45),
    "eyebrows": (2, 0.5),
    "forehead": (3, 0.45),
    "ears": (4, 0.45),
    "neck": (3, 0.3),
}
_ASYMMETRIES = 6
_MAX_WEIGHT = 0.95


class Material(enum.IntEnum):
    """How a triangle is shaded; the first six are the parts of the base mesh, as numbered in the file."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    TEETH = 3
    TONGUE = 4
    LASHES = 5
    HAIR = 6
    CLOTH = 7
    FRAME = 8


class Target(NamedTuple):
    """A sparse displacement of the mesh."""

    indices: np.ndarray  # `[N]` int, vertices that move
    deltas: np.ndarray  # `[N, 3]` float32, decimeters at weight 1


class Human(NamedTuple):
    """The contents of the file."""

    vertices: np.ndarray  # `[V, 3]` float32, the base mesh
    triangles: np.ndarray  # `[T, 3]` int
    parts: np.ndarray  # `[T]` `Material` of each triangle
    masks: dict[str, np.ndarray]  # name -> `[V]` float32 in [0, 1]: lips, eyelids, ears, inside-mouth, fingernails
    occlusion: np.ndarray  # `[V]` float32: open share of the hemisphere over each vertex of the base mesh
    targets: dict[str, Target]  # name -> target, such as `nose/nose-hump-incr` or `macro/asian-male-old`
    units: tuple[str, ...]  # the names of the face units, sorted; `targets[f"unit/{name}"]`
    landmarks: dict[str, int]  # name -> vertex
    bones: tuple[str, ...]  # names, parents before children
    parents: np.ndarray  # `[B]` int, -1 for the root
    joints: tuple[np.ndarray, ...]  # for each bone, the vertices whose mean is its joint
    weights: np.ndarray  # `[V, B]` float32, rows sum to 1

    def part_vertices(self, part: Material) -> np.ndarray:
        """The vertices of a part, sorted."""
        return np.unique(self.triangles[self.parts == part])

    def joint_positions(self, vertices: np.ndarray) -> np.ndarray:
        """Positions of the joints of a shape, `[B, 3]` float32."""
        return np.stack([vertices[joint].mean(axis=0) for joint in self.joints])


@functools.cache
def load() -> Human:
    """Reads the file, once per process."""
    with np.load(_FILE) as archive:
        data = {name: archive[name] for name in archive.files}
    quads = data["quads"].astype(np.int32)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    # A triangle of the source has its last corner twice.
    solid = triangles[:, 1] != triangles[:, 2]
    names, offsets = data["target_names"].tolist(), data["target_offsets"]
    indices, deltas = data["target_indices"].astype(np.int32), data["target_deltas"].astype(np.float32) / 1000
    targets = {
        name: Target(indices[start:end], deltas[start:end])
        for name, start, end in zip(names, offsets[:-1], offsets[1:], strict=True)
    }
    weights = np.zeros((len(data["vertices"]), len(data["bone_names"])), np.float32)
    np.put_along_axis(weights, data["bone_indices"].astype(int), data["bone_weights"] / np.float32(255), axis=1)
    weights[weights.sum(axis=1) == 0, data["bone_names"].tolist().index("head")] = 1
    return Human(
        vertices=data["vertices"],
        triangles=triangles[solid],
        parts=np.tile(data["parts"], 2)[solid],
        masks=dict(zip(data["mask_names"].tolist(), data["masks"] / np.float32(255), strict=True)),
        occlusion=data["occlusion"] / np.float32(255),
        targets=targets,
        units=tuple(name.removeprefix(_UNIT) for name in names if name.startswith(_UNIT)),
        landmarks=dict(zip(data["landmark_names"].tolist(), data["landmarks"].astype(int).tolist(), strict=True)),
        bones=tuple(data["bone_names"].tolist()),
        parents=data["bone_parents"].astype(int),
        joints=tuple(np.split(data["joint_indices"].astype(int), np.cumsum(data["joint_counts"])[:-1])),
        weights=weights / weights.sum(axis=1, keepdims=True),
    )


class Shape(NamedTuple):
    """Shape of an identity, without colors and hair."""

    male: float  # 0 female to 1 male
    age: float  # 0 young adult to 1 old
    ancestry: np.ndarray  # `[3]` shares of African, Asian, and European features; sums to 1
    weight: float  # -1 slim to 1 heavy
    muscle: float  # 0 average to 1 strong
    vertices: np.ndarray  # `[V, 3]` float32 of all vertices of the mesh, without expression


def sample_shape(random: np.random.Generator) -> Shape:
    """Samples a shape."""
    human = load()
    male = float(np.clip(random.choice([0.0, 1.0]) + random.choice([-1, 1]) * abs(random.normal(0, 0.12)), 0, 1))
    age = float(random.beta(1.0, 1.4))
    ancestry = random.dirichlet([0.55, 0.55, 0.55])
    weight, muscle = float(np.clip(random.normal(0.05, 0.42), -1, 1)), float(random.beta(1, 4))
    weights = _macro_weights(male, age, ancestry, weight, muscle)
    weights.update(_detail_weights(random, human))
    return Shape(male, age, ancestry, weight, muscle, _apply_targets(human, weights))


def _apply_targets(human: Human, weights: dict[str, float]) -> np.ndarray:
    """The base mesh with weighted targets, `[V, 3]` float32."""
    vertices = human.vertices.copy()
    for name, weight in weights.items():
        if weight:
            target = human.targets[name]
            vertices[target.indices] += np.float32(weight) * target.deltas
    return vertices


def _macro_weights(male: float, age: float, ancestry: np.ndarray, weight: float, muscle: float) -> dict[str, float]:
    weights = {}
    for sex, sex_share in (("female", 1 - male), ("male", male)):
        for period, age_share in (("young", 1 - age), ("old", age)):
            share = sex_share * age_share
            for name, part in zip(_ANCESTRIES, ancestry, strict=True):
                weights[f"macro/{name}-{sex}-{period}"] = share * float(part)
            body = f"macro/universal-{sex}-{period}"
            heavy = "maxweight" if weight > 0 else "minweight"
            weights[f"{body}-averagemuscle-averageweight"] = share * (1 - abs(weight)) * (1 - muscle)
            weights[f"{body}-averagemuscle-{heavy}"] = share * abs(weight) * (1 - muscle)
            weights[f"{body}-maxmuscle-averageweight"] = share * muscle
    return weights


def _detail_weights(random: np.random.Generator, human: Human) -> dict[str, float]:
    """Weights of some opposed pairs (`-incr` or `-decr`) per group, equal on both sides, and a little asymmetry."""
    weights: dict[str, float] = {}
    for group, (count, deviation) in _DETAILS.items():
        # l-NAME and r-NAME go together.
        names = sorted({name.split("/")[1].removeprefix("l-").removeprefix("r-") for name in human.targets
                        if name.startswith(f"{group}/")})  # fmt: skip
        for name in random.choice(names, min(count, len(names)), replace=False):
            weight = min(abs(random.normal(0, deviation)), _MAX_WEIGHT)
            for side in ("", "l-", "r-"):
                if f"{group}/{side}{name}" in human.targets:
                    weights[f"{group}/{side}{name}"] = weight
    names = sorted(name for name in human.targets if name.startswith("asym/"))
    for name in random.choice(names, _ASYMMETRIES, replace=False):
        weights[name] = min(abs(random.normal(0, 0.25)), 0.6)
    return weights
