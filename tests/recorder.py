"""What synthesis hands to the writers of files, kept in memory to be compared with what comes back from disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smilevlm.geometry import Mesh
from smilevlm.readers.bnt import BNT_BACKGROUND, MAX_DEPTH_JUMP_MM
from smilevlm.synthesis import bosphorus, bp4d, bu3dfe, bu4dfe, sequences

_SCRATCH = re.compile(r"(?<=/)\.([^/]+)\.part(?=/)")


@dataclass
class Recorder:
    """Everything by path below the root: landmarks by that of their mesh, pictures by theirs without the suffix.

    Args:
        root: Of the data set.
    """

    root: Path
    meshes: dict[str, Mesh] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    landmarks: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    pixels: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    au_tables: list = field(default_factory=list)

    def key(self, path: Path | str) -> str:
        """Folders are written under a scratch name first."""
        return Path(_SCRATCH.sub(r"\1", str(path))).relative_to(self.root).as_posix()

    def bu4dfe_vrml(self, file, *, vertices, faces, uv, **_):
        self.meshes[self.key(file.name)] = Mesh(vertices=vertices, faces=faces, uv=uv[faces])

    def bu4dfe_bnd(self, file, points, indices):
        inside = Path(self.key(file.name)).relative_to(bu4dfe.LANDMARK_TREE)
        self.landmarks[inside.with_suffix(".wrl").as_posix()] = numbered("bnd", points)

    def bu3dfe_vrml(self, file, *, vertices, polygons, uv, uv_polygons, **_):
        faces, uv_faces = as_fans(polygons), as_fans(uv_polygons)
        self.meshes[self.key(file.name)] = Mesh(vertices=vertices, faces=faces, uv=uv[uv_faces])

    def bu3dfe_bnd(self, file, points):
        self.landmarks[self.key(file.name).replace(".bnd", ".wrl")] = numbered("bnd", points)

    def bu3dfe_pse(self, file, points, **_):
        names = [f"bnd_{number:02d}" for number in (1, 5, 9, 13, 40, 45, 84, 85)]
        self.landmarks[self.key(file.name).replace(".pse", ".wrl")] = dict(zip(names, points, strict=True))

    def bnt(self, _file, *, points, uv, image_name):
        stem = image_name[: -len(".png")]
        # One header names its image in capitals.
        name = "bs" + stem[2:]
        self.meshes[f"{name[:5]}/{name}.bnt"] = mesh_of_grid(points, uv)

    def lm2(self, file, pixels, **_):
        self.pixels[self.key(file.name)] = dict(pixels)

    def lm3(self, file, points, **_):
        self.landmarks[self.key(file.name).replace(".lm3", ".bnt")] = dict(points)

    def obj(self, file, mesh, **_):
        self.meshes[self.key(file.name)] = mesh

    def bp4d_landmarks(self, _root, sequence, frame, points):
        self.landmarks[f"{sequence.path}/{sequence.stem(frame)}.obj"] = numbered("bndplus", points)

    def au_table(self, _file, table):
        self.au_tables.append(table)

    def picture(self, image, path, **_):
        self.pictures[self.key(Path(path).with_suffix(""))] = np.asarray(image).copy()


def numbered(prefix: str, points: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{prefix}_{row:02d}": point for row, point in enumerate(points, 1)}


def as_fans(polygons: np.ndarray) -> np.ndarray:
    """Triangles, and each quad as two in its place."""
    faces = []
    for a, b, c, d in polygons.tolist():
        faces += [[a, b, c]] if d < 0 else [[a, b, c], [a, c, d]]
    return np.array(faces, np.int32)


def mesh_of_grid(points: np.ndarray, uv: np.ndarray) -> Mesh:
    """The surface of a range image: neighbours are joined, and v is turned to count from below.

    Which points `normalise` samples follows from the order of the triangles, so it is the reader's: second halves of
    cells after the first ones, cells with a corner missing last.
    """
    valid = np.isfinite(points).all(axis=2) & (points != BNT_BACKGROUND).all(axis=2)
    number = np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, -1).tolist()
    depth = points[..., 2].astype(np.float32).tolist()
    first, second, three = [], [], []
    for row in range(valid.shape[0] - 1):
        for column in range(valid.shape[1] - 1):
            around = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            there = [(r, c) for r, c in around if number[r][c] >= 0]
            if len(there) < 3 or np.ptp([depth[r][c] for r, c in there]) > MAX_DEPTH_JUMP_MM:
                continue
            corners = [number[r][c] for r, c in there]
            if len(corners) == 3:
                three.append(corners)
            else:
                first.append(corners[:3])
                second.append([corners[0], *corners[2:]])
    triangles = np.array(first + second + three, np.int32)
    from_below = np.stack([uv[valid][:, 0], 1 - uv[valid][:, 1]], axis=1).astype(np.float32)
    return Mesh(vertices=points[valid].astype(np.float32), faces=triangles, uv=from_below[triangles])


@contextmanager
def recording(root: Path):
    """Record what is written below a root by this process."""
    recorder = Recorder(root=root)
    spied: list[tuple[object, str, Callable]] = [
        (bu4dfe, "write_bu4dfe_vrml", recorder.bu4dfe_vrml),
        (bu4dfe, "write_bnd", recorder.bu4dfe_bnd),
        (bu3dfe, "write_bu3dfe_vrml", recorder.bu3dfe_vrml),
        (bu3dfe, "write_bnd", recorder.bu3dfe_bnd),
        (bu3dfe, "write_pse", recorder.bu3dfe_pse),
        (bosphorus, "write_bnt", recorder.bnt),
        (bosphorus, "write_lm2", recorder.lm2),
        (bosphorus, "write_lm3", recorder.lm3),
        (sequences, "write_obj", recorder.obj),
        (bp4d, "_write_landmarks", recorder.bp4d_landmarks),
        (bp4d, "write_au_table", recorder.au_table),
        (Image.Image, "save", recorder.picture),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, note in spied:
            patch.setattr(owner, name, _spy(getattr(owner, name), note))
        yield recorder


def _spy(original: Callable, note: Callable) -> Callable:
    def noted(*args, **kwargs):
        note(*args, **kwargs)
        return original(*args, **kwargs)

    return noted
