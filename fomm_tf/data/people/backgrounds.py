"""Backgrounds: walls, rooms, blurred lights, leaves and sky; still images larger than the frame."""

from __future__ import annotations

import numpy as np

from fomm_tf.data.people.geometry import fractal, smoothstep
from fomm_tf.opencv import cv2


def draw_background(random: np.random.Generator, side: int) -> np.ndarray:
    """Draws a random background.

    Args:
      random: generator.
      side: in pixels.

    Returns:
      `[side, side, 3]` float32 sRGB in [0, 1].
    """
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
    share = (
        smoothstep(edge, 0.0, 0.04 * random.random() + 0.01)
        if random.random() < 0.4
        else smoothstep(edge, random.uniform(0.05, 0.7), random.uniform(0.7, 0.75))
    )
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
