"""Wavefront OBJ: BP4D and BP4D+ frames, FaceScape, and what tools write."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from smilevlm.geometry import Mesh
from smilevlm.readers._sinks import TextSink
from smilevlm.readers._source import BLANK_COLOR, Source, Triangles, color_bytes, cut_into_triangles
from smilevlm.readers._status import DONE, TOO_SHORT
from smilevlm.readers.archives import read_file
from smilevlm.readers.elements import usable_mesh
from smilevlm.readers.suffixes import mesh_stem
from smilevlm.readers.textures import basename, find_beside, load_named_texture

MAX_MATERIAL_BYTES = 2**20
MAX_MAP_OPTIONS = 16

LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
MATERIAL = re.compile(rb"^[ \t]*usemtl[ \t]+([^\r\n]+)", re.MULTILINE)
NEW_MATERIAL = re.compile(r"^[ \t]*newmtl[ \t]+([^\r\n]+)", re.MULTILINE)
DIFFUSE_MAP = re.compile(r"^[ \t]*map_Kd[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
MAP_OPTION = re.compile(r"^-(?:(?:blendu|blendv|cc|clamp|imfchan|texres|bm|boost|type)\s+\S+|mm\s+\S+\s+\S+"
                        r"|[ost](?:\s+[-+.\d][-+.\deE]*){1,3})\s+")  # fmt: skip


def read_obj(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read vertices, their colours, texture coordinates and faces; normals, lines and groups are left out.

    Args:
        data: The whole file.
        path: Where it came from, for messages and to find the material and the texture.
        load_texture: Read the image that the first material used names in `map_Kd`, or that shares the file's stem.
            A material file that is missing is no error; that the materials in use name several images is a warning.

    Raises:
        MeshError: At `path:line`; or the texture cannot be decoded.
    """
    from smilevlm.readers._kernels_formats import count_obj, scan_obj

    source = Source(data, path)
    num_vertices, num_texture, num_corners = count_obj(source.buffer, source.size)
    # Lines that are too short to hold what they claim would make these larger than the file warrants.
    source.require_memory(4 * (9 * num_vertices + 2 * num_texture + 2 * num_corners))
    vertices, colors = np.empty((num_vertices, 3), np.float64), np.empty((num_vertices, 3), np.float32)
    points = np.empty((num_texture, 2), np.float32)
    corners, texture_corners = np.empty(num_corners, np.int32), np.empty(num_corners, np.int32)
    count, status, position = scan_obj(source.buffer, source.size, vertices, colors, points, corners, texture_corners)
    if status == TOO_SHORT:
        raise source.text_error("too few numbers, expected 'v x y z' or 'vt u v'", position)
    if status != DONE:
        raise source.status_error(status, position)
    corners, texture_corners = corners[:count], texture_corners[:count]
    has_uv = bool((texture_corners >= 0).any())
    triangles = cut_into_triangles(
        source,
        corners,
        num_vertices,
        texture_corners=texture_corners if has_uv else None,
        texture_points=points if has_uv else None,
    )
    if triangles.status != DONE:
        raise source.text_error(*_bad_index(source, triangles, corners, num_vertices))
    return usable_mesh(
        path,
        vertices,
        faces=triangles.faces,
        uv=triangles.uv,
        texture=load_named_texture(path, _texture_names(source)) if load_texture and has_uv else None,
        vertex_colors=_vertex_colors(colors),
        remarks=triangles.remarks,
    )


def _bad_index(
    source: Source,
    triangles: Triangles,
    corners: Int32[np.ndarray, " corner"],
    num_vertices: int,
) -> tuple[str, int]:
    face = int((corners[: triangles.ordinal] == -1).sum())
    position = 0
    for number, match in enumerate(re.finditer(rb"(?:^|(?<=[\r\n]))[ \t]*f(?=[\s\\])", source.data)):
        position = match.end() - 1
        if number == face:
            break
    return f"a face names vertex {corners[triangles.ordinal] + 1}, there are {num_vertices}", position


def _vertex_colors(colors: Float32[np.ndarray, "vert 3"]) -> UInt8[np.ndarray, "vert 3"] | None:
    """Colours written as 0..1 or as 0..255; vertices without one become grey."""
    present = ~np.isnan(colors[:, 0])
    if not present.any():
        return None
    scale = 255.0 if np.nanmax(colors[present]) <= 1.0 else 1.0
    result = np.full(colors.shape, BLANK_COLOR, np.uint8)
    result[present] = color_bytes(colors[present], scale)
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
    seen: set[Path] = set()
    for name in [*candidates, mesh_stem(source.path) + ".mtl"]:
        found = find_beside(source.path, [basename(name)])
        if found is None or found in seen:
            continue
        seen.add(found)
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
    """Write a mesh; numbers with nine digits, so that reading returns the same float32.

    Args:
        file: Opened for text.
        mesh: Its texture and landmarks are not written.
        material_library: Name of the `.mtl` file, see `write_mtl`; None to name none.
        material: Name of the material in that file.
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
