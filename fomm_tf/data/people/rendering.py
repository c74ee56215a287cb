"""Renders clips (identity, motion, and scene, each from a seed), with ground truth.

A first pass casts one ray for each cell of a grid; cells at an edge (another material, a jump in depth, a bend) get
nine more. Light is computed in linear RGB, then exposed and encoded as in a camera.

Convention: positions are (x, y), x to the right, y down; -1 and 1 are the centers of the first and last pixel, as in
`fomm_tf.ops`. Left and right are the person's. Head angles are in degrees: yaw is positive when the head turns to
the person's left (to the right in the image), pitch when it looks down, roll when the crown moves to the left in the
image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import body, geometry, person, scene, shading, shots
from fomm_tf.data.people.person import Person
from fomm_tf.data.people.scene import Camera, Scene
from fomm_tf.opencv import cv2

_FACE = 0.5
_EDGE_DEPTH, _EDGE_BEND = 0.12, 0.75
_FINE = 3
_SHADOW_RAYS = 6


class Truth(NamedTuple):
    """Ground truth of one frame.

    Attributes:
      landmarks: `[L, 2]` float32, in the order of `landmark_names()`.
      angles: `[3]` float32: the head's (yaw, pitch, roll) in degrees.
      mouth: gap between the lips as a fraction of the distance between the eyes.
      eyes: `[2]` float32: closure of the left and right eye, 0 open at rest to 1 closed.
      gaze: `[2]` float32: to the person's left and up, -1 to 1.
    """

    landmarks: np.ndarray
    angles: np.ndarray
    mouth: float
    eyes: np.ndarray
    gaze: np.ndarray


class Frame(NamedTuple):
    """One frame.

    Attributes:
      image: `[S, S, 3]` uint8 RGB.
      face: `[S, S]` bool: the face's skin, eyes, and mouth.
      person: `[S, S]` bool: everything but the background.
      truth: ground truth.
    """

    image: np.ndarray
    face: np.ndarray
    person: np.ndarray
    truth: Truth


def landmark_names() -> tuple[str, ...]:
    """The names of the landmarks, in the order of `Truth.landmarks`."""
    return tuple(body.load().landmarks)


def render(clip: shots.Clip) -> Iterator[Frame]:
    """Renders the frames of a clip, one after another.

    Raises:
      UserError: if the framing is unknown or the size is below 32.
    """
    shot = shots.prepare(clip)
    rest = _measure_lids(shot.person.vertices, np.array([0.0, 1.0, 0.0]))
    exposure = _expose_face(shot)
    for frame, (vertices, head, camera) in enumerate(zip(shot.vertices, shot.heads, shot.cameras, strict=True)):
        background = scene.background_of(shot.scene, frame, clip.size)
        drawing = _draw(shot.person, vertices, camera, shot.scene, background, exposure)
        noise = np.random.default_rng([clip.scene_seed, 97, frame])
        truth = _measure(vertices, head, camera, clip.size, rest, shot.motion.gaze[frame])
        yield Frame(scene.expose(drawing.image, shot.scene, noise), drawing.face > _FACE, drawing.person > _FACE, truth)


def _measure_lids(vertices: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Height of the gap between the lids along the head's `up`, `[2]`; negative where they overlap."""
    marks = body.load().landmarks
    gaps = [vertices[marks[f"{side}_upper_lid"]] - vertices[marks[f"{side}_lower_lid"]] for side in ("left", "right")]
    return np.array(gaps) @ up


def _measure(vertices, head, camera, size, rest, gaze) -> Truth:
    marks = body.load().landmarks
    edges = shots.project(camera, vertices[list(marks.values())])
    # From the frame's edges at -1 and 1 to pixel centers.
    positions = edges * size / (size - 1)
    forward, up = head[:, 2], head[:, 1]
    yaw = np.degrees(np.arctan2(forward[0], forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[1], -1, 1)))
    roll = np.degrees(np.arctan2(-up[0], up[1]))
    gap = np.linalg.norm(vertices[marks["upper_lip"]] - vertices[marks["lower_lip"]])
    left, right = (
        (vertices[marks[f"{side}_inner_eye"]] + vertices[marks[f"{side}_outer_eye"]]) / 2 for side in ("left", "right")
    )
    mouth = float(gap / np.linalg.norm(left - right))
    closure = np.clip(1 - _measure_lids(vertices, up) / rest, -1, 1)
    return Truth(np.float32(positions), np.float32([yaw, pitch, roll]), mouth, np.float32(closure), gaze)


class _Drawing(NamedTuple):
    """A frame before the camera's noise."""

    image: np.ndarray  # `[S, S, 3]` float32 sRGB in [0, 1]
    face: np.ndarray  # `[S, S]` float32: fraction of each pixel that is the face (its skin, eyes, and mouth)
    person: np.ndarray  # `[S, S]` float32: fraction that is the person


