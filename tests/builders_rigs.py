"""Tiny rigs in the form of real ones: a bump for a nose, sparse enough to write in a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SIDE = 15
NAMES = ("browInnerUp_L", "browInnerUp_R", "jawOpen", "mouthSmile_L", "mouthSmile_R", "eyeBlink_L", "eyeBlink_R")
NUM_IDENTITIES = 3


def face_grid() -> tuple[np.ndarray, np.ndarray]:
    """A dome of 15 x 15 vertices with a nose, millimetres around (0, 0, 100), and its quads."""
    x, y = np.meshgrid(np.linspace(-70, 70, SIDE), np.linspace(-90, 90, SIDE))
    z = 100 - (x**2 + y**2) / 160 + 20 * np.exp(-(x**2 + y**2) / 300)
    number = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32), quads.reshape(-1, 4).astype(np.int32)


def landmarks() -> np.ndarray:
    """68 vertices: the nose tip in the middle, an outline of lips below it, the rest spread over the grid."""
    points = np.arange(68) * 3
    points[30] = SIDE * (SIDE // 2) + SIDE // 2
    row = SIDE // 2 - 3
    points[48:60] = [row * SIDE + c for c in (5, 5, 6, 7, 8, 9, 9)] + [(row - 1) * SIDE + c for c in (9, 8, 7, 6, 5)]
    points[60:68] = [row * SIDE + c for c in (5, 6, 7, 8, 9)] + [(row - 1) * SIDE + c for c in (8, 7, 6)]
    return points


def shape(number: int) -> np.ndarray:
    """A displacement in mm, another for each number."""
    return np.random.default_rng(number).normal(0, 1, (SIDE * SIDE, 3)).astype(np.float32)


def write_ict_folder(folder: Path) -> None:
    """`FaceXModel` of the public repository, in centimetres."""
    vertices, quads = face_grid()
    folder.mkdir(parents=True)
    _write_obj(folder / "generic_neutral_mesh.obj", vertices, quads)
    for number in range(NUM_IDENTITIES):
        _write_obj(folder / f"identity{number:03d}.obj", vertices + shape(number), quads)
    for number, name in enumerate(NAMES):
        _write_obj(folder / f"{name}.obj", vertices + shape(100 + number), quads)
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks().tolist()}))


def write_ict_file(path: Path, **changes: np.ndarray) -> None:
    """The same as one file of NumPy arrays."""
    vertices, quads = face_grid()
    identity, identity_scale = _quantised(np.stack([shape(number) for number in range(NUM_IDENTITIES)]))
    action, action_scale = _quantised(np.stack([shape(100 + number) for number in range(len(NAMES))]))
    arrays = {
        "template_mm": vertices, "polygons": quads, "landmarks": landmarks(),
        "identity_int16": identity, "identity_scale_mm": identity_scale,
        "action_int16": action, "action_scale_mm": action_scale, "action_names": np.array(NAMES),
    }  # fmt: skip
    np.savez(path, **(arrays | changes))


def _quantised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(vectors).max(axis=(1, 2)) / 32_000
    return np.rint(vectors / scale[:, None, None]).astype(np.int16), scale.astype(np.float32)


def _write_obj(path: Path, vertices_mm: np.ndarray, quads: np.ndarray) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in (vertices_mm / 10).tolist()]
    lines += ["f " + " ".join(str(corner + 1) for corner in quad) for quad in quads.tolist()]
    path.write_text("\n".join(lines) + "\n")
