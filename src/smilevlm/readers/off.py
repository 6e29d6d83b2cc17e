"""Object File Format: OFF, and the variants with colours, normals or texture coordinates per vertex."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source, Table, TextSink
from smilevlm.readers._status import DONE, MESSAGES
from smilevlm.readers.elements import (
    Triangles,
    color_bytes,
    cut_into_triangles,
    cut_remark,
    is_slightly_cut,
    usable_mesh,
)

COMMENTS = rb"\s*(?:#[^\r\n]*[\r\n]\s*)*"
MAGIC = re.compile(COMMENTS + rb"((?:ST|C|N)*)(4n?)?OFF(?=[\s#\d])(?:[ \t]*(BINARY)\b)?", re.IGNORECASE)
NUMBERS_ALONE = re.compile(COMMENTS + rb"\d")
NORMAL_LENGTHS = (0.9, 1.1)
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What stands in the line of a vertex, by the letters before `OFF`.

    `color_first`: MeshLab writes NCOFF with the colour before the normal, Geomview's CNOFF is the other way round.
    """

    has_normal: bool
    has_color: bool
    has_uv: bool
    color_first: bool

    @property
    def least_width(self) -> int:
        return 3 + 3 * self.has_normal + 2 * self.has_uv


def read_off(data: bytes, *, path: Path) -> Mesh:
    """Read OFF and its variants with colours (C), normals (N) and texture coordinates (ST), text and binary.

    The word may be in any case and is optional; counts may follow it on its line or stand in several lines, and that
    of the edges may be absent. Colours of faces and normals are left out.
    """
    source = Source(data, path)
    magic = MAGIC.match(data[:MAX_HEADER_BYTES] + b"\n")
    if magic is None and not NUMBERS_ALONE.match(data[:MAX_HEADER_BYTES]):
        raise source.text_error("expected 'OFF' (or COFF, NOFF, STOFF) at the start", 0)
    letters, four, binary = (b"", None, None) if magic is None else magic.groups()
    # `nOFF` has any number of dimensions; `NOFF` has normals, and so has `noff`.
    if four or (magic and b"nOFF" in magic.group()):
        raise source.text_error(
            "4OFF and nOFF hold points of other than three dimensions, which are not read: save it as OFF or PLY", 0
        )
    prefix = letters.upper()
    layout = _Layout(
        has_normal=b"N" in prefix,
        has_color=prefix.replace(b"ST", b"").count(b"C") > 0,
        has_uv=b"ST" in prefix,
        color_first=b"NC" in prefix,
    )
    start = 0 if magic is None else min(magic.end(), source.size)
    if binary is not None:
        return _read_binary(source, layout, start)
    return _read_text(source, layout, start)


