"""An identity as one mesh: the shaped body, hair, clothes, and glasses, ready to be posed and drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.spatial

from fomm_tf.data.people import body, geometry, hair, skin, surfaces
from fomm_tf.data.people.body import Material
from fomm_tf.data.people.geometry import smoothstep
from fomm_tf.opencv import cv2

# Height on the base mesh above which the body is kept if only head and shoulders are visible.
_BUST_BOTTOM = 3.0
# Fraction of the gap between the landmarks of the lids at which they meet, and limits of the scale of a blink.
_MEET, _BLINKS = 0.95, (0.4, 1.5)


class Person(NamedTuple):
    """A person at rest."""

    shape: body.Shape  # age, sex, ancestry, and the shaped base mesh
    skin: skin.Skin  # of the head
    clothes: surfaces.Clothes  # below the collar
    hair: hair.Hair  # kind and color
    eyes: np.ndarray  # `[3, 3]` float32 sRGB of the iris, its edge, and the white
    iris: float  # its radius as a share of the eye's
    vertices: np.ndarray  # `[V, 3]` float32 at rest; the first are those of the base mesh
    coordinates: np.ndarray  # `[V, 3]` float32: for the body, the vertex' position on the base mesh
    weights: np.ndarray  # `[V, B]` float32 of the bones
    joints: np.ndarray  # `[B, 3]` float32
    units: np.ndarray  # `[U, M, 3]` float32: displacements of the vertices `moving` by each face unit
    moving: np.ndarray  # `[M]` int
    triangles: np.ndarray  # `[T, 3]` int
    materials: np.ndarray  # `[T]` `Material`
    colors: np.ndarray  # `[T, 3]` float32 sRGB of hair, cloth, and frames
    masks: np.ndarray  # `[V, 4]` float32: lips, eyelids, inside of the mouth, ambient occlusion
    normals: geometry.VertexNormals  # computes the vertices' normals
    strands: np.ndarray  # `[h, w]` float32 noise along hair
    eye_vertices: np.ndarray  # `[E]` int


def sample_person(seed: int, whole_body: bool = False, texture_width: int = 768) -> Person:
    """Samples an identity.

    Args:
      seed: 0 or more.
      whole_body: keep the body below the chest.
      texture_width: of the head's texture in pixels.
    """
    human = body.load()
    # Independent streams: changing how hair is sampled does not change the shape of a seed.
    streams = [np.random.default_rng([seed, stream]) for stream in range(6)]
    shape = body.sample_shape(streams[0])
    color = hair.sample_color(streams[1], shape)
    complexion = skin.sample_skin(streams[2], shape, color, texture_width)
    skull = surfaces.measure_skull(human, shape.vertices)
    hairdo = hair.sample_hair(streams[3], shape, skull, color)
    glasses = hair.sample_glasses(streams[4], human, shape.vertices, skull)
    worn = surfaces.sample_clothes(streams[5], hairdo.surfaces[0].color if hairdo.kind == "scarf" else None)
    complexion = complexion._replace(texture=_color_scalp(streams[3], complexion.texture, hairdo))
    return _assemble(human, shape, complexion, worn, hairdo, glasses, streams[4], whole_body)


def _color_scalp(random, texture: np.ndarray, hairdo: hair.Hair) -> np.ndarray:
    """Colors the scalp within the hairline."""
    head = skin.head_map(texture.shape[1])
    relative = head.points[..., 1] - (7.24 + 0.05)
    line = np.interp(np.abs(head.angle), *hairdo.line)
    ragged = 0.02 * np.sin(60 * head.angle) + 0.015 * random.normal(size=line.shape)
    alpha = (hairdo.stubble * smoothstep(relative - line + ragged, -0.05, 0.06))[..., None]
    grain = 1 + 0.18 * random.normal(size=line.shape)[..., None]
    colors = texture[..., :3] * (1 - alpha) + 255 * alpha * 0.8 * hairdo.color * grain
    hairy = np.maximum(texture[..., 3:], 255 * alpha)
    return np.clip(np.concatenate([colors, hairy], axis=-1), 0, 255).astype(np.uint8)


def _assemble(human, shape, complexion, worn, hairdo, glasses, random, whole_body) -> Person:
    of_body = human.triangles[human.parts == Material.SKIN]
    normals = geometry.VertexNormals(len(human.vertices), of_body)(shape.vertices)
    vertices = shape.vertices + normals * _outward(human, complexion, worn)[:, None]
    used = np.ones(len(human.triangles), bool)
    if not whole_body:
        used = human.vertices[human.triangles, 1].min(axis=1) > _BUST_BOTTOM
    used &= ~_hidden_lashes(random, human, shape)
    attached = (*hairdo.surfaces, *glasses)
    count = len(vertices)
    all_vertices, all_coordinates, weights = [vertices], [human.vertices], [human.weights]
    triangles, materials = [human.triangles[used]], [human.parts[used]]
    colors = [np.zeros((used.sum(), 3), np.float32)]
    nearest = scipy.spatial.cKDTree(vertices[human.part_vertices(Material.SKIN)])
    for part in attached:
        all_vertices.append(part.vertices)
        all_coordinates.append(part.coordinates)
        weights.append(_follow(human, vertices, part, nearest))
        triangles.append(part.triangles + count)
        materials.append(np.full(len(part.triangles), part.material))
        colors.append(np.broadcast_to(part.color, (len(part.triangles), 3)))
        count += len(part.vertices)
    moving, units = _unit_matrix(human)
    _fit_blinks(human, shape.vertices, moving, units)
    masks = np.zeros((count, 4), np.float32)
    masks[:, 3] = 1
    masks[: len(vertices)] = np.stack(
        [human.masks["lips"], human.masks["eyelids"], human.masks["inside-mouth"], human.occlusion], axis=-1
    )
    triangles = np.concatenate(triangles)
    return Person(
        shape, complexion, worn, hairdo, *_sample_eyes(random, shape), np.concatenate(all_vertices).astype(np.float32),
        np.concatenate(all_coordinates).astype(np.float32), np.concatenate(weights).astype(np.float32),
        human.joint_positions(shape.vertices), units, moving, triangles, np.concatenate(materials).astype(np.uint8),
        np.concatenate(colors).astype(np.float32), masks, geometry.VertexNormals(count, triangles),
        _strand_noise(random, hairdo.kind),
        np.concatenate([human.part_vertices(part) for part in (Material.LEFT_EYE, Material.RIGHT_EYE)]),
    )  # fmt: skip


def _hidden_lashes(random, human, shape) -> np.ndarray:
    """Triangles of eyelashes that are too fine to be seen: the lower ones, and all of most men."""
    lashes = human.parts == Material.LASHES
    eye = human.vertices[human.landmarks["left_inner_eye"], 1]
    shown = shape.male < 0.5 and random.random() < 0.8
    return lashes & ((human.vertices[human.triangles, 1].mean(axis=1) < eye) | (not shown))


def _outward(human: body.Human, complexion: skin.Skin, worn: surfaces.Clothes) -> np.ndarray:
    """Distance by which cloth and beard lift the surface, `[V]` decimeters."""
    column, row = skin.texel(human.vertices, complexion.beard.shape)
    beard = cv2.remap(complexion.beard, column[None], row[None], cv2.INTER_LINEAR)[0]
    lifted = 0.16 * beard * (human.vertices[:, 1] < 6.9) * (human.masks["lips"] < 0.3)
    lifted = lifted * (human.masks["inside-mouth"] < 0.3) * (human.vertices[:, 1] > 5.6)
    lifted = np.where(human.vertices[:, 1] > 6.5, 0.4, 1) * lifted
    covered = smoothstep(surfaces.cloth_depth(worn, human.vertices), -0.02, 0.3)
    outside = np.ones(len(human.vertices), bool)
    for part in range(Material.LEFT_EYE, Material.HAIR):
        outside[human.part_vertices(part)] = False
    return ((lifted + worn.puff * covered) * outside).astype(np.float32)


def _follow(human, vertices, part, nearest) -> np.ndarray:
    """Bone weights of an attached mesh: those of the head, and further down those of the nearest skin."""
    weights = np.zeros((len(part.vertices), len(human.bones)), np.float32)
    head = human.bones.index("head")
    weights[:, head] = 1
    if part.material == Material.FRAME:
        return weights
    chin, ear = (vertices[human.landmarks[name], 1] for name in ("chin", "left_ear"))
    loose = smoothstep(part.vertices[:, 1], ear - 0.35 * (ear - chin), chin - 0.5)[:, None]
    _, index = nearest.query(part.vertices)
    return weights * (1 - loose) + human.weights[human.part_vertices(Material.SKIN)[index]] * loose


def _unit_matrix(human: body.Human) -> tuple[np.ndarray, np.ndarray]:
    targets = [human.targets[f"unit/{name}"] for name in human.units]
    moving = np.unique(np.concatenate([target.indices for target in targets]))
    place = np.zeros(len(human.vertices), int)
    place[moving] = np.arange(len(moving))
    matrix = np.zeros((len(targets), len(moving), 3), np.float32)
    for row, target in zip(matrix, targets, strict=True):
        row[place[target.indices]] = target.deltas
    return moving, matrix


def _fit_blinks(human: body.Human, vertices: np.ndarray, moving: np.ndarray, units: np.ndarray) -> None:
    """Scales the blinks, in place, so that the lids of this shape just meet: large eyes blink further than small."""
    for side in ("Left", "Right"):
        upper, lower = (human.landmarks[f"{side.lower()}_{lid}_lid"] for lid in ("upper", "lower"))
        blink = units[human.units.index(f"eyeBlink{side}")]
        fall = -np.subtract(*blink[np.searchsorted(moving, [upper, lower]), 1])
        gap = vertices[upper, 1] - vertices[lower, 1]
        blink *= np.float32(np.clip(_MEET * gap / fall, *_BLINKS))


def _sample_eyes(random, shape) -> tuple[np.ndarray, float]:
    fair = float(shape.ancestry[2])
    irises = np.array([[62, 38, 24], [92, 60, 36], [120, 92, 50], [92, 118, 128], [108, 140, 160], [96, 116, 84]])
    shares = np.array([3, 2, 0.3 + fair, 1.5 * fair, 1.5 * fair, fair])
    iris = irises[random.choice(len(irises), p=shares / shares.sum())] / 255 * random.uniform(0.7, 1.25)
    white = np.array([0.9, 0.87, 0.85]) * random.uniform(0.85, 1.02)
    colors = np.stack([iris, iris * random.uniform(0.25, 0.6), white]).astype(np.float32)
    return colors, float(random.uniform(0.4, 0.46))


def _strand_noise(random, kind: str) -> np.ndarray:
    """Brightness of hair: fine along the angle, drawn out down the strands; clumped for curls."""
    fields = (random.normal(size=(60 if kind == "curly" else 6, count)).astype(np.float32) for count in (700, 90))
    fine, coarse = (cv2.resize(field, (1024, 128), interpolation=cv2.INTER_CUBIC) for field in fields)
    return 0.6 * fine + 0.5 * coarse


def pose(person: Person, units: np.ndarray, rotations: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses a person.

    Args:
      person: at rest.
      units: `[U]` weights of the face units, in the order of `body.Human.units`.
      rotations: `[B, 3]` (pitch, yaw, roll) of each bone relative to its parent, radians.
      shift: `[3]` of the whole body, decimeters.

    Returns:
      Vertices `[V, 3]` float32, and the head's rotation `[3, 3]`.
    """
    human = body.load()
    vertices = person.vertices.copy()
    moved = units.astype(np.float32) @ person.units.reshape(len(person.units), -1)
    vertices[person.moving] += moved.reshape(-1, 3)
    linear, offset = _bone_transforms(human, person.joints, rotations)
    offset = offset + shift
    matrices = np.concatenate([linear, offset[:, :, None]], axis=2).reshape(len(linear), 12)
    blended = (person.weights @ matrices.astype(np.float32)).reshape(-1, 3, 4)
    vertices = np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]
    return vertices.astype(np.float32), linear[human.bones.index("head")]


def _bone_transforms(human, joints, rotations) -> tuple[np.ndarray, np.ndarray]:
    linear, offset = np.zeros((len(joints), 3, 3)), np.zeros((len(joints), 3))
    for bone, parent in enumerate(human.parents):
        turn = geometry.rotation(*rotations[bone])
        above = linear[parent] if parent >= 0 else np.eye(3)
        position = above @ joints[bone] + (offset[parent] if parent >= 0 else 0)
        linear[bone] = above @ turn
        offset[bone] = position - linear[bone] @ joints[bone]
    return linear, offset
