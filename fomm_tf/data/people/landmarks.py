"""The landmarks of a set of rendered people, as keypoints with Jacobians: what a keypoint detector can be trained on.

Convention:
  * a keypoint is the projection of one point of the face; -1 and 1 are the centers of the first and last pixel;
  * its Jacobian is the linear part of the local affine map from the canonical face (front view, upright, mean of the
    set) to the frame, so that J_source J_driving^-1 is the local affine motion between two frames (Eq. 5);
  * mirroring a frame mirrors the canonical face as well, which is symmetric: landmarks change sides.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data import frames
from fomm_tf.data.people import dataset

# One keypoint each. The lids and lips follow blinks and speech, the others the head.
KEYPOINTS = (
    "nose_tip", "forehead", "chin", "left_ear", "right_ear", "left_mouth", "right_mouth", "upper_lip", "lower_lip",
    "left_upper_lid", "right_upper_lid", "left_lower_lid", "right_lower_lid", "left_mid_brow", "right_mid_brow",
    "left_jaw_side", "right_jaw_side",
)  # fmt: skip

# Standard deviation of the weights of the other landmarks in a local affine map; the canonical face has a mean square
# radius of 1.
_NEIGHBORHOOD = 0.5
# Weight of the similarity of the whole face in a local affine map: keeps profiles, which are nearly flat, invertible.
_RIDGE = 0.15


class LandmarkFrames(NamedTuple):
    """The frames of a split and the keypoints in them.

    Attributes:
      images: `[N, H, W, 3]` uint8 RGB.
      keypoints: `[N, K, 2]` float32, (x, y).
      jacobians: `[N, K, 2, 2]` float32; the identity is a typical face.
      swap: `[K]` int, which keypoint takes the place of each in a mirrored frame.
    """

    images: np.ndarray
    keypoints: np.ndarray
    jacobians: np.ndarray
    swap: np.ndarray


def load(index: frames.Index, root: str | pathlib.Path, names: Sequence[str] = KEYPOINTS) -> LandmarkFrames:
    """Loads frames and landmarks into memory.

    Args:
      index: the clips of a split.
      root: the data set that they are of.
      names: the landmarks that become keypoints.

    Raises:
      errors.UserError: if the data set has no landmarks of these names for one of the clips.
    """
    root = pathlib.Path(root)
    path = root / dataset.TRUTH
    try:
        truth = json.loads(path.read_text())
    except FileNotFoundError:
        raise errors.UserError(
            f"{path} does not exist; landmarks are known for rendered people only: draw a set with "
            "python -m fomm_tf.data.people."
        ) from None
    except (OSError, ValueError) as error:
        raise errors.UserError(f"Cannot read {path}: {error}; draw the set again.") from None
    try:
        all_names = truth["landmark_names"]
        numbers = [all_names.index(name) for name in names]
        swap = [names.index(_other_side(name)) for name in names]
        points = [_of_clip(truth["clips"], clip, root) for clip in index.clips]
        landmarks = np.concatenate(points).astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise errors.UserError(f"{path} lacks landmarks of {root}: {error}; draw the set again.") from None
    images = np.stack([clip.frame(number) for clip in index.clips for number in range(len(clip))])
    jacobians = affine_frames(landmarks, [all_names.index(_other_side(name)) for name in all_names])
    return LandmarkFrames(images, landmarks[:, numbers], jacobians[:, numbers], np.array(swap))


def _of_clip(clips: dict, clip: frames.Clip, root: pathlib.Path) -> np.ndarray:
    name = clip.path.relative_to(root).as_posix()
    points = np.array(clips[name]["landmarks"])
    if len(points) != len(clip):
        raise ValueError(f"{name} has {len(clip)} frames and landmarks of {len(points)}")
    return points


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": "right_", "right": "left_"}[side] + rest if side in ("left", "right") else name


def affine_frames(landmarks: np.ndarray, swap: Sequence[int]) -> np.ndarray:
    """Fits the local affine maps from the canonical face, by weighted least squares.

    Args:
      landmarks: `[N, L, 2]`.
      swap: `[L]`, the landmark on the other side of the face for each.

    Returns:
      `[N, L, 2, 2]` float32 Jacobians, with a root mean determinant of 1.
    """
    face = canonical_face(landmarks, swap)
    square = np.sum((face[:, None] - face) ** 2, axis=-1)
    weights = np.exp(-square / (2 * _NEIGHBORHOOD**2))
    weights /= weights.sum(axis=1, keepdims=True)
    offsets = face - (weights @ face)[:, None]  # [L, L, 2], of each landmark from the middle of each neighborhood
    spread = np.einsum("kj,kja,kjb->kab", weights, offsets, offsets)
    covariance = np.einsum("kj,njc,kja->nkca", weights, landmarks, offsets)
    ridge = _RIDGE / 2 * np.trace(spread, axis1=1, axis2=2)[:, None, None] * np.eye(2)
    fitted = (covariance + _similarity(landmarks, face)[:, None] @ ridge) @ np.linalg.inv(spread + ridge)
    return (fitted / np.sqrt(np.abs(np.linalg.det(fitted))).mean()).astype(np.float32)


def canonical_face(landmarks: np.ndarray, swap: Sequence[int]) -> np.ndarray:
    """The mean of the faces, each moved, rotated and scaled to fit it; symmetric (generalized Procrustes analysis).

    Args:
      landmarks: `[N, L, 2]`.
      swap: `[L]`, the landmark on the other side of the face for each.

    Returns:
      `[L, 2]` float64 with mean 0 and mean square radius 1.
    """
    faces = landmarks - landmarks.mean(axis=1, keepdims=True)
    faces = faces / np.sqrt(np.mean(np.sum(faces**2, axis=2), axis=1))[:, None, None]
    face = faces.mean(axis=0)
    for _ in range(5):
        rotations = _similarity(face[None], faces)
        rotations /= np.sqrt(np.linalg.det(rotations))[:, None, None]
        face = np.mean(faces @ np.swapaxes(rotations, 1, 2), axis=0)
        face = (face + face[list(swap)] * (-1, 1)) / 2
        face /= np.sqrt(np.mean(np.sum(face**2, axis=1)))
    return face


def _similarity(targets: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`[N, 2, 2]`: rotation and scale that bring each face, centered, closest to its target; one of them may be one."""
    targets = targets - targets.mean(axis=-2, keepdims=True)
    dot = np.sum(faces * targets, axis=(-2, -1))
    cross = np.sum(faces[..., 0] * targets[..., 1] - faces[..., 1] * targets[..., 0], axis=-1)
    square = np.sum(faces**2, axis=(-2, -1))
    cosine, sine = np.broadcast_arrays(dot / square, cross / square)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
