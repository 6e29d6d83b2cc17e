"""Wavefront OBJ: BP4D and BP4D+ frames, FaceScape, and what tools write."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source, TextSink
from smilevlm.readers._status import DONE, TOO_SHORT, ZERO_INDEX
from smilevlm.readers.archives import read_file
from smilevlm.readers.elements import (
    BLANK_COLOR,
    color_bytes,
    cut_into_triangles,
    is_better_reading,
    mean_edge,
    usable_mesh,
)
from smilevlm.readers.file_kinds import mesh_stem
from smilevlm.readers.textures import basename, find_beside, load_named_texture

MAX_MATERIAL_BYTES = 2**20
MAX_MAP_OPTIONS = 16
MAX_FACE_BYTES = 2**16

LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
MATERIAL = re.compile(rb"^[ \t]*usemtl[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
NEW_MATERIAL = re.compile(r"^[ \t]*newmtl[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
DIFFUSE_MAP = re.compile(r"^[ \t]*map_Kd[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
MAP_OPTION = re.compile(r"^-(?:(?:blendu|blendv|cc|clamp|imfchan|texres|bm|boost|type)\s+\S+|mm\s+\S+\s+\S+"
                        r"|[ost](?:\s+[-+.\d][-+.\deE]*){1,3})\s+")  # fmt: skip


def read_obj(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read vertices, their colours, texture coordinates and faces; normals, lines and groups are left out.

    Keywords may be in any case. Texture coordinates and colours that are no numbers never cost a vertex or a face. The
    texture is the image that the first material used names in `map_Kd`, or that shares the file's stem. A material file
    that is missing is no error; that the materials in use name several images is a warning.
    """
    source = Source(data, path)
    rows, remarks = _scan(source)
    corners, texture_corners, counted = _counted_from_one(rows)
    has_uv = bool((texture_corners >= 0).any())
    triangles = cut_into_triangles(
        source,
        corners,
        len(rows.vertices),
        texture_corners=texture_corners if has_uv else None,
        texture_points=rows.points if has_uv else None,
        bad_index=lambda ordinal: _bad_index(source, corners, ordinal, len(rows.vertices)),
    )
    return usable_mesh(
        path,
        rows.vertices,
        triangles,
        texture=load_named_texture(path, _texture_names(source)) if load_texture and has_uv else None,
        vertex_colors=_vertex_colors(rows.colors),
        remarks=(*remarks, *counted),
    )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What the lines hold; faces are separated by -1."""

    vertices: Float64[np.ndarray, "vert 3"]
    colors: Float32[np.ndarray, "vert 3"]
    points: Float32[np.ndarray, "point 2"]
    corners: Int32[np.ndarray, " corner"]
    texture_corners: Int32[np.ndarray, " corner"]


def _scan(source: Source) -> tuple[_Rows, tuple[str, ...]]:
    """The lines of a file; a last line that was cut is left out with a remark."""
    last_line = max(source.data.rfind(b"\n"), source.data.rfind(b"\r")) + 1
    rows, trouble = _scan_until(source, source.size)
    if trouble is None:
        return rows, ()
    status, position = trouble
    if position < last_line or last_line == 0:
        if status == TOO_SHORT:
            raise source.text_error("too few numbers, expected 'v x y z'", position)
        raise source.status_error(status, position)
    rows, trouble = _scan_until(source, last_line)
    assert trouble is None, trouble
    return rows, ("the file is cut within its last line, which is left out",)


def _scan_until(source: Source, stop: int) -> tuple[_Rows, tuple[int, int] | None]:
    """The lines before a position, and the status and position where a line cannot be read."""
    from smilevlm.readers._kernels_formats import count_obj, scan_obj

    num_vertices, num_texture, num_corners = count_obj(source.buffer, stop)
    # Lines that are too short to hold what they claim would make these larger than the file warrants.
    source.require_memory(4 * (9 * num_vertices + 2 * num_texture + 2 * num_corners))
    vertices, colors = np.empty((num_vertices, 3), np.float64), np.empty((num_vertices, 3), np.float32)
    points = np.empty((num_texture, 2), np.float32)
    corners, texture_corners = np.empty(num_corners, np.int32), np.empty(num_corners, np.int32)
    count, status, position = scan_obj(source.buffer, stop, vertices, colors, points, corners, texture_corners)
    rows = _Rows(
        vertices=vertices,
        colors=colors,
        points=points,
        corners=corners[:count],
        texture_corners=texture_corners[:count],
    )
    return rows, None if status == DONE else (status, position)


def _counted_from_one(
    rows: _Rows,
) -> tuple[Int32[np.ndarray, " corner"], Int32[np.ndarray, " corner"], tuple[str, ...]]:
    """Corners and texture corners from 0, of files too whose writers count from 0 where the format counts from 1.

    Such a file names vertex 0 and never the last one, see `is_better_reading`.
    """
    corners, texture_corners = rows.corners, rows.texture_corners
    zeros = corners == ZERO_INDEX
    if zeros.any() and corners.max() < len(rows.vertices) - 1:
        raised = np.where(zeros, 0, np.where(corners >= 0, corners + 1, corners)).astype(np.int32)
        names_all = corners.max() == len(rows.vertices) - 2
        by_edges = mean_edge(raised, rows.vertices) < mean_edge(corners, rows.vertices)
        if by_edges or (names_all and is_better_reading(raised, corners, rows.vertices)):
            is_point = (texture_corners >= 0) | (texture_corners == ZERO_INDEX)
            if (texture_corners == ZERO_INDEX).any():
                from_zero = np.where(texture_corners == ZERO_INDEX, 0, texture_corners + 1)
                texture_corners = np.where(is_point, from_zero, texture_corners).astype(np.int32)
            return raised, texture_corners, ("the faces count vertices from 0; read so",)
    missing = texture_corners == ZERO_INDEX
    if missing.any():
        texture_corners = np.where(missing, np.int32(np.iinfo(np.int32).max), texture_corners)
    return corners, texture_corners, ()


def _bad_index(source: Source, corners: Int32[np.ndarray, " corner"], ordinal: int, num_vertices: int) -> MeshError:
    before = corners[:ordinal]
    face, corner = int((before == -1).sum()), int(len(before) - 1 - np.append(-1, np.flatnonzero(before == -1))[-1])
    position = 0
    for number, match in enumerate(re.finditer(rb"(?:^|(?<=[\r\n]))[ \t]*[fF](?=[\s\\])", source.data)):
        position = match.end() - 1
        if number == face:
            break
    words = source.data[position + 1 : position + 1 + MAX_FACE_BYTES].replace(b"\\", b" ").split()
    named = words[corner].partition(b"/")[0].decode("latin-1") if corner < len(words) else ""
    return source.text_error(f"a face names vertex {named}, there are {num_vertices}", position)


def _vertex_colors(colors: Float32[np.ndarray, "vert 3"]) -> UInt8[np.ndarray, "vert 3"] | None:
    """Colours written as 0..1 or as 0..255; vertices without one become grey."""
    present = ~np.isnan(colors[:, 0])
    if not present.any():
        return None
    result = np.full(colors.shape, BLANK_COLOR, np.uint8)
    result[present] = color_bytes(colors[present], scale=None)
    return result


def _texture_names(source: Source) -> list[str]:
    """Candidates for the texture's file name, from the material files that are there: materials in use first."""
    used = dict.fromkeys(_text(match.group(1)) for match in MATERIAL.finditer(source.data))
    own: list[str] = []
    others: list[str] = []
    for library in _libraries(source):
        maps = _diffuse_maps(library)
        own += [name for material in used for name in maps.get(material, ())]
        others += [name for names in maps.values() for name in names]
    images = list(dict.fromkeys(basename(name).lower() for name in own))
    if len(images) > 1:
        warnings.warn(f"{source.path}: {len(images)} textures, only the first ({images[0]}) is read", stacklevel=3)
    return [part for name in dict.fromkeys([*own, *others]) for part in (name, name.split()[-1])]


