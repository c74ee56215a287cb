"""Light, camera, and background of a clip, and what the camera does to an image: contrast, blur, noise, JPEG.

A background is a still image larger than the frame: a wall, a room, blurred lights, leaves and sky.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.ndimage

from fomm_tf.data.people.geometry import fractal, smoothstep
from fomm_tf.opencv import cv2

FRAMINGS = ("talking", "portrait", "figure")
# Half width of the visible area at the person's distance, in decimeters: minimum and maximum.
_HALF_WIDTHS = {"talking": (1.2, 1.75), "portrait": (1.8, 2.6), "figure": (9.3, 11.5)}
# Fraction of the background's side that the camera sees, and how far it may move in units of half the frame.
SEEN, _SPARE = 0.8, 0.2


class Camera(NamedTuple):
    """A pinhole camera that looks along -z."""

    position: np.ndarray  # `[3]`, decimeters
    focal: float  # x in the frame (-1 to 1 from edge to edge) = focal * (x - position x) / (position z - z)


class Light(NamedTuple):
    """Light from far away."""

    direction: np.ndarray  # `[3]` unit, to the light
    color: np.ndarray  # `[3]` linear RGB times strength
    spread: float  # angular size of the light, radians, for soft shadows


class Scene(NamedTuple):
    """Everything in a clip except the person and the motion."""

    framing: str  # one of `FRAMINGS`
    lights: tuple[Light, ...]  # the first casts shadows
    sky: np.ndarray  # `[3]` linear RGB of light from above and below
    ground: np.ndarray  # `[3]` linear RGB of light from above and below
    background: np.ndarray  # `[s, s, 3]` float32 sRGB, 1.25 times the frame
    offset: np.ndarray  # `[3]` from the person's face (or body) to the frame's middle, decimeters
    half_width: float  # of the visible area, decimeters
    distance: float  # of the camera
    shake: np.ndarray  # `[F, 2]` movement of the camera in units of half the frame
    brightness: float  # of the person's skin in the image, sRGB
    contrast: float  # of the camera's image
    saturation: float  # of the camera's image
    gamma: float  # of the camera's image
    tint: np.ndarray  # `[3]` white balance
    blur: float  # standard deviation as a fraction of the frame's side
    noise: float  # standard deviation of pixels, sRGB
    quality: int  # of JPEG, or 0 for none


def sample_scene(seed: int, framing: str, frames: int, size: int, step: int = 1, still: bool = False) -> Scene:
    """Samples a scene.

    Args:
      seed: 0 or more.
      framing: one of `FRAMINGS`.
      frames: of the clip.
      size: of the frames in pixels; the background's resolution depends on it.
      step: 25ths of a second between frames.
      still: whether the camera does not move.
    """
    random = np.random.default_rng([seed, 31])
    background = _draw_background(random, round(1.25 * max(size, 96)))
    lights = _sample_lights(random)
    around = background.reshape(-1, 3).mean(axis=0) ** 2.2
    around = around / (around.mean() + 1e-6)
    ambient = random.uniform(0.25, 0.75) * (0.6 + 0.4 * around)
    low, high = _HALF_WIDTHS[framing]
    hand = 0.0 if still or random.random() < 0.5 else random.uniform(0.004, 0.03)
    shake = np.stack([_drift(random, frames, step) for _ in range(2)], axis=-1) * hand
    gray = random.random() < 0.04
    return Scene(
        framing=framing,
        lights=lights,
        sky=(ambient * random.uniform(0.8, 1.3)).astype(np.float32),
        ground=(ambient * random.uniform(0.3, 0.8)).astype(np.float32),
        background=background,
        offset=np.float32([random.normal(0, 0.12), random.normal(0, 0.12), 0]) * (2 if framing == "figure" else 1),
        half_width=float(random.uniform(low, high)),
        distance=_sample_distance(random, framing),
        shake=shake.astype(np.float32),
        brightness=float(random.uniform(0.36, 0.68)),
        contrast=float(np.exp(random.normal(0, 0.15))),
        saturation=0.0 if gray else float(np.clip(random.normal(0.92, 0.16), 0.3, 1.4)),
        gamma=float(np.exp(random.normal(0, 0.08))),
        tint=np.exp(random.normal(0, 0.045) * np.float32([1, 0, -1]) + random.normal(0, 0.02, 3)).astype(np.float32),
        blur=float(random.choice([0, 0.002, 0.005], p=[0.4, 0.4, 0.2]) * random.uniform(0.4, 1.2)),
        noise=float(random.choice([0.0, 0.006, 0.016], p=[0.35, 0.45, 0.2]) * random.uniform(0.4, 1.3)),
        quality=int(random.choice([0, random.integers(70, 96), random.integers(35, 70)], p=[0.35, 0.45, 0.2])),
    )


def _sample_distance(random, framing: str) -> float:
    return float(random.uniform(30, 60) if framing == "figure" else np.exp(random.uniform(np.log(5), np.log(16))))


def _sample_lights(random) -> tuple[Light, ...]:
    """A key light, a weaker fill, and sometimes one from behind; colors between candle light and shade."""
    angle, height = random.normal(0, 0.75), random.uniform(-0.1, 1.0)
    strength = random.uniform(0.6, 1.3)
    lights = [Light(_direction(angle, height), strength * _warmth(random), float(random.uniform(0.03, 0.4)))]
    lights.append(Light(_direction(-angle - random.normal(0.5, 0.5), random.uniform(-0.2, 0.6)),
                        strength * random.uniform(0.05, 0.5) * _warmth(random), 0.3))  # fmt: skip
    if random.random() < 0.4:
        side = random.choice([-1, 1]) * random.uniform(1.9, 2.8)
        lights.append(Light(_direction(side, random.uniform(0, 0.8)), random.uniform(0.2, 1.0) * _warmth(random), 0.2))
    return tuple(lights)


def _direction(angle: float, height: float) -> np.ndarray:
    return np.float32([np.sin(angle) * np.cos(height), np.sin(height), np.cos(angle) * np.cos(height)])


def _warmth(random) -> np.ndarray:
    warm = random.normal(0.03, 0.11)
    return np.exp(np.float32([warm, 0, -1.3 * warm]))


def _drift(random, frames: int, step: int) -> np.ndarray:
    walk = scipy.ndimage.gaussian_filter1d(random.normal(size=frames * step + 40), 5)[20:-20]
    return walk[::step] / 0.237  # its standard deviation


def aim(scene: Scene, target: np.ndarray, frame: int) -> Camera:
    """The camera of a frame.

    Args:
      scene: of the clip.
      target: `[3]` the point in the middle of the frame, of the face at rest or of the body.
      frame: counted from 0.
    """
    shift = [*(scene.shake[frame] * scene.half_width), scene.distance]
    return Camera(np.float32(target + scene.offset + np.array(shift)), float(scene.distance / scene.half_width))


def background_of(scene: Scene, frame: int, size: int) -> np.ndarray:
    """`[size, size, 3]` float32 sRGB: the part of the background that the camera sees."""
    side = scene.background.shape[0]
    center = 0.5 + 0.5 * background_shift(scene, frame)
    scale = SEEN * side / size
    corner = center * side - scale * size / 2 + 0.5 * scale - 0.5
    matrix = np.float32([[scale, 0, corner[0]], [0, scale, corner[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(scene.background, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)


def background_shift(scene: Scene, frame: int) -> np.ndarray:
    """`[2]`: the middle of the part that the camera sees, (x, y) in the background, y down, -1 and 1 at its edges."""
    return SEEN * np.clip(scene.shake[frame] * [1, -1], -_SPARE, _SPARE)


def expose(image: np.ndarray, scene: Scene, random: np.random.Generator) -> np.ndarray:
    """Applies a scene's camera settings.

    Args:
      image: `[S, S, 3]` float32 sRGB in [0, 1].
      scene: the camera settings.
      random: generator of this frame's noise.

    Returns:
      `[S, S, 3]` uint8 RGB.
    """
    image = image * scene.tint
    gray = image @ np.float32([0.299, 0.587, 0.114])
    image = gray[..., None] + scene.saturation * (image - gray[..., None])
    image = np.clip(0.5 + scene.contrast * (image - 0.5), 0, 1) ** np.float32(scene.gamma)
    sigma = scene.blur * image.shape[0]
    if sigma > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if scene.noise:
        # Neighboring pixels share noise, as after demosaicing and compression.
        grain = random.normal(size=image.shape).astype(np.float32)
        grain = 0.7 * grain + 0.6 * cv2.GaussianBlur(grain, (0, 0), 0.8)
        image = image + scene.noise * grain
    result = (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)
    if scene.quality:
        options = [cv2.IMWRITE_JPEG_QUALITY, scene.quality]
        _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(result[..., ::-1]), options)
        result = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    return result


def _draw_background(random: np.random.Generator, side: int) -> np.ndarray:
    """A random background, `[side, side, 3]` float32 sRGB in [0, 1]."""
    kinds = (_plain, _gradient, _room, _room, _shapes, _lights, _outdoors, _shelves, _curtain)
    image = kinds[random.integers(len(kinds))](random, side)
    blur = random.choice([0.0, 0.006, 0.02, 0.05], p=[0.3, 0.25, 0.25, 0.2]) * random.uniform(0.5, 1.5) * side
    if blur > 0.4:
        image = cv2.GaussianBlur(image, (0, 0), float(blur), borderType=cv2.BORDER_REFLECT)
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    light = 1 + random.uniform(0, 0.3) * (np.cos(random.uniform(0, 6.3)) * across + 0.5 * random.normal() * down)
    return np.clip(image * light[..., None], 0, 1).astype(np.float32)


def _palette(random, count: int) -> np.ndarray:
    """Colors of rooms: mostly muted, mostly of similar hue."""
    base = random.random(3)
    colors = base + random.normal(0, random.uniform(0.05, 0.3), (count, 3))
    gray = colors.mean(axis=1, keepdims=True)
    colors = gray + (colors - gray) * random.choice([0.15, 0.4, 1.2], p=[0.45, 0.35, 0.2])
    return np.clip(colors * random.uniform(0.35, 1.1) + random.uniform(0, 0.15), 0.01, 1).astype(np.float32)


def _fill(color: np.ndarray, side: int) -> np.ndarray:
    return np.broadcast_to(color, (side, side, 3)).astype(np.float32).copy()


def _plain(random, side):
    image = _fill(_palette(random, 1)[0], side)
    return image * (1 + random.uniform(0, 0.05) * fractal(random, side, side, 4, 6))[..., None]


def _gradient(random, side):
    first, second = _palette(random, 2)
    place = smoothstep(fractal(random, side, side, 2, 2), -1.5, 1.5)[..., None]
    return first + place * (second - first)


def _room(random, side):
    """A wall with frames, a door, panels, a lamp, and a floor line."""
    colors = _palette(random, 8)
    image = _plain(random, side) if random.random() < 0.5 else _fill(colors[0], side)
    corner = int(random.uniform(-0.5, 1.2) * side)
    if 0 < corner < side:
        image[:, corner:] *= random.uniform(0.65, 0.95)
    for _ in range(random.integers(1, 6)):
        x, y = random.uniform(-0.1, 1, 2) * side
        wide, high = random.uniform(0.08, 0.45, 2) * side
        if random.random() < 0.35:  # a door or a window reaches the bottom
            high = side
        box = tuple(int(v) for v in (x, y)), tuple(int(v) for v in (x + wide, y + high))
        frame = colors[random.integers(8)].tolist()
        cv2.rectangle(image, *box, frame, -1)
        inner = int(max(1, 0.012 * side))
        content = np.clip(colors[random.integers(8)] * random.uniform(0.6, 1.6), 0, 1).tolist()
        (left, top), (right, bottom) = box
        cv2.rectangle(image, (left + inner, top + inner), (right - inner, bottom - inner), content, -1)
        for _ in range(random.integers(0, 4)):
            a, b = (tuple(int(v) for v in random.uniform((x, y), (x + wide, y + high))) for _ in range(2))
            cv2.line(image, a, b, colors[random.integers(8)].tolist(), int(random.integers(1, 5)), cv2.LINE_AA)
    if random.random() < 0.25:
        center = tuple(int(v) for v in random.uniform(0, side, 2))
        glow = np.zeros((side, side), np.float32)
        cv2.circle(glow, center, int(0.06 * side), 1.0, -1)
        glow = cv2.GaussianBlur(glow, (0, 0), 0.05 * side)
        image = image + glow[..., None] * np.float32([1, 0.85, 0.6])
    return image


def _shapes(random, side):
    colors = _palette(random, 12)
    image = _fill(colors[0], side)
    for color in colors[1:]:
        center = tuple(int(v) for v in random.uniform(0, side, 2))
        axes = tuple(int(v) for v in random.uniform(0.03, 0.35, 2) * side)
        if random.random() < 0.5:
            cv2.ellipse(image, center, axes, random.uniform(0, 180), 0, 360, color.tolist(), -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((center, axes, random.uniform(0, 90))).astype(int)
            cv2.fillPoly(image, [corners], color.tolist(), cv2.LINE_AA)
    return image * (1 + 0.06 * fractal(random, side, side, 8, 5))[..., None]


def _lights(random, side):
    """Discs of lights out of focus in the dark."""
    image = _gradient(random, side) * random.uniform(0.2, 0.7)
    radius = random.uniform(0.01, 0.06) * side
    for _ in range(random.integers(10, 60)):
        disc = np.zeros((side, side), np.float32)
        center = tuple(int(v) for v in random.uniform(0, side, 2))
        cv2.circle(disc, center, max(1, int(radius * random.uniform(0.6, 1.3))), 1.0, -1, cv2.LINE_AA)
        color = random.random(3) * 0.5 + np.float32([0.6, 0.5, 0.3])
        image = image + disc[..., None] * random.uniform(0.1, 0.6) * color
    return image.astype(np.float32)


def _outdoors(random, side):
    """Sky above, leaves or houses below."""
    sky = np.float32([0.6, 0.75, 0.95]) * random.uniform(0.6, 1.1) + random.normal(0, 0.05, 3)
    green = np.float32([0.3, 0.42, 0.2]) * random.uniform(0.4, 1.2) + random.normal(0, 0.08, 3)
    leaves = green * (1 + 0.35 * fractal(random, side, side, 8, 6, 1.25))[..., None]
    edge = np.linspace(0, 1, side)[:, None] + 0.08 * fractal(random, side, side, 3, 4)
    if random.random() < 0.4:
        share = smoothstep(edge, 0.0, 0.04 * random.random() + 0.01)
    else:
        share = smoothstep(edge, random.uniform(0.05, 0.7), random.uniform(0.7, 0.75))
    image = sky + share[..., None] * (leaves - sky)
    return image.astype(np.float32)


def _shelves(random, side):
    """Rows of books or boxes."""
    colors = _palette(random, 30)
    image, y = _fill(colors[0] * 0.4, side), 0
    while y < side:
        high, x = int(random.uniform(0.1, 0.2) * side), 0
        while x < side:
            wide = int(random.uniform(0.015, 0.06) * side) + 1
            top = y + int(random.uniform(0, 0.35) * high)
            image[top : y + high, x : x + wide] = colors[random.integers(30)] * random.uniform(0.6, 1.1)
            x += wide + int(random.random() < 0.1) * wide
        image[y + high : y + high + max(1, side // 60)] = colors[1]
        y += high + max(1, side // 60)
    return image


def _curtain(random, side):
    place = np.linspace(0, 1, side)
    wave = np.sin(2 * np.pi * (random.uniform(4, 25) * place + 0.6 * np.sin(random.uniform(2, 9) * place)))
    image = _fill(_palette(random, 1)[0], side)
    return image * (1 + random.uniform(0.05, 0.3) * wave)[None, :, None].astype(np.float32)
