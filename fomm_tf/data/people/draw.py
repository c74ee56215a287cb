"""Draws a posed person: rays find the surface, colors and lights are computed per sample, edges get more samples.

A first pass casts one ray for each cell of a grid. Cells at an edge (another material, a jump in depth, a bend) get
nine more. Light is computed in linear RGB, then exposed and encoded as a camera does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import rays, shading
from fomm_tf.data.people import scene as scenes
from fomm_tf.data.people.person import Person
from fomm_tf.data.people.scene import Camera, Scene
from fomm_tf.opencv import cv2

_EDGE_DEPTH, _EDGE_BEND = 0.12, 0.75
_FINE = 3
_SHADOW_RAYS = 6


class Drawing(NamedTuple):
    """A frame before the camera's noise.

    Attributes:
      image: `[S, S, 3]` float32 sRGB in [0, 1].
      face: `[S, S]` float32: share of each pixel that is the face (its skin, eyes, and mouth).
      person: `[S, S]` float32: share that is the person.
    """

    image: np.ndarray
    face: np.ndarray
    person: np.ndarray


def draw(
    person: Person, vertices: np.ndarray, camera: Camera, scene: Scene, background: np.ndarray, exposure: float
) -> Drawing:
    """Draws one frame.

    Args:
      person: materials, colors, and textures.
      vertices: `[V, 3]` posed, of `person.pose`.
      camera: where from.
      scene: lights and ambient light.
      background: `[S, S, 3]` float32 sRGB.
      exposure: factor of the light.
    """
    size = background.shape[0]
    factor = 2 if size <= 160 else 1
    side = size * factor
    caster = rays.Caster(vertices, person.triangles)
    normals = person.normals(vertices)
    shadow = _cast_shadows(caster, vertices, normals, scene.lights[0], person.eye_vertices)
    attributes = shading.vertex_attributes(person, normals, shadow)

    place = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(place, -place)
    back = background if factor == 1 else cv2.resize(background, (side, side), interpolation=cv2.INTER_LINEAR)
    hits = caster.intersect(*_rays_through(camera, x.ravel(), y.ravel()))
    hit = hits.triangle >= 0
    face, covered = np.zeros(side * side, np.float32), hit.astype(np.float32)
    image = back.reshape(-1, 3).copy()
    edge = _find_edges(person, hits, normals, side)
    plain = hit & ~edge
    image[plain], face[plain] = _shade(person, attributes, scene, camera, hits, plain, x.ravel(), y.ravel(), exposure)

    where = np.flatnonzero(edge)
    if len(where):
        offsets = ((np.arange(_FINE) + 0.5) / _FINE * 2 - 1) / side
        dx, dy = (grid.ravel().astype(np.float32) for grid in np.meshgrid(offsets, offsets))
        fine_x = (x.ravel()[where][:, None] + dx).ravel()
        fine_y = (y.ravel()[where][:, None] + dy).ravel()
        hits = caster.intersect(*_rays_through(camera, fine_x, fine_y))
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
    return Drawing(layers[..., :3], layers[..., 3], layers[..., 4])


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """`[N, 2]` (x, y) in the frame, x right, y down, -1 and 1 at the frame's EDGES, of points `[N, 3]`."""
    depth = camera.position[2] - points[:, 2]
    across = camera.focal * (points[:, :2] - camera.position[:2]) / depth[:, None]
    return across * np.float32([1, -1])


def _rays_through(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    directions = np.stack([x / camera.focal, y / camera.focal, -np.ones_like(x)], axis=-1)
    return np.broadcast_to(camera.position, directions.shape), directions


def _find_edges(person: Person, hits: rays.Hits, normals: np.ndarray, side: int) -> np.ndarray:
    """Cells whose neighbor shows another surface."""
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
    caster: rays.Caster, vertices: np.ndarray, normals: np.ndarray, light: scenes.Light, eyes: np.ndarray
) -> np.ndarray:
    """Share of the key light that reaches each vertex, `[V]`; eyes, which are moist and clear, are never dark."""
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


def measure_exposure(person: Person, vertices: np.ndarray, camera: Camera, scene: Scene) -> float:
    """The factor that brings the median brightness of the face's skin to the scene's."""
    gray = np.zeros((40, 40, 3), np.float32)
    drawing = draw(person, vertices, camera, scene, gray, 1.0)
    linear = shading.decode(drawing.image[drawing.face > 0.9].mean(axis=-1))
    if not len(linear):
        return 1.0
    tone = person.skin.tone.mean()
    # Cameras expose dark skin darker than light skin, but not by all of the difference.
    aim = scene.brightness * (0.55 + 0.75 * tone)
    return float(np.clip(shading.decode(np.array(aim)) / (np.median(linear) + 1e-4), 0.1, 8))