def _libraries(source: Source) -> Iterator[str]:
    """Texts of the material files named, or else of the one with the file's own stem."""
    candidates: list[str] = []
    for match in LIBRARY.finditer(source.data, 0):
        whole = _text(match.group(1))
        candidates += [whole, *whole.split()]  # a name with blanks, or several names
        if len(candidates) > 64:
            break
    known: set[Path] = set()
    for name in [*candidates, mesh_stem(source.path) + ".mtl"]:
        found = find_beside(source.path, [basename(name)])
        if found is None or found in known:
            continue
        known.add(found)
        yield read_file(found)[:MAX_MATERIAL_BYTES].decode("utf-8", "replace")


def _diffuse_maps(library: str) -> dict[str, list[str]]:
    """What stands after `map_Kd` without its options, by material; what stands before the first has no name."""
    sections = list(NEW_MATERIAL.finditer(library))
    names = ["", *(match.group(1).strip().strip('"') for match in sections)]
    starts = [0, *(match.end() for match in sections)]
    ends = [*(match.start() for match in sections), len(library)]
    maps: dict[str, list[str]] = {}
    for material, start, end in zip(names, starts, ends, strict=True):
        for written in DIFFUSE_MAP.findall(library[start:end]):
            whole = written.strip()
            for _ in range(MAX_MAP_OPTIONS):
                whole = MAP_OPTION.sub("", whole, count=1)
            if whole:
                maps.setdefault(material, []).append(whole)
    return maps


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace").strip().strip('"')


def write_obj(file: TextSink, mesh: Mesh, *, material_library: str | None = None, material: str = "face") -> None:
    """Write a mesh without its texture; numbers with nine digits, so that reading returns the same float32.

    `material_library` is the name of the `.mtl` file, see `write_mtl`; without it no material is named.
    """
    if material_library is not None:
        file.write(f"mtllib {material_library}\nusemtl {material}\n")
    if mesh.vertex_colors is None:
        file.write("v %.9g %.9g %.9g\n" * mesh.num_vertices % tuple(mesh.vertices.ravel().tolist()))
    else:
        rows = np.concatenate([mesh.vertices.astype(np.float64), mesh.vertex_colors / 255.0], axis=1)
        file.write("v %.9g %.9g %.9g %.6g %.6g %.6g\n" * mesh.num_vertices % tuple(rows.ravel().tolist()))
    corners = mesh.faces.astype(np.int64) + 1
    if mesh.uv is None:
        file.write("f %d %d %d\n" * mesh.num_faces % tuple(corners.ravel().tolist()))
        return
    points, texture_corners = np.unique(mesh.uv.reshape(-1, 2), axis=0, return_inverse=True)
    file.write("vt %.9g %.9g\n" * len(points) % tuple(points.ravel().tolist()))
    pairs = np.stack([corners, texture_corners.reshape(-1, 3) + 1], axis=2)
    file.write("f %d/%d %d/%d %d/%d\n" * mesh.num_faces % tuple(pairs.ravel().tolist()))


def write_mtl(file: TextSink, *, texture_name: str, material: str = "face") -> None:
    """Write the material file of an OBJ with one texture."""
    file.write(f"newmtl {material}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture_name}\n")
