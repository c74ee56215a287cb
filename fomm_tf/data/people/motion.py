"""Motions of head, eyes, brows, mouth, and body over time, all from one seed, independent of the identity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.ndimage

from fomm_tf.data.people import body

FPS = 25
# Mouth shapes of speech: weights of face units; names without a side count for both.
_VISEMES = (
    {"jawOpen": 0.55, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15},  # a
    {"jawOpen": 0.3, "mouthStretch": 0.35, "mouthSmile": 0.25, "mouthLowerDown": 0.3},  # e
    {"jawOpen": 0.12, "mouthSmile": 0.3, "mouthStretch": 0.4, "mouthUpperUp": 0.2, "mouthLowerDown": 0.25},  # i
    {"jawOpen": 0.4, "mouthFunnel": 0.55},  # o
    {"jawOpen": 0.14, "mouthPucker": 0.8},  # u
    {"mouthPress": 0.35, "mouthRollLower": 0.35, "mouthRollUpper": 0.3},  # m, b, p
    {"jawOpen": 0.06, "mouthRollLower": 0.55, "mouthUpperUp": 0.3},  # f, v
    {"jawOpen": 0.1, "mouthFunnel": 0.45, "mouthUpperUp": 0.15, "mouthLowerDown": 0.2},  # sh
    {"jawOpen": 0.2, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15},  # t, d, l, n
    {"jawOpen": 0.06, "mouthStretch": 0.25, "mouthLowerDown": 0.2},  # s
)
# Expressions that come and go.
_EXPRESSIONS = (
    {"mouthSmile": 0.8, "cheekSquint": 0.6, "eyeSquint": 0.35},
    {"mouthSmile": 0.95, "cheekSquint": 0.8, "eyeSquint": 0.5, "mouthUpperUp": 0.4, "jawOpen": 0.15},
    {"mouthSmile": 0.4, "mouthDimple": 0.4},
    {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.6, "jawOpen": 0.25},
    {"browDown": 0.8, "eyeSquint": 0.4, "mouthPress": 0.4},
    {"mouthFrown": 0.7, "browInnerUp": 0.5, "mouthShrugLower": 0.4},
    {"noseSneer": 0.7, "mouthUpperUp": 0.4, "browDown": 0.4, "eyeSquint": 0.4},
    {"mouthPucker": 0.7, "cheekPuff": 0.3},
    {"jawOpen": 0.8, "browOuterUp": 0.3, "mouthFunnel": 0.2},
)
_NECK = {"neck01": 0.12, "neck02": 0.15, "neck03": 0.18, "head": 0.55}
_ARMS_DOWN = 0.45


class Motion(NamedTuple):
    """Frames of a motion."""

    units: np.ndarray  # `[F, U]` float32 weights of the face units
    rotations: np.ndarray  # `[F, B, 3]` float32 (pitch, yaw, roll) of the bones, radians
    shift: np.ndarray  # `[F, 3]` float32 of the whole body, decimeters
    gaze: np.ndarray  # `[F, 2]` float32: to the person's left and up, -1 to 1
    time: np.ndarray  # `[F]` seconds


def sample_motion(seed: int, frames: int, step: int = 1, amount: float = 1.0, whole_body: bool = False) -> Motion:
    """Samples a motion.

    Args:
      seed: any integer from 0.
      frames: number of frames.
      step: 25ths of a second between frames.
      amount: of head and body motion, above 0 and at most 1.
      whole_body: also move arms, legs, and trunk.
    """
    human, random = body.load(), np.random.default_rng([seed, 77])
    count = frames * step
    tracks: dict[str, np.ndarray] = {}
    tempo = float(np.exp(random.normal(0, 0.3)))
    energy = _speak(random, tracks, count, tempo)
    _express(random, tracks, count, tempo)
    head, gaze = _look_around(random, tracks, count, tempo, amount, energy)
    _blink(random, tracks, count)
    rotations = _turn_bones(random, human, head, count, amount, whole_body)
    shift = np.stack([_wander(random, count, 0.35 * tempo) for _ in range(3)], axis=-1) * [0.12, 0.06, 0.15] * amount
    units = np.zeros((count, len(human.units)), np.float32)
    for number, name in enumerate(human.units):
        units[:, number] = np.clip(tracks.get(name, 0), 0, 1)
    time = np.arange(count) / FPS
    parts = (units, rotations, shift, gaze, time)
    return Motion(*(part[::step].astype(np.float32) for part in parts))


def _add(tracks: dict[str, np.ndarray], name: str, values: np.ndarray, lean: float = 0.0) -> None:
    """Adds to a unit, or to both sides of one; `lean` moves weight to the left."""
    names = (
        {name: 1.0} if f"unit/{name}" in body.load().targets else {f"{name}Left": 1 + lean, f"{name}Right": 1 - lean}
    )
    for full, share in names.items():
        tracks[full] = tracks.get(full, 0) + share * values


def _wander(random: np.random.Generator, count: int, rate: float) -> np.ndarray:
    """Smooth noise of about `rate` turns per second; mean 0, standard deviation about 1."""
    knots = max(4, int(np.ceil(count / FPS * 2 * rate)) + 4)
    values = random.normal(size=knots + 4)
    place = np.arange(count) / FPS * 2 * rate + random.uniform(1, 2)
    return 1.35 * scipy.ndimage.map_coordinates(values, [place], order=3, mode="nearest")


def _smooth(values: np.ndarray, frames: float) -> np.ndarray:
    return scipy.ndimage.gaussian_filter1d(values.astype(float), frames, axis=0, mode="nearest")


def _speak(random, tracks, count, tempo) -> np.ndarray:
    """Runs of mouth shapes with pauses; neighbors blend into each other. Returns the loudness, `[count]`."""
    names = sorted({name for shape in _VISEMES for name in shape})
    targets, energy = np.zeros((count, len(names))), np.zeros(count)
    talkative = random.choice([0.0, 0.6, 1.0], p=[0.1, 0.3, 0.6])
    frame = int(random.integers(0, 15)) if random.random() < 0.5 else 0
    loud = random.uniform(0.55, 1.25)
    while frame < count and talkative:
        end = frame + int(random.uniform(0.6, 3.5) * FPS)
        strength = loud * random.uniform(0.7, 1.2)
        while frame < end:
            last = min(count, frame + max(1, round(random.uniform(1.4, 4.2) / tempo)))
            shape = _VISEMES[random.integers(len(_VISEMES))]
            scale = strength * random.uniform(0.6, 1.15)
            for name, weight in shape.items():
                targets[frame:last, names.index(name)] = weight * scale
            energy[frame:last] = strength
            frame = max(last, frame + 1)
        frame += int(random.exponential(0.7 / talkative) * FPS) + 4
    targets = _smooth(targets, 1.0 / tempo)
    for name, values in zip(names, targets.T, strict=True):
        _add(tracks, name, values)
    return _smooth(energy, 4)


def _express(random, tracks, count, tempo) -> None:
    mood = random.normal(0, 0.15)
    _add(tracks, "mouthSmile", np.full(count, max(mood, 0)))
    _add(tracks, "mouthFrown", np.full(count, 0.6 * max(-mood, 0)))
    frame = int(random.uniform(-1, 1.5) * FPS)
    while frame < count:
        length = int(random.uniform(0.5, 3) * FPS / tempo)
        envelope = np.zeros(count)
        envelope[max(frame, 0) : max(frame + length, 0)] = random.uniform(0.4, 1.0)
        envelope = _smooth(envelope, random.uniform(2, 5) / tempo)
        shares = [4, 3, 2, 1.5, 1.5, 0.8, 0.7, 0.6, 0.7]
        expression = _EXPRESSIONS[random.choice(len(_EXPRESSIONS), p=np.array(shares) / sum(shares))]
        lean = float(np.clip(random.normal(0, 0.15), -0.4, 0.4))
        for name, weight in expression.items():
            _add(tracks, name, weight * envelope, lean)
        frame += length + int(random.exponential(1.4) * FPS) + 5
    brows = 0.08 + 0.35 * _wander(random, count, 0.6 * tempo)
    _add(tracks, "browInnerUp", np.clip(brows, 0, 0.8))
    _add(tracks, "browOuterUp", np.clip(brows + 0.1 * _wander(random, count, 0.4), 0, 0.8))
    _add(tracks, "browDown", 0.5 * np.clip(-brows, 0, 0.6))


def _look_around(random, tracks, count, tempo, amount, energy) -> tuple[np.ndarray, np.ndarray]:
    """The head's (pitch, yaw, roll) and where the eyes look; eyes jump first, and come back as the head follows."""
    center = random.normal(0, [0.07, 0.22, 0.05])
    held = np.zeros((count, 3))
    frame = 0
    while frame < count:
        last = frame + int(random.exponential(1.1 / tempo) * FPS) + 6
        held[frame:last] = random.normal(0, [0.12, 0.3, 0.08])
        frame = last
    head = _smooth(held, random.uniform(3, 7) / tempo)
    head += np.stack([_wander(random, count, 0.5 * tempo) for _ in range(3)], axis=-1) * [0.035, 0.07, 0.04]
    beat = random.uniform(2, 4) * 2 * np.pi / FPS
    head[:, 0] += 0.03 * energy * np.sin(beat * np.arange(count) + random.uniform(0, 6)) * random.uniform(0, 1.5)
    head = center + amount * head
    at_camera = random.uniform(0, 1)
    jumps, frame = np.zeros((count, 2)), 0
    while frame < count:
        last = frame + int(random.exponential(0.8) * FPS) + 4
        jumps[frame:last] = random.normal(0, [0.3, 0.2]) if random.random() < 0.6 else 0
        frame = last
    gaze = _smooth(jumps, 0.6)
    gaze[:, 0] += -1.3 * at_camera * head[:, 1]
    gaze[:, 1] += 1.3 * at_camera * head[:, 0]
    gaze = np.clip(gaze, -0.9, 0.9)
    for side, sign in (("Left", 1), ("Right", -1)):
        tracks[f"eyeLookOut{side}"] = np.clip(sign * gaze[:, 0], 0, 1)
        tracks[f"eyeLookIn{side}"] = np.clip(-sign * gaze[:, 0], 0, 1)
        tracks[f"eyeLookUp{side}"] = np.clip(gaze[:, 1], 0, 1)
        tracks[f"eyeLookDown{side}"] = np.clip(-gaze[:, 1], 0, 1)
    _add(tracks, "eyeBlink", 0.25 * np.clip(-gaze[:, 1], 0, 1) + random.uniform(0, 0.08))
    return head, gaze


