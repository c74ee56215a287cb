"""The true motion between two frames of a rendered clip: the deformation that a model estimates.

A pixel's ray hits a point of the person's mesh in the driving frame; the same point is projected into the source frame.
What is behind the person moves as the camera does.
"""

from __future__ import annotations

import numpy as np

from fomm_tf.data.people import geometry, scene, shots

# A point is visible if nothing is nearer to the camera than it by this, in decimeters.
_TOLERANCE = 0.25


class TrueMotion:
    """The motion of a clip, from its seeds.

    Args:
      clip: its parameters.

    Raises:
      UserError: if the framing is unknown or the size is below 32.
    """

    def __init__(self, clip: shots.Clip) -> None:
        self._size = clip.size
        self._shot = shots.prepare(clip)
        middle = (np.arange(clip.size, dtype=np.float32) + 0.5) / clip.size * 2 - 1
        self._x, self._y = (grid.ravel() for grid in np.meshgrid(middle, middle))
        self._hits: dict[int, geometry.Hits] = {}

    def between(self, source: int, driving: int) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel of the driving frame comes from (T_{S<-D}, Eq. 4).

        Args:
          source: number of the source frame.
          driving: number of the driving frame.

        Returns:
          The deformation `[S, S, 2]` float32, (x, y) in the source, -1 and 1 at the centers of its first and last
          pixel; and `[S, S]` bool, whether the source shows what is there. Where it does not, the deformation is that
          of the hidden point.
        """
        size, shot = self._size, self._shot
        hits = self._cast(driving)
        on_person = hits.triangle >= 0
        shift = scene.background_shift(shot.scene, driving) - scene.background_shift(shot.scene, source)
        positions = np.stack([self._x, self._y], axis=-1) + shift / scene.SEEN
        corners = shot.person.triangles[hits.triangle[on_person]]
        u, v = hits.u[on_person, np.newaxis], hits.v[on_person, np.newaxis]
        weights = np.stack([1 - u - v, u, v], axis=1)
        points = (shot.vertices[source][corners] * weights).sum(axis=1)
        positions[on_person] = shots.project(shot.cameras[source], points)

        column, row = np.clip((positions.T + 1) / 2 * size, 0, size - 1).astype(int)
        nearest = self._cast(source).distance[row * size + column]
        visible = np.isinf(nearest)
        visible[on_person] = nearest[on_person] > shot.cameras[source].position[2] - points[:, 2] - _TOLERANCE
        visible &= (np.abs(positions) <= 1).all(axis=-1)
        deformation = (positions * size / (size - 1)).reshape(size, size, 2).astype(np.float32)
        return deformation, visible.reshape(size, size)

    def _cast(self, frame: int) -> geometry.Hits:
        if frame not in self._hits:
            caster = geometry.Caster(self._shot.vertices[frame], self._shot.person.triangles)
            rays = shots.rays_through(self._shot.cameras[frame], self._x, -self._y)
            self._hits[frame] = caster.intersect(*rays)
        return self._hits[frame]
