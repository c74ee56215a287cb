"""Body and face shape of an identity: the base mesh plus age, sex, ancestry, weight, and details of the face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import assets

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


class Shape(NamedTuple):
    """Who somebody is, apart from colors and hair.

    Attributes:
      male: 0 female to 1 male.
      age: 0 young adult to 1 old.
      ancestry: `[3]` shares of African, Asian, and European features; sums to 1.
      weight: -1 slim to 1 heavy.
      muscle: 0 average to 1 strong.
      vertices: `[V, 3]` float32 of all vertices of the mesh, without expression.
    """

    male: float
    age: float
    ancestry: np.ndarray
    weight: float
    muscle: float
    vertices: np.ndarray


def sample_shape(random: np.random.Generator) -> Shape:
    """Draws a shape."""
    human = assets.load()
    male = float(np.clip(random.choice([0.0, 1.0]) + random.choice([-1, 1]) * abs(random.normal(0, 0.12)), 0, 1))
    age = float(random.beta(1.0, 1.4))
    ancestry = random.dirichlet([0.55, 0.55, 0.55])
    weight, muscle = float(np.clip(random.normal(0.05, 0.42), -1, 1)), float(random.beta(1, 4))
    weights = _macro_weights(male, age, ancestry, weight, muscle)
    weights.update(_detail_weights(random, human))
    return Shape(male, age, ancestry, weight, muscle, apply_targets(human, weights))


def apply_targets(human: assets.Human, weights: dict[str, float]) -> np.ndarray:
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


def _detail_weights(random: np.random.Generator, human: assets.Human) -> dict[str, float]:
    """Weights of some opposed pairs (`-incr` or `-decr`) a group, alike on both sides, and a little asymmetry."""
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
