"""Color and light of samples on a person's surface, all samples at once."""

from __future__ import annotations

import functools

import numpy as np

from fomm_tf.data.people import body, skin, surfaces
from fomm_tf.data.people.body import Material
from fomm_tf.data.people.geometry import smoothstep
from fomm_tf.data.people.person import Person
from fomm_tf.data.people.scene import Scene
from fomm_tf.opencv import cv2

# Light that enters skin leaves it nearby, red the furthest, so that it reaches around the edge of shadows.
_WRAP = np.float32([0.38, 0.2, 0.14])
_FACE_BACK, _FACE_LOW, _FACE_HIGH, _JAW = 0.55, 6.1, 8.0, 6.5


def decode(srgb: np.ndarray) -> np.ndarray:
    """sRGB to linear light."""
    return np.clip(srgb, 0, None) ** np.float32(2.2)


def encode(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1], with highlights rolled off."""
    bright = np.clip(linear, 0, None)
    rolled = np.where(bright > 0.6, 0.6 + 0.4 * np.tanh((bright - 0.6) / 0.4 * 0.85), bright)
    return np.clip(rolled, 0, 1) ** np.float32(1 / 2.2)


def vertex_attributes(person: Person, normals: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """`[V, 11]` float32 that are interpolated at samples: coordinates 3, normal 3, masks 4, shadow 1."""
    return np.concatenate([person.coordinates, normals, person.masks, shadow[:, None]], axis=1).astype(np.float32)


def shade(
    person: Person, scene: Scene, triangle: np.ndarray, mixed: np.ndarray, directions: np.ndarray, exposure: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colors of samples.

    Args:
      person: the person.
      scene: its lights.
      triangle: `[N]` index of the triangle that was hit.
      mixed: `[N, 11]` interpolated `vertex_attributes`.
      directions: `[N, 3]` unit, from the camera.
      exposure: factor of the light.

    Returns:
      `[N, 3]` float32 sRGB in [0, 1], and `[N]` float32: 1 where the sample is of the face.
    """
    material = person.materials[triangle]
    points, normal, masks, shadow = mixed[:, :3], mixed[:, 3:6], mixed[:, 6:10], mixed[:, 10]
    normal = _normalize(normal)
    normal = np.where(_dot(normal, directions)[:, None] > 0.2, -normal, normal)
    albedo, gloss, power, soft = _albedo(person, triangle, material, points, masks)
    occlusion = 0.25 + 0.75 * masks[:, 3]
    inside = (material == Material.TEETH) | (material == Material.TONGUE)
    occlusion = np.where(inside, 0.8, occlusion * (1 - 0.75 * masks[:, 2] * (material == Material.SKIN)))
    occlusion = np.where(material <= Material.RIGHT_EYE, occlusion * np.where(material > 0, 0.85, 1), occlusion)
    sky = 0.5 + 0.5 * normal[:, 1:2]
    light = (scene.ground + sky * (scene.sky - scene.ground)) * occlusion[:, None]
    shine = np.zeros((len(triangle), 3), np.float32)
    for number, lamp in enumerate(scene.lights):
        facing = (normal @ lamp.direction)[:, None]
        wrap = soft[:, None] * _WRAP
        diffuse = np.clip((facing + wrap) / (1 + wrap), 0, None) / (1 + 0.5 * wrap)
        # Interpolation may give slightly negative values.
        seen = np.maximum(shadow, 0) if number == 0 else np.float32(1)
        seen = (seen * (0.4 + 0.6 * occlusion))[..., None]
        if number == 0:  # shadows on skin have red edges
            seen = np.concatenate([seen ** (1 - 0.3 * soft[:, None]), seen, seen], axis=1)
        light = light + diffuse * seen * lamp.color
        half = _normalize(lamp.direction - directions)
        lit = np.flatnonzero(facing[:, 0] > -0.05)
        glint = np.clip(_dot(normal[lit], half[lit]), 0, 1) ** power[lit]
        away = 1 - np.clip(-_dot(directions[lit], half[lit]), 0, 1)
        fresnel = 0.35 + 3.9 * away * away * away
        strength = glint * gloss[lit] * fresnel * seen[lit, -1]
        shine[lit] += strength[:, None] * lamp.color
    grazing = np.square(np.square(1 - np.clip(-_dot(normal, directions), 0, 1)))
    light = light + (0.25 * grazing * occlusion)[:, None] * scene.sky
    result = encode((decode(albedo) * light + shine) * exposure)
    return result.astype(np.float32), _is_face(material, points, masks).astype(np.float32)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(_dot(vectors, vectors) + np.float32(1e-12))[:, None]


def _is_face(material: np.ndarray, points: np.ndarray, masks: np.ndarray) -> np.ndarray:
    # Below the jaw, which rises towards the ears, is the throat.
    back = _FACE_BACK + 1.6 * np.clip(_JAW - points[:, 1], 0, None)
    front = (points[:, 2] > back) & (points[:, 1] > _FACE_LOW) & (points[:, 1] < _FACE_HIGH)
    return (material <= Material.LASHES) & ((material != Material.SKIN) | front)


