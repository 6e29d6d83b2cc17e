"""`Source`: the bytes of one file, with the scanners over them and errors that say where."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry.arrays import far_origin
from smilevlm.geometry.memory import empty_arrays
from smilevlm.readers._status import DONE, INDEX_OUT_OF_RANGE, MESSAGES
from smilevlm.readers.elements import first_bad_index, without_bad_indices
from smilevlm.typing import CornerUv, Faces

MEMORY_PER_FILE_BYTE = 8
MEMORY_FREE_BYTES = 32 * 2**20

ITEM_BYTES = 4
"""Of a coordinate (float32) and of an index (int32)."""

BLANK_COLOR = 204
"""Grey of vertices that have no colour among others that do: VRML's default of 0.8."""


@dataclass(frozen=True)
class Source:
    """The bytes of one file.

    Args:
        data: The whole file.
        path: Where it came from, for messages.
    """

    data: bytes
    path: Path

    @cached_property
    def buffer(self) -> UInt8[np.ndarray, " byte"]:
        return np.frombuffer(self.data, np.uint8)

    @property
    def size(self) -> int:
        return len(self.data)

    def line(self, position: int) -> int:
        """1-based line of a byte position; files of old Macs end lines with a carriage return alone."""
        newline = b"\n" if b"\n" in self.data else b"\r"
        return self.data.count(newline, 0, position) + 1

    def text_error(self, message: str, position: int) -> MeshError:
        return MeshError(message, path=self.path, line=self.line(position))

    def byte_error(self, message: str, offset: int) -> MeshError:
        return MeshError(message, path=self.path, offset=offset)

    def error(self, message: str) -> MeshError:
        """An error that concerns the file as a whole."""
        return MeshError(message, path=self.path)

    def status_error(self, status: int, position: int) -> MeshError:
        """What a scanner stopped at, with the word it found there."""
        word = self.word(position)
        return self.text_error(MESSAGES[status] + (f", found {word!r}" if word else ""), position)

    def word(self, position: int) -> str:
        """The word that starts at a position, for a message; empty where none does."""
        found = re.match(rb"[^\s,;{}\[\]\"]+", self.data[position : position + 24])
        return found.group().decode("ascii", "replace") if found else ""

    def require_memory(self, num_bytes: int, *, bytes_beside: int = 0) -> None:
        """Refuse what would need far more memory than the file has bytes.

        Args:
            num_bytes: What is asked for.
            bytes_beside: Size of the files that belong to this one.

        Raises:
            MeshError: More than eight times the file's size, above what is always granted.
        """
        if num_bytes > MEMORY_PER_FILE_BYTE * (self.size + bytes_beside) + MEMORY_FREE_BYTES:
            raise self.error(f"the file describes {num_bytes / 2**20:.0f} MiB of geometry in {self.size} bytes")

    def floats(self, start: int, stop: int, *, single: bool = False) -> Float[np.ndarray, " value"]:
        """All numbers of a list of text; blanks and commas separate. Not finite or beyond float32: nan.

        Args:
            start: First byte of the list.
            stop: The byte after it.
            single: As float32 instead of float64, which takes longer to fill.

        Raises:
            MeshError: A word that is no number, at its line.
        """
        from smilevlm.readers._kernels import scan_floats

        (values,) = empty_arrays((((stop - start) // 2 + 1,), np.float32 if single else np.float64))
        count, status, position = scan_floats(self.buffer, start, stop, values)
        if status != DONE:
            raise self.status_error(status, position)
        return values[:count]

    def rows(
        self, start: int, stop: int, width: int, what: str, *, single: bool = False
    ) -> Float[np.ndarray, "row {width}"]:
        """A list of numbers in groups of `width`; see `floats`.

        Raises:
            MeshError: The count is no multiple of `width`, or a word is no number.
        """
        values = self.floats(start, stop, single=single)
        if len(values) % width:
            raise self.text_error(f"{len(values)} numbers for {what}, expected groups of {width}", start)
        return values.reshape(-1, width)

    def coordinates(self, start: int, stop: int, what: str) -> Float[np.ndarray, "row 3"]:
        """A list of positions: as float32, or as float64 where they lie so far from zero that float32 would lose them.

        Raises:
            MeshError: The count is no multiple of three, or a word is no number.
        """
        near = self.rows(start, stop, 3, what, single=True)
        return near if far_origin(near) is None else self.rows(start, stop, 3, what)

    def indices(self, start: int, stop: int) -> Int32[np.ndarray, " value"]:
        """All indices of a list of text, -1 included; `BAD_INDEX` for a number that can be no index.

        Raises:
            MeshError: A word that is no number.
        """
        from smilevlm.readers._kernels import scan_indices

        (values,) = empty_arrays((((stop - start) // 2 + 1,), np.int32))
        count, status, position = scan_indices(self.buffer, start, stop, values)
        if status != DONE:
            raise self.status_error(status, position)
        return values[:count]

    def table(self, start: int, stop: int) -> Table:
        """All numbers of the lines between two positions, comments left out. Not finite or beyond float32: nan.

        Raises:
            MeshError: A word that is no number.
        """
        from smilevlm.readers._kernels import scan_table

        values = np.empty((stop - start) // 2 + 1, np.float64)
        row_starts = np.empty((stop - start) // 2 + 2, np.int64)
        count, num_rows, status, position = scan_table(self.buffer, start, stop, values, row_starts)
        if status != DONE:
            raise self.status_error(status, position)
        return Table(values=values[:count], row_starts=row_starts[: num_rows + 1], start=start, stop=stop)

    def value_position(self, start: int, stop: int, ordinal: int) -> int:
        """Byte position of the value number `ordinal` of a list, for a message."""
        from smilevlm.readers._kernels import position_of_value

        return position_of_value(self.buffer, start, stop, ordinal)

    def row_line(self, table: Table, row: int) -> int:
        """1-based line of the row number `row` of a table."""
        # Each match is a line with something before its comment: control characters count as blanks.
        filled = re.compile(rb"(?:(?<=[\r\n])|\A)[\x00-\x09\x0b\x0c\x0e-\x20,;]*+(?![\r\n#]|//|\Z)")
        text = memoryview(self.data)[table.start : table.stop]
        for seen, match in enumerate(filled.finditer(text)):
            if seen == row:
                return self.line(table.start + match.end())
        return self.line(table.stop)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers in lines of any width.

    Args:
        values: All numbers.
        row_starts: First value of each line, and the total count at the end.
        start: First byte of the lines.
        stop: The byte after them.
    """

    values: Float64[np.ndarray, " value"]
    row_starts: Int64[np.ndarray, " row_and_one"]
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        return len(self.row_starts) - 1

    @property
    def widths(self) -> Int64[np.ndarray, " row"]:
        return np.diff(self.row_starts)


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """What polygons become.

    Args:
        faces: Vertex indices.
        uv: Texture coordinates per corner, or None.
        status: DONE; or INDEX_OUT_OF_RANGE where so many faces name missing vertices that the file is refused.
        ordinal: Then the first corner index (separators counted) that is wrong.
        remarks: What was left out.
    """

    faces: Faces
    uv: CornerUv | None
    status: int = DONE
    ordinal: int = 0
    remarks: tuple[str, ...] = ()


def cut_into_triangles(
    source: Source,
    corners: Int32[np.ndarray, " corner"],
    num_vertices: int,
    *,
    texture_corners: Int32[np.ndarray, " texture_corner"] | None = None,
    texture_points: Float[np.ndarray, "point 2"] | None = None,
    flipped: bool = False,
    vertices: Float[np.ndarray, "vert 3"] | None = None,
) -> Triangles:
    """Cut faces separated by -1 into fans, dropping triangles that name a vertex twice.

    Faces that name a vertex that is not there are left out with a remark, up to `MAX_BAD_FACE_SHARE` of them. Texture
    coordinates never cost a face: corners whose texture index names nothing have none, and without corner-by-corner
    agreement the mesh has none.

    Args:
        source: The file, whose size bounds the memory.
        corners: Vertex indices; faces of fewer than three are dropped.
        num_vertices: How many there are to name.
        texture_corners: Parallel to `corners`: rows of `texture_points`, -2 for a corner without texture.
        texture_points: (u, v), or None for a mesh without texture coordinates.
        flipped: The faces are written clockwise.
        vertices: Where the vertices are: given for formats that count from 0, so that indices that count from 1 are
            seen.

    Raises:
        MeshError: The triangles would need far more memory than the file has bytes.
    """
    if texture_points is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            texture_points = np.ascontiguousarray(texture_points, np.float32)
    if not flipped and (texture_points is None or texture_corners is corners):
        plain = _plain_triangles(source, corners, num_vertices, texture_points)
        if plain is not None:
            return _with_finite_uv(plain, texture_points)
    has_texture = texture_corners is not None and texture_points is not None and len(corners) > 0
    if texture_corners is None or texture_points is None or not has_texture:
        texture_corners, texture_points = np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
    elif len(texture_corners) == 0:  # to the kernel an empty list says that there is no texture at all
        texture_corners = np.full(1, -1, np.int32)
    remarks: tuple[str, ...] = ()
    count, status, ordinal = _count(corners, texture_corners, num_vertices, texture_points)
    if status != DONE:
        repaired = without_bad_indices(corners, texture_corners, num_vertices, len(texture_points), vertices)
        if repaired is None:
            nothing = Triangles(faces=np.empty((0, 3), np.int32), uv=None)
            return replace(nothing, status=INDEX_OUT_OF_RANGE, ordinal=first_bad_index(corners, num_vertices))
        corners, texture_corners, remarks = repaired
        has_texture = len(texture_corners) > 0
        count, status, ordinal = _count(corners, texture_corners, num_vertices, texture_points)
        assert status == DONE, ordinal
    source.require_memory((count + 2 * count * has_texture) * 3 * ITEM_BYTES)
    faces = np.empty((count, 3), np.int32)
    uv = np.empty((count if has_texture else 0, 3, 2), np.float32)
    from smilevlm.readers._kernels_faces import fill_triangles

    fill_triangles(corners, texture_corners, texture_points, faces, uv, flipped)
    return _with_finite_uv(Triangles(faces=faces, uv=uv if has_texture else None, remarks=remarks), texture_points)


def _count(
    corners: np.ndarray, texture_corners: np.ndarray, num_vertices: int, texture_points: np.ndarray
) -> tuple[int, int, int]:
    from smilevlm.readers._kernels_faces import count_triangles

    return count_triangles(corners, texture_corners, num_vertices, len(texture_points))


def _with_finite_uv(triangles: Triangles, points: Float32[np.ndarray, "point 2"] | None) -> Triangles:
    """Corners whose texture coordinates are not finite have none: they become (0, 0)."""
    uv = triangles.uv
    # There are six times fewer points than corners.
    if uv is None or points is None or np.isfinite(points).all() or np.isfinite(uv).all():
        return triangles
    bad = ~np.isfinite(uv).all(axis=2)
    uv[bad] = 0
    remark = f"{np.count_nonzero(bad)} corners of faces have texture coordinates that are not finite; left out"
    return replace(triangles, remarks=(*triangles.remarks, remark))


def _plain_triangles(
    source: Source,
    corners: Int32[np.ndarray, " corner"],
    num_vertices: int,
    points: Float32[np.ndarray, "point 2"] | None,
) -> Triangles | None:
    """The short way for a list of nothing but proper triangles, or None."""
    from smilevlm.readers._kernels_faces import plain_triangles

    if len(corners) == 0 or len(corners) % 4:
        return None
    num_faces = len(corners) // 4
    num_textured = 0 if points is None else num_faces
    source.require_memory((num_faces + 2 * num_textured) * 3 * ITEM_BYTES)
    faces, uv = empty_arrays(((num_faces, 3), np.int32), ((num_textured, 3, 2), np.float32))
    known = np.zeros((0, 2), np.float32) if points is None else points
    if not plain_triangles(corners, num_vertices, known, faces, uv):
        return None
    return Triangles(faces=faces, uv=None if points is None else uv)


def color_bytes(colors: Float[np.ndarray, "vert 3"], scale: float = 255.0) -> UInt8[np.ndarray, "vert 3"]:
    """Colours times `scale`, rounded, clipped to 0..255; grey for one that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip(np.rint(colors.astype(np.float32) * np.float32(scale)), 0, 255)
    return np.where(np.isfinite(scaled), scaled, BLANK_COLOR).astype(np.uint8)