def _read_text(source: Source, layout: _Layout, start: int) -> Mesh:
    table = source.table(start, source.size)
    counts = _counts(source, table)
    num_vertices = counts.num_vertices
    rows, remarks = _vertex_rows(source, table, counts, layout)
    colors, points = _attributes(rows, layout)
    triangles = _faces(source, table, counts, points, rows[:, :3])
    if layout.has_color and colors is None:
        remarks = (*remarks, "the vertices have no colours of three or four numbers; colours left out")
    return usable_mesh(
        source.path, rows[:num_vertices, :3], triangles, vertex_colors=colors, remarks=(*counts.remarks, *remarks)
    )


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What the header says, less what a cut file lacks; `first_row` is that of the vertices."""

    num_vertices: int
    num_faces: int
    first_row: int
    remarks: tuple[str, ...]


def _counts(source: Source, table: Table) -> _Counts:
    """The two counts or three, in the first line or in a line each."""
    num_rows, header, first_row = table.num_rows, [], 0
    while first_row < min(num_rows, 3) and len(header) < 3:
        row = table.values[table.row_starts[first_row] : table.row_starts[first_row + 1]]
        # After both counts a line of one number is that of the edges; a vertex has three.
        if first_row and len(row) > 2 - (len(header) >= 2):
            break
        header += row.tolist()
        first_row += 1
    if len(header) not in (2, 3) or any(value != np.floor(value) or value < 0 for value in header):
        raise source.text_error("expected the numbers of vertices, faces and edges", table.start)
    num_vertices, num_faces = int(header[0]), int(header[1])
    left = num_rows - first_row
    remarks: tuple[str, ...] = ()
    is_open = left > 0 and source.data[-1:] not in (b"\n", b"\r")
    present = left - is_open  # the last number of a cut line may be cut too
    last = table.values[table.row_starts[-2] :] if left else np.zeros(0)
    lacks_numbers = is_open and len(last) < (1 + last[0] if num_faces else 3)
    if num_vertices + num_faces > left or (num_vertices + num_faces == left and lacks_numbers):
        name, announced = ("faces", num_faces) if num_faces else ("vertices", num_vertices)
        present -= num_vertices if num_faces else 0
        if not is_slightly_cut(announced, present):
            raise source.text_error(
                f"{num_vertices} vertices and {num_faces} faces announced, {left} lines follow", source.size
            )
        remarks = (cut_remark(announced, present, name),)
        num_vertices, num_faces = (num_vertices, present) if num_faces else (present, 0)
    if num_vertices == 0:
        raise source.error("no vertices, expected at least one")
    return _Counts(num_vertices=num_vertices, num_faces=num_faces, first_row=first_row, remarks=remarks)


def _vertex_rows(
    source: Source, table: Table, counts: _Counts, layout: _Layout
) -> tuple[Float64[np.ndarray, "vert width"], tuple[str, ...]]:
    """The lines of the vertices; of their coordinates alone where the lines differ in what follows."""
    first, last = counts.first_row, counts.first_row + counts.num_vertices
    widths = table.widths[first:last]
    wrong = widths < 3
    if wrong.any():
        row = first + int(wrong.argmax())
        message = f"a vertex of {widths[row - first]} numbers, expected {max(layout.least_width, int(widths[0]))}"
        raise source.row_error(message, table, row)
    starts = table.row_starts[first:last]
    if (widths == widths[0]).all() and widths[0] >= layout.least_width:
        return table.values[starts[0] : table.row_starts[last]].reshape(counts.num_vertices, -1), ()
    rows = table.values[starts[:, None] + np.arange(3)]
    return rows, ("the vertices do not all have what the header names; their coordinates alone are read",)


def _attributes(
    rows: Float64[np.ndarray, "vert width"], layout: _Layout
) -> tuple[UInt8[np.ndarray, "vert 3"] | None, Float64[np.ndarray, "vert 2"] | None]:
    """Colours and texture coordinates, as far as the lines hold them."""
    if rows.shape[1] < layout.least_width:
        return None, None
    points = rows[:, -2:] if layout.has_uv else None
    width = rows.shape[1] - layout.least_width
    if not layout.has_color or width < 3:
        return None, points
    first = 3
    if layout.has_normal:
        # The order by the letters, unless the numbers say otherwise: normals have length one.
        places = (3 + width, 3) if layout.color_first else (3, 3 + width)
        normal = next((place for place in places if _are_normals(rows[:, place : place + 3])), places[0])
        first = 6 if normal == 3 else 3
    return color_bytes(rows[:, first : first + 3], scale=None), points


def _are_normals(columns: Float64[np.ndarray, "vert 3"]) -> bool:
    lengths = np.linalg.norm(columns, axis=1)
    low, high = NORMAL_LENGTHS
    return bool(((lengths > low) & (lengths < high)).mean() > 0.5)


def _faces(
    source: Source,
    table: Table,
    counts: _Counts,
    points: Float64[np.ndarray, "vert 2"] | None,
    vertices: Float64[np.ndarray, "vert 3"],
) -> Triangles:
    from smilevlm.readers._kernels_faces import polygons_from_rows

    first_row = counts.first_row + counts.num_vertices
    row_starts = table.row_starts[: first_row + counts.num_faces + 1]
    corners = np.empty(row_starts[-1] - row_starts[first_row], np.int32)
    count, status, row = polygons_from_rows(table.values, row_starts, first_row, corners)
    if status != DONE:
        raise source.row_error(f"{MESSAGES[status]}, in a face 'n i1 ... in'", table, row)
    corners = corners[:count]

    def bad_index(ordinal: int) -> MeshError:
        ends = np.flatnonzero(corners[:ordinal] == -1)
        row = first_row + len(ends)
        named = table.values[row_starts[row] + 1 + ordinal - (ends[-1] + 1 if len(ends) else 0)]
        return source.row_error(f"a face names vertex {named:g}, there are {len(vertices)}", table, row)

    return cut_into_triangles(
        source,
        corners,
        len(vertices),
        texture_corners=None if points is None else corners,
        texture_points=points,
        vertices=vertices,
        bad_index=bad_index,
    )


def _read_binary(source: Source, layout: _Layout, start: int) -> Mesh:
    """Big-endian int32 and float32, as Geomview writes: a colour has four numbers, a face its own colour after it."""
    start += 1 + (source.data[start : start + 2] == b"\r\n")
    if source.size < start + 12:
        raise source.byte_error("the file ends before the numbers of vertices, faces and edges", source.size)
    num_vertices, num_faces, _ = (int(count) for count in np.frombuffer(source.data, ">u4", 3, start))
    width = layout.least_width + 4 * layout.has_color
    faces_at = start + 12 + 4 * width * num_vertices
    if source.size < faces_at + 4 * num_faces:
        raise source.byte_error(
            f"{num_vertices} vertices and {num_faces} faces announced, {source.size - start - 12} bytes follow", start
        )
    rows = np.frombuffer(source.data, ">f4", width * num_vertices, start + 12).astype(np.float64).reshape(-1, width)
    words = np.frombuffer(source.data, ">i4", (source.size - faces_at) // 4, faces_at).astype(np.int32)
    corners, present = _binary_faces(words, num_faces)
    remarks: tuple[str, ...] = ()
    if present < num_faces:
        if not is_slightly_cut(num_faces, present):
            raise source.byte_error(f"{num_faces} faces announced, {present} follow", faces_at)
        remarks = (cut_remark(num_faces, present, "faces"),)
    colors, points = _attributes(rows, layout)
    triangles = cut_into_triangles(
        source,
        corners,
        num_vertices,
        texture_corners=None if points is None else corners,
        texture_points=points,
        vertices=rows[:, :3],
        bad_index=lambda _: source.byte_error(
            f"a face names a vertex that is not there, there are {num_vertices}", faces_at
        ),
    )
    return usable_mesh(source.path, rows[:, :3], triangles, vertex_colors=colors, remarks=remarks)


def _binary_faces(words: Int32[np.ndarray, " word"], num_faces: int) -> tuple[Int32[np.ndarray, " corner"], int]:
    from smilevlm.readers._kernels_faces import polygons_from_words

    corners = np.empty(len(words) + 1, np.int32)
    count, present = polygons_from_words(words, num_faces, corners)
    return corners[:count], present


def write_off(file: TextSink, mesh: Mesh) -> None:
    """Write OFF, or COFF for a mesh with vertex colours; numbers with nine digits, no texture coordinates."""
    file.write("OFF\n" if mesh.vertex_colors is None else "COFF\n")
    file.write(f"{mesh.num_vertices} {mesh.num_faces} 0\n")
    if mesh.vertex_colors is None:
        file.write("%.9g %.9g %.9g\n" * mesh.num_vertices % tuple(mesh.vertices.ravel().tolist()))
    else:
        rows = np.concatenate([mesh.vertices.astype(np.float64), mesh.vertex_colors.astype(np.float64)], axis=1)
        file.write("%.9g %.9g %.9g %d %d %d 255\n" * mesh.num_vertices % tuple(rows.ravel().tolist()))
    file.write("3 %d %d %d\n" * mesh.num_faces % tuple(mesh.faces.ravel().tolist()))