def _draw(
    person: Person, vertices: np.ndarray, camera: Camera, scene: Scene, background: np.ndarray, exposure: float
) -> _Drawing:
    """Draws one frame: `vertices` `[V, 3]` are posed, `background` is `[S, S, 3]` float32 sRGB."""
    size = background.shape[0]
    factor = 2 if size <= 160 else 1
    side = size * factor
    caster = geometry.Caster(vertices, person.triangles)
    normals = person.normals(vertices)
    shadow = _cast_shadows(caster, vertices, normals, scene.lights[0], person.eye_vertices)
    attributes = shading.vertex_attributes(person, normals, shadow)

    place = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = (grid.ravel() for grid in np.meshgrid(place, -place))
    back = background if factor == 1 else cv2.resize(background, (side, side), interpolation=cv2.INTER_LINEAR)
    hits = caster.intersect(*shots.rays_through(camera, x, y))
    hit = hits.triangle >= 0
    face, covered = np.zeros(side * side, np.float32), hit.astype(np.float32)
    image = back.reshape(-1, 3).copy()
    edge = _find_edges(person, hits, normals, side)
    plain = hit & ~edge
    image[plain], face[plain] = _shade(person, attributes, scene, camera, hits, plain, x, y, exposure)

    where = np.flatnonzero(edge)
    if len(where):
        offsets = ((np.arange(_FINE) + 0.5) / _FINE * 2 - 1) / side
        dx, dy = (grid.ravel().astype(np.float32) for grid in np.meshgrid(offsets, offsets))
        fine_x, fine_y = (x[where][:, None] + dx).ravel(), (y[where][:, None] + dy).ravel()
        hits = caster.intersect(*shots.rays_through(camera, fine_x, fine_y))
        hit = hits.triangle >= 0
        colors = np.repeat(image[where] * 0 + back.reshape(-1, 3)[where], _FINE**2, axis=0)
        share = np.zeros(len(colors), np.float32)
        colors[hit], share[hit] = _shade(person, attributes, scene, camera, hits, hit, fine_x, fine_y, exposure)
        image[where] = colors.reshape(len(where), -1, 3).mean(axis=1)
        face[where] = share.reshape(len(where), -1).mean(axis=1)
        covered[where] = hit.reshape(len(where), -1).mean(axis=1)
    layers = np.concatenate([image, face[:, None], covered[:, None]], axis=1).reshape(side, side, 5)
    if factor > 1:
        layers = layers.reshape(size, factor, size, factor, 5).mean(axis=(1, 3))
    return _Drawing(layers[..., :3], layers[..., 3], layers[..., 4])


def _find_edges(person: Person, hits: geometry.Hits, normals: np.ndarray, side: int) -> np.ndarray:
    """Marks cells whose neighbor is of another surface."""
    triangle = hits.triangle
    material = np.where(triangle >= 0, person.materials[triangle], 255).reshape(side, side)
    depth = np.where(triangle >= 0, hits.distance, 99).reshape(side, side)
    bend = np.where((triangle >= 0)[:, None], normals[person.triangles[triangle, 0]], 0).reshape(side, side, 3)
    edge = np.zeros((side, side), bool)
    for axis in (0, 1):
        ahead, behind = (slice(1, None), slice(None)), (slice(None, -1), slice(None))
        if axis:
            ahead, behind = ahead[::-1], behind[::-1]
        jump = material[ahead] != material[behind]
        jump |= np.abs(depth[ahead] - depth[behind]) > _EDGE_DEPTH
        jump |= np.einsum("ijk,ijk->ij", bend[ahead], bend[behind]) < _EDGE_BEND
        jump &= np.minimum(depth[ahead], depth[behind]) < 99
        edge[ahead] |= jump
        edge[behind] |= jump
    return edge.ravel()


def _cast_shadows(
    caster: geometry.Caster, vertices: np.ndarray, normals: np.ndarray, light: scene.Light, eyes: np.ndarray
) -> np.ndarray:
    """Fraction of the key light that reaches each vertex, `[V]`; eyes, which are moist and clear, are never dark."""
    random = np.random.default_rng(5)
    result = np.ones(len(vertices), np.float32)
    facing = np.flatnonzero(normals @ light.direction > -0.1)
    directions = light.direction + light.spread * random.uniform(-1, 1, (_SHADOW_RAYS, 3))
    start = vertices[facing] + 0.03 * normals[facing] + 0.01 * light.direction
    blocked = caster.occluded(
        np.repeat(start, _SHADOW_RAYS, axis=0), np.tile(directions.astype(np.float32), (len(facing), 1))
    )
    result[facing] = 1 - blocked.reshape(len(facing), -1).mean(axis=1)
    result[eyes] = 0.7 + 0.3 * result[eyes]
    return result


def _shade(person, attributes, scene, camera, hits, chosen, x, y, exposure):
    triangle, u, v = hits.triangle[chosen], hits.u[chosen], hits.v[chosen]
    corners = person.triangles[triangle]
    mixed = attributes[corners[:, 0]] * (1 - u - v)[:, None]
    mixed += attributes[corners[:, 1]] * u[:, None]
    mixed += attributes[corners[:, 2]] * v[:, None]
    ahead = np.full(len(u), -1, np.float32)
    directions = np.stack([x[chosen] / camera.focal, y[chosen] / camera.focal, ahead], axis=-1)
    directions /= np.sqrt(np.einsum("ij,ij->i", directions, directions))[:, None]
    return shading.shade(person, scene, triangle, mixed, directions, exposure)


def _expose_face(shot: shots.Shot) -> float:
    """The factor that brings the median brightness of the face's skin, at rest and from the front, to the scene's."""
    moves, place = shot.motion, shot.scene
    vertices, _ = person.pose(shot.person, 0 * moves.units[0], 0 * moves.rotations[0], 0 * moves.shift[0])
    middle = vertices[body.load().landmarks["nose_bridge"]]
    camera = Camera(np.float32([*middle[:2] - (0, 0.2), place.distance]), place.distance / 1.2)
    gray = np.zeros((40, 40, 3), np.float32)
    drawing = _draw(shot.person, vertices, camera, place, gray, 1.0)
    linear = shading.decode(drawing.image[drawing.face > 0.9].mean(axis=-1))
    if not len(linear):
        return 1.0
    tone = shot.person.skin.tone.mean()
    # Cameras expose dark skin darker than light skin, but not by all of the difference.
    aim = place.brightness * (0.55 + 0.75 * tone)
    return float(np.clip(shading.decode(np.array(aim)) / (np.median(linear) + 1e-4), 0.1, 8))
