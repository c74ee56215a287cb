"""Ray casting with Embree (`embreex`), vertex normals, rotation matrices, and smooth random fields.

Convention: x to the person's left, y up, z out of the face; lengths in decimeters; angles in radians.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse

from fomm_tf import errors
from fomm_tf.opencv import cv2


class Hits(NamedTuple):
    """Intersections of rays with a mesh."""

    triangle: np.ndarray  # `[N]` int, -1 for a ray that hits nothing
    u: np.ndarray  # `[N]` float32 barycentric coordinates: point = (1 - u - v) a + u b + v c
    v: np.ndarray  # `[N]` float32 barycentric coordinates: point = (1 - u - v) a + u b + v c
    distance: np.ndarray  # `[N]` float32, infinite for a ray that hits nothing


class Caster:
    """A mesh, for ray casting.

    Args:
      vertices: `[V, 3]` float.
      triangles: `[T, 3]` int.

    Raises:
      UserError: if `embreex` is not installed.
    """

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        try:
            from embreex import mesh_construction, rtcore_scene
        except ImportError:
            raise errors.UserError("embreex is not installed; run pip install 'fomm-tf[people]'.") from None
        self._scene = rtcore_scene.EmbreeScene()
        corners = np.ascontiguousarray(vertices[triangles], np.float32)
        self._mesh = mesh_construction.TriangleMesh(self._scene, corners)

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Finds the first hit of each ray; `origins` and `directions` are `[N, 3]`."""
        result = self._scene.run(_rays(origins), _rays(directions), output=True)
        missed = result["primID"] < 0
        distance = np.where(missed, np.float32(np.inf), result["tfar"])
        return Hits(result["primID"], result["u"], result["v"], distance)

    def occluded(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Whether each ray hits anything, `[N]` bool."""
        # 0 where something is hit, else -1.
        return self._scene.run(_rays(origins), _rays(directions), query="OCCLUDED") >= 0


def _rays(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


class VertexNormals:
    """Computes area-weighted vertex normals of one topology.

    Args:
      count: number of vertices.
      triangles: `[T, 3]` int.
    """

    def __init__(self, count: int, triangles: np.ndarray) -> None:
        self._triangles = triangles
        rows, columns = triangles.T.ravel(), np.tile(np.arange(len(triangles)), 3)
        ones = np.ones(len(rows), np.float32)
        self._sum = scipy.sparse.csr_matrix((ones, (rows, columns)), shape=(count, len(triangles)))

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """`[V, 3]` float32 unit normals, zero for a vertex without triangles."""
        a, b, c = (vertices[self._triangles[:, corner]] for corner in range(3))
        normals = self._sum @ np.cross(b - a, c - a).astype(np.float32)
        return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """`[3, 3]` float32: roll about z, then pitch about x (positive looks down), then yaw about y (to the left)."""
    (sx, sy, sz), (cx, cy, cz) = np.sin([pitch, yaw, roll]), np.cos([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (about_y @ about_x @ about_z).astype(np.float32)


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, and a smooth step between; falls if `low` is above `high`."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def fractal(
    random: np.random.Generator, height: int, width: int, cells: float = 3, octaves: int = 4, fall: float = 1.7
) -> np.ndarray:
    """Sum of smooth noises of doubling frequency.

    Args:
      random: generator.
      height: of the field.
      width: of the field.
      cells: of the coarsest noise along the width.
      octaves: number of noises.
      fall: ratio of the amplitudes of one noise and the next.

    Returns:
      `[height, width]` float32, mean 0, standard deviation about 1.
    """
    total, power = np.zeros((height, width), np.float32), 0.0
    for octave in range(octaves):
        across = max(2, round(cells * 2**octave))
        down = max(2, round(across * height / width))
        if across > 2 * width:
            break
        grid = random.normal(size=(down + 1, across + 1)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / np.float32(fall**octave)
        power += fall ** (-2 * octave)
    return total / np.float32(0.8 * np.sqrt(power))
