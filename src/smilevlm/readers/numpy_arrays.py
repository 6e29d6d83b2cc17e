"""NumPy's `.npz` with vertices and faces, and a plain `.npy` of points: VOCASET, CoMA, FLAME and SMPL users."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Shaped

from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers._zip_directory import Member, read_directory
from smilevlm.readers.archives import unpacked_member
from smilevlm.readers.elements import cut_into_triangles, separated, usable_mesh

VERTEX_NAMES = ("vertices", "verts", "v", "v_template", "points", "xyz", "positions")
FACE_NAMES = ("faces", "f", "triangles", "tri", "polys")
MAGIC = b"\x93NUMPY"
MAX_COLUMNS = 9
"""Of an array of points: x y z, then normals and colours."""
MAX_GRID_RATIO = 4
"""Of an array (rows, columns, 3): up to this ratio of its sides an organised cloud, beyond it frames of points."""
MAX_HEADER_BYTES = 1024
MAX_NAMES = 8
"""Of arrays that a message lists."""
_DESCR = re.compile(r"'descr':\s*'([<>|=]?[fiu][1248])'")
_ORDER = re.compile(r"'fortran_order':\s*(True|False)")
_SHAPE = re.compile(r"'shape':\s*\(([\d\s,L]{0,200})\)")


def read_npz(data: bytes, *, path: Path) -> Mesh:
    """Read the array of vertices and, if there is one, of faces; their names in any case.

    Vertices are named `VERTEX_NAMES`, or are the only array of the file; faces `FACE_NAMES`, (m, 3) or (m, 4), or one
    list in which each face begins with its number of corners. Pickled objects are never loaded.
    """
    source = Source(data, path)
    file = BytesIO(data)
    members = _members(file, path)
    vertex_name = _named(members, VERTEX_NAMES) or (next(iter(members)) if len(members) == 1 else None)
    face_name = _named(members, FACE_NAMES)
    if vertex_name is None:
        there = ", ".join(list(members)[:MAX_NAMES]) or "nothing"
        raise source.error(f"no array of vertices, expected one named {', '.join(VERTEX_NAMES)}; there is {there}")

    def array(name: str) -> np.ndarray:
        member = members[name]
        source.require_memory(2 * member.size)
        return _array(source, unpacked_member(file, member, path), name)

    vertices = _points(source, array(vertex_name), vertex_name, has_faces=face_name is not None)
    if face_name is None:
        return usable_mesh(path, vertices)
    corners = _corners(source, array(face_name), face_name)
    missing = source.error(f"{face_name} names vertices that are not there: there are {len(vertices)}")
    triangles = cut_into_triangles(source, corners, len(vertices), vertices=vertices, bad_index=lambda _: missing)
    return usable_mesh(path, vertices, triangles)


def read_npy(data: bytes, *, path: Path) -> Mesh:
    """Read one array of points as a point cloud."""
    source = Source(data, path)
    return usable_mesh(path, _points(source, _array(source, data, "the array"), "the array", has_faces=False))


def holds_points(data: bytes, path: Path) -> bool:
    """Whether an array has the shape of points, or an archive has an array of their name."""
    if not data.startswith(MAGIC):
        members = _members(BytesIO(data), path)
        return len(members) == 1 or _named(members, VERTEX_NAMES) is not None
    shape = _SHAPE.search(data[:MAX_HEADER_BYTES].decode("latin-1"))
    sizes = [int(size) for size in re.findall(r"\d+", shape[1])] if shape else []
    return len(sizes) in (2, 3) and (3 <= sizes[-1] <= MAX_COLUMNS or sizes[0] == 3)


def _members(file: BytesIO, path: Path) -> dict[str, Member]:
    return {name.removesuffix(".npy"): member for name, member in read_directory(file, path)}


def _named(members: Iterable[str], names: Sequence[str]) -> str | None:
    """The first of `names` that there is, in any case, as it is written."""
    written = {member.lower(): member for member in members}
    return next((written[name] for name in names if name in written), None)


def _array(source: Source, data: bytes, name: str) -> Shaped[np.ndarray, "*shape"]:
    """An array of numbers. NumPy's own reader would make room for what the header says before it looks."""
    if not data.startswith(MAGIC) or len(data) < 12:
        raise source.error(f"{name} is no array in NumPy's format")
    length_bytes = 2 if data[6] == 1 else 4
    start = 8 + length_bytes
    stop = start + int.from_bytes(data[8:start], "little")
    header = data[start:stop].decode("latin-1")
    descr, order, shape = _DESCR.search(header), _ORDER.search(header), _SHAPE.search(header)
    if not (descr and order and shape):
        raise source.error(f"{name} holds no plain numbers, which alone are read: {header[:80].strip()}")
    try:
        sizes = tuple(int(size.strip(" L")) for size in shape[1].split(",") if size.strip(" L"))
        dtype = np.dtype(descr[1])
    except (ValueError, TypeError) as error:
        raise source.error(f"{name} has a damaged header: {error}") from error
    present = (len(data) - stop) // dtype.itemsize
    if stop > len(data) or prod(sizes) > present:
        raise source.error(f"{name} announces {prod(sizes)} numbers, {max(present, 0)} follow")
    values = np.frombuffer(data, dtype, prod(sizes), stop)
    return values.reshape(sizes, order="F" if order[1] == "True" else "C")


def _points(source: Source, values: np.ndarray, name: str, *, has_faces: bool) -> Shaped[np.ndarray, "vert 3"]:
    """The columns x y z in float64."""
    shape = " x ".join(map(str, values.shape))
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] == 3 and values.size:
        short, long = sorted(values.shape[:2])
        if has_faces or long > MAX_GRID_RATIO * short:
            raise source.error(
                f"{name} holds {values.shape[0]} frames of {values.shape[1]} vertices, expected one scan: save each "
                "frame to a file of its own, numbered, or pass smilevlm.Mesh objects"
            )
        values = values.reshape(-1, 3)
    if values.ndim == 2 and values.shape[0] == 3 != values.shape[1]:
        values = values.T
    if values.ndim != 2 or not 3 <= values.shape[1] <= MAX_COLUMNS:
        raise source.error(f"{name} is an array of {shape}, expected n x 3")
    source.require_memory(8 * 3 * len(values))
    with np.errstate(invalid="ignore"):  # a signalling nan
        return np.ascontiguousarray(values[:, :3], np.float64)


def _corners(source: Source, values: np.ndarray, name: str) -> Int32[np.ndarray, " corner"]:
    """Faces as indices separated by -1."""
    if values.ndim == 1 and len(values) and values[0] in (3, 4) and len(values) % (values[0] + 1) == 0:
        rows = values.reshape(-1, int(values[0]) + 1)
        values = rows[:, 1:] if (rows[:, 0] == rows[0, 0]).all() else values
    if values.ndim == 2 and values.shape[0] in (3, 4) and values.shape[1] not in (3, 4):
        values = values.T
    if values.ndim != 2 or values.shape[1] not in (3, 4):
        shape = " x ".join(map(str, values.shape))
        raise source.error(f"{name} is an array of {shape}, expected n x 3 or n x 4")
    source.require_memory(24 * (len(values) + values.size))
    with np.errstate(invalid="ignore"):
        limit = np.iinfo(np.int32).max
        named = values.astype(np.float64)
        named = np.where((named >= 0) & (named < limit) & (named == np.floor(named)), named, limit)
    return separated(named)