def _blink(random, tracks, count) -> None:
    closed = np.zeros(count)
    frame = int(random.uniform(0, 2.5) * FPS)
    while frame < count:
        shape = [0.35, 0.9, 1.0, 1.0, 0.7, 0.35, 0.1]
        if random.random() < 0.12:
            shape = [0.3, 0.8] + [1.0] * int(random.uniform(5, 25)) + [0.7, 0.3]
        for offset, value in enumerate(shape[: count - frame]):
            closed[frame + offset] = max(closed[frame + offset], value)
        frame += int(random.exponential(2.2) * FPS) + 8
    for side in ("Left", "Right"):
        tracks[f"eyeBlink{side}"] = np.maximum(tracks[f"eyeBlink{side}"], closed)
        for name in ("eyeWide", "eyeSquint"):
            tracks[f"{name}{side}"] = tracks.get(f"{name}{side}", np.zeros(count)) * (1 - closed)


def _turn_bones(random, human, head, count, amount, whole_body) -> np.ndarray:
    rotations = np.zeros((count, len(human.bones), 3))
    for name, share in _NECK.items():
        rotations[:, human.bones.index(name)] = share * head
    body = np.stack([_wander(random, count, 0.3) for _ in range(3)], axis=-1) * [0.03, 0.08, 0.03] * amount
    rotations[:, human.bones.index("spine02")] += body + random.normal(0, [0.02, 0.15, 0.03])
    for side, sign in (("L", -1), ("R", 1)):
        rotations[:, human.bones.index(f"upperarm01.{side}"), 2] = sign * _ARMS_DOWN
        rotations[:, human.bones.index(f"clavicle.{side}"), 2] = sign * 0.05 * _wander(random, count, 0.3) * amount
    if whole_body:
        _move_limbs(random, human, rotations, count, amount)
    return rotations