def _albedo(person: Person, triangle, material, points, masks):
    """sRGB, strength and sharpness of highlights, and softness of the shading, for each sample."""
    count = len(triangle)
    albedo = person.colors[triangle].copy()
    gloss, power, soft = (np.full(count, value, np.float32) for value in (0.02, 8.0, 0.0))
    for kind, paint in (
        (Material.SKIN, _paint_skin),
        (Material.LEFT_EYE, _paint_eye),
        (Material.RIGHT_EYE, _paint_eye),
        (Material.HAIR, _paint_hair),
        (Material.CLOTH, _paint_cloth),
    ):
        chosen = np.flatnonzero(material == kind)
        if len(chosen):
            values = paint(person, points[chosen], masks[chosen], albedo[chosen], kind)
            albedo[chosen], gloss[chosen], power[chosen], soft[chosen] = values
    for kind, color, strength, sharp in (
        (Material.TEETH, (0.86, 0.82, 0.74), 0.15, 40),
        (Material.TONGUE, (0.68, 0.36, 0.36), 0.08, 20),
        (Material.LASHES, (0.07, 0.05, 0.05), 0.0, 8),
    ):
        albedo[material == kind] = color
        gloss[material == kind], power[material == kind] = strength, sharp
    frame = material == Material.FRAME
    gloss[frame], power[frame] = 0.4, 50
    return albedo, gloss, power, soft


def _sample(texture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    # OpenCV's maps have at most 32767 rows.
    return np.concatenate([
        cv2.remap(texture, column[None, at : at + 30000], row[None, at : at + 30000], cv2.INTER_LINEAR,
                  borderMode=cv2.BORDER_REPLICATE)[0]
        for at in range(0, len(column), 30000)
    ]).astype(np.float32)  # fmt: skip


def _paint_skin(person: Person, points, masks, albedo, kind):
    complexion = person.skin
    texture = _sample(complexion.texture, *skin.texel(points, complexion.texture.shape[:2])) / 255
    color, hairy = texture[:, :3], texture[:, 3]
    body = smoothstep(points[:, 1], 5.7, 5.2)[:, None]
    color = color + body * (complexion.tone - color)
    for mask, over, strength in (
        (masks[:, 1], complexion.lids, complexion.lid_strength),
        (masks[:, 0], complexion.lips, complexion.lip_strength),
        (masks[:, 2], np.float32([0.45, 0.16, 0.16]), 1.0),
    ):
        alpha = (strength * mask)[:, None]
        color = color + alpha * (over - color)
    lips = masks[:, 0]
    gloss = (0.05 + 0.16 * complexion.gloss) * (1 - 0.7 * hairy) + 0.1 * lips
    power = 14 + 22 * complexion.gloss + 20 * lips
    soft = 1 - 0.8 * hairy
    low = np.flatnonzero(points[:, 1] < 6.6)
    if len(low):
        covered = surfaces.cloth_coverage(person.clothes, points[low])
        cloth = surfaces.cloth_color(person.clothes, points[low])
        color[low] += covered[:, None] * (cloth - color[low])
        gloss[low] = gloss[low] * (1 - covered) + 0.01 * covered
        soft[low] *= 1 - covered
    return color, gloss, power, soft


def _paint_eye(person: Person, points, masks, albedo, kind):
    center, radius = _eye_sphere(int(kind))
    local = (points - center) / radius
    away = np.hypot(local[:, 0], local[:, 1]) + 9 * (local[:, 2] < 0)
    iris, edge, white = person.eyes
    size = person.iris
    rays_ = 0.8 + 0.3 * np.sin(np.arctan2(local[:, 1], local[:, 0]) * 23) * np.sin(away * 40)
    color = white * (1 - 0.25 * smoothstep(away, 0.55, 1.0)[:, None] * np.float32([0.4, 1, 1]))
    inside = smoothstep(away, size * 1.05, size * 0.96)[:, None]
    ring = smoothstep(away, size * 0.72, size * 0.98)[:, None]
    color = color + inside * ((iris + ring * (edge - iris)) * rays_[:, None] - color)
    color = color * (1 - 0.96 * smoothstep(away, size * 0.46, size * 0.38)[:, None])
    full = np.full(len(points), 1, np.float32)
    return color.astype(np.float32), 1.6 * full, 160 * full, 0.5 * full


@functools.cache
def _eye_sphere(kind: int) -> tuple[np.ndarray, float]:
    """Center and radius of an eye of the base mesh."""
    human = body.load()
    eye = human.vertices[human.part_vertices(Material(kind))]
    return (eye.max(axis=0) + eye.min(axis=0)) / 2, float(np.ptp(eye, axis=0).max() / 2)


def _paint_hair(person: Person, points, masks, albedo, kind):
    strands = person.strands
    column = ((points[:, 0] / np.pi + 1) / 2 * strands.shape[1]).astype(np.float32)
    row = (np.clip(points[:, 1], 0, 1) * (strands.shape[0] - 1)).astype(np.float32)
    noise = _sample(strands, column, row)
    roots = smoothstep(points[:, 1], 0.25, 0.0)
    color = albedo * np.clip(1 + 0.2 * noise - 0.2 * roots, 0.4, 1.7)[:, None]
    power, soft = (np.full(len(points), value, np.float32) for value in (12, 0.3))
    return color, np.clip(0.07 + 0.06 * noise, 0.01, 0.3), power, soft


def _paint_cloth(person: Person, points, masks, albedo, kind):
    knit = 1 + 0.05 * np.sin(points[:, 0] * 70) * np.sin(points[:, 1] * 90)
    folds = 1 + 0.06 * np.sin(points @ person.clothes.grain.T).sum(axis=1) / np.sqrt(2.5)
    full = np.ones(len(points), np.float32)
    return albedo * (knit * folds)[:, None], 0.015 * full, 8 * full, 0.2 * full
