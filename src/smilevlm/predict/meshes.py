"""Scans as other libraries hold them: arrays, pairs of arrays, objects of trimesh, Open3D, PyVista and their like."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh

_VERTEX_NAMES = ("vertices", "points", "verts")
_FACE_NAMES = ("faces", "triangles", "cells")


class HasVertices(Protocol):
    """An object of trimesh or of a library like it."""

    @property
    def vertices(self) -> object: ...


def is_mesh_like(scan: object) -> bool:
    """Whether a value is one scan in memory: see `as_mesh`."""
    if isinstance(scan, (Mesh, np.ndarray)) or hasattr(scan, "detach"):
        return True
    if isinstance(scan, tuple):
        return len(scan) == 2 and _is_array_like(scan[0]) and (scan[1] is None or _is_array_like(scan[1]))
    return _first_attribute(scan, _VERTEX_NAMES) is not None


def as_mesh(scan: object) -> Mesh:
    """A `Mesh` of what holds one.

    Args:
        scan: A `Mesh`; an (n, 3) array, which is a point cloud; a pair (vertices, faces); or an object with `vertices`
            (or `points`) and, for a surface, `faces` (or `triangles`), as those of trimesh, Open3D and PyVista have.
    """
    if isinstance(scan, Mesh):
        return scan
    if isinstance(scan, tuple):
        vertices, faces = scan
    elif isinstance(scan, np.ndarray) or hasattr(scan, "detach"):
        vertices, faces = scan, None
    else:
        vertices, faces = _first_attribute(scan, _VERTEX_NAMES), _first_attribute(scan, _FACE_NAMES)
    if vertices is None:
        raise MeshError(
            f"a {type(scan).__name__} is no scan; expected a path, a smilevlm.Mesh, an (n, 3) array, a pair (vertices, "
            "faces), or an object with vertices and faces"
        )
    return Mesh(vertices=vertices, faces=faces)


def _is_array_like(value: object) -> bool:
    """An array, or a list of rows; not a path and not a scan."""
    if isinstance(value, (str, bytes, os.PathLike, Mesh)):
        return False
    return hasattr(value, "shape") or (isinstance(value, (list, tuple)) and bool(value) and _is_row(value[0]))


def _is_row(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray)) and len(value) >= 3 and not isinstance(value[0], str)


def _first_attribute(scan: object, names: tuple[str, ...]) -> object | None:
    if isinstance(scan, (str, bytes, os.PathLike, dict)):
        return None
    return next((value for name in names if (value := getattr(scan, name, None)) is not None), None)