def _move_limbs(random, human, rotations, count, amount) -> None:
    """Arms that rise and bend, knees that bend, a trunk that leans: slow, as in tai chi."""

    def track(low: float, high: float, rate: float = 0.35) -> np.ndarray:
        return low + (high - low) * (0.5 + 0.5 * np.tanh(_wander(random, count, rate))) * amount

    for side, sign in (("L", 1), ("R", -1)):
        arm, fore, leg, shin, foot = (
            human.bones.index(f"{name}.{side}")
            for name in ("upperarm01", "lowerarm01", "upperleg01", "lowerleg01", "foot")
        )
        rotations[:, arm, 2] = sign * track(-0.55, 1.3)
        rotations[:, arm, 1] = -sign * track(-0.3, 0.9)
        rotations[:, fore, 1] = -sign * track(0.0, 1.3)
        rotations[:, fore, 0] = -track(0.0, 0.8)
        bend = track(-0.05, 0.75, 0.25)
        rotations[:, leg, 0] = -bend
        rotations[:, leg, 2] = sign * track(-0.1, 0.35, 0.25)
        rotations[:, shin, 0] = 1.2 * np.clip(bend, 0, None)
        rotations[:, foot, 0] = -0.2 * bend
    for bone in ("spine05", "spine03"):
        lean = np.stack([_wander(random, count, 0.3) for _ in range(3)], axis=-1) * [0.12, 0.24, 0.12]
        rotations[:, human.bones.index(bone)] += lean * amount
    rotations[:, 0, 1] = 0.35 * _wander(random, count, 0.2) * amount
