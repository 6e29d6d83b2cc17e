"""Object File Format: OFF, and the variants with colours, normals or texture coordinates per vertex."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from smilevlm.geometry import Mesh
from smilevlm.readers._sinks import TextSink
from smilevlm.readers._source import Source, Table, Triangles, color_bytes, cut_into_triangles
from smilevlm.readers._status import DONE, INDEX_OUT_OF_RANGE, MESSAGES
from smilevlm.readers.elements import usable_mesh

MAGIC = re.compile(rb"\s*(?:#[^\r\n]*\s*)*(ST)?(C)?(N)?(4)?(n)?OFF(?=[\s#])[ \t]*(BINARY)?")


def read_off(data: bytes, *, path: Path) -> Mesh:
    """Read OFF, COFF, NOFF, STOFF and their combinations, as text.

    Counts may follow on the first line. Colours of faces and normals are left out.

    Args:
        data: The whole file.
        path: Where it came from, for messages.

    Raises:
        MeshError: At `path:line`.
    """
    source = Source(data, path)
    magic = MAGIC.match(data[:4096] + b"\n")
    if magic is None:
        raise source.text_error("expected 'OFF' (or COFF, NOFF, STOFF) at the start", 0)
    has_uv, has_color, has_normal, four, high, binary = (group is not None for group in magic.groups())
    if four or high or binary:
        raise source.text_error("expected text OFF with three coordinates; 4OFF, nOFF and BINARY are not read", 0)
    table = source.table(min(magic.end(), source.size), source.size)
    num_vertices, num_faces = _counts(source, table)
    rows = _vertex_rows(source, table, num_vertices, 3 + 3 * has_normal + 2 * has_uv)
    colors = None
    if has_color:
        first = 3 + 3 * has_normal
        width = rows.shape[1] - first - 2 * has_uv
        if width < 3:
            raise source.text_error("expected a colour of three or four numbers for each vertex", table.start)
        raw = rows[:, first : first + 3]
        colors = color_bytes(raw, 255.0 if np.nanmax(raw, initial=0) <= 1.0 else 1.0)
    points = rows[:, -2:] if has_uv else None
    triangles = _faces(source, table, 1 + num_vertices, num_faces, num_vertices, points)
    return usable_mesh(
        path, rows[:, :3], faces=triangles.faces, uv=triangles.uv, vertex_colors=colors, remarks=triangles.remarks
    )


def _counts(source: Source, table: Table) -> tuple[int, int]:
    header = table.values[: table.row_starts[1]] if table.num_rows else np.zeros(0)
    if len(header) not in (2, 3) or (header != np.floor(header)).any() or (header < 0).any():
        raise source.text_error("expected the numbers of vertices, faces and edges", table.start)
    num_vertices, num_faces = int(header[0]), int(header[1])
    if num_vertices + num_faces > table.num_rows - 1:
        raise source.text_error(
            f"{num_vertices} vertices and {num_faces} faces announced, {table.num_rows - 1} lines follow", source.size
        )
    if num_vertices == 0:
        raise source.error("no vertices, expected at least one")
    return num_vertices, num_faces


def _vertex_rows(source: Source, table: Table, num_vertices: int, least: int) -> np.ndarray:
    """The lines of the vertices, all of one width."""
    widths = table.widths[1 : 1 + num_vertices]
    wrong = (widths != widths[0]) | (widths < least)
    if wrong.any():
        row = 1 + int(wrong.argmax())
        message = f"a vertex of {widths[row - 1]} numbers, expected {max(least, int(widths[0]))}"
        raise _row_error(source, table, row, message)
    start, stop = table.row_starts[1], table.row_starts[1 + num_vertices]
    return table.values[start:stop].reshape(num_vertices, -1)


def _faces(
    source: Source, table: Table, first_row: int, num_faces: int, num_vertices: int, points: np.ndarray | None
) -> Triangles:
    from smilevlm.readers._kernels_faces import polygons_from_rows

    row_starts = table.row_starts[: first_row + num_faces + 1]
    corners = np.empty(row_starts[-1] - row_starts[first_row], np.int32)
    count, status, row = polygons_from_rows(table.values, row_starts, first_row, corners)
    if status != DONE:
        raise _row_error(source, table, row, f"{MESSAGES[status]}, in a face 'n i1 ... in'")
    corners = corners[:count]
    triangles = cut_into_triangles(
        source,
        corners,
        num_vertices,
        texture_corners=None if points is None else corners,
        texture_points=points,
    )
    if triangles.status != DONE:
        assert triangles.status == INDEX_OUT_OF_RANGE
        row = first_row + int((corners[: triangles.ordinal] == -1).sum())
        message = f"a face names vertex {corners[triangles.ordinal]}, there are {num_vertices}"
        raise _row_error(source, table, row, message)
    return triangles


def _row_error(source: Source, table: Table, row: int, message: str) -> Exception:
    error = source.text_error(message, 0)
    error.line = source.row_line(table, row)
    return error


def write_off(file: TextSink, mesh: Mesh) -> None:
    """Write OFF, or COFF for a mesh with vertex colours; numbers with nine digits.

    Args:
        file: Opened for text.
        mesh: Its texture coordinates are not written.
    """
    file.write("OFF\n" if mesh.vertex_colors is None else "COFF\n")
    file.write(f"{mesh.num_vertices} {mesh.num_faces} 0\n")
    if mesh.vertex_colors is None:
        file.write("%.9g %.9g %.9g\n" * mesh.num_vertices % tuple(mesh.vertices.ravel().tolist()))
    else:
        rows = np.concatenate([mesh.vertices.astype(np.float64), mesh.vertex_colors.astype(np.float64)], axis=1)
        file.write("%.9g %.9g %.9g %d %d %d 255\n" * mesh.num_vertices % tuple(rows.ravel().tolist()))
    file.write("3 %d %d %d\n" * mesh.num_faces % tuple(mesh.faces.ravel().tolist()))
