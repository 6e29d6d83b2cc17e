"""STL, text and binary. Corners with the same coordinates are merged, so that the mesh is connected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64

from smilevlm.geometry import Mesh
from smilevlm.geometry.arrays import vertex_array
from smilevlm.readers._source import ByteSink, Source
from smilevlm.readers._status import DONE, TOO_SHORT
from smilevlm.readers.elements import Triangles, cut_remark, is_slightly_cut, merge_positions, usable_mesh

HEADER_BYTES = 84
TEXT_FACET = re.compile(rb"\bfacet\s+normal\b", re.IGNORECASE)
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes, *, path: Path) -> Mesh:
    """Read a text or binary STL; the stored normals and colours are left out, degenerate triangles dropped.

    A text file may hold several solids. A last triangle that was cut is left out. Where the length of a binary file is
    that of another number of whole triangles than it announces, the length counts.
    """
    source = Source(data, path)
    corners, remarks = _read_text(source) if _is_text(data) else _read_binary(source)
    return _merged(path, corners, remarks)


def _is_text(data: bytes) -> bool:
    # Binary headers may start with "solid" too: then the length fits the triangle count.
    if len(data) >= HEADER_BYTES and len(data) == _expected_size(data):
        return False
    head = data[:1024]
    return head.lstrip()[:5].lower() == b"solid" and (b"\0" not in head or TEXT_FACET.search(head) is not None)


def _expected_size(data: bytes) -> int:
    return HEADER_BYTES + RECORD.itemsize * int.from_bytes(data[80:HEADER_BYTES], "little")


def _read_binary(source: Source) -> tuple[Float32[np.ndarray, "vert 3"], tuple[str, ...]]:
    if source.size < HEADER_BYTES:
        raise source.byte_error(f"{source.size} bytes, expected a text STL or {HEADER_BYTES} bytes of header", 0)
    announced = (_expected_size(source.data) - HEADER_BYTES) // RECORD.itemsize
    present, rest = divmod(source.size - HEADER_BYTES, RECORD.itemsize)
    count, remarks = announced, ()
    if present and announced != present and (rest == 0 or announced == 0):
        # Programs that stream their triangles, or count them wrongly: the length is that of whole triangles.
        count = present
        remarks = (f"{announced} triangles announced, the file's length is that of {present}; they are read",)
    elif is_slightly_cut(announced, present):
        count = present
        remarks = (cut_remark(announced, present, "triangles"),)
    elif announced > present:
        raise source.byte_error(f"{announced} triangles announced, bytes for {present} follow", 80)
    records = np.frombuffer(source.data, RECORD, count, HEADER_BYTES)
    return np.ascontiguousarray(records["corners"].reshape(-1, 3), np.float32), remarks


def _read_text(source: Source) -> tuple[Float64[np.ndarray, "vert 3"], tuple[str, ...]]:
    from smilevlm.readers._kernels_formats import scan_stl

    points = np.empty((source.size // 12 + 1, 3), np.float64)  # "vertex 0 0 0" is 12 bytes
    count, status, position, is_closed = scan_stl(source.buffer, source.size, points)
    remarks: tuple[str, ...] = ()
    if status != DONE and position == source.size and count:
        remarks = ("the file is cut within its last triangle, which is left out",)
    elif status == TOO_SHORT:
        raise source.text_error("expected three corners for each facet", position)
    elif status != DONE:
        raise source.status_error(status, position)
    elif not is_closed:
        remarks = ("the file does not end with 'endsolid': it may be cut",)
    return points[:count].copy(), remarks


def _merged(path: Path, corners: Float[np.ndarray, "vert 3"], remarks: tuple[str, ...]) -> Mesh:
    # Merged as they will be kept: in float32, relative to an origin where they lie far from zero.
    kept, _ = vertex_array(corners)
    rows, merged = merge_positions(kept + np.float32(0))  # -0 becomes 0
    faces = merged.reshape(-1, 3)
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 0] != faces[:, 2]) & (faces[:, 1] != faces[:, 2])
    return usable_mesh(path, corners[rows] + 0, Triangles(faces=faces[distinct]), remarks=remarks)


def write_stl(file: ByteSink, mesh: Mesh) -> None:
    """Write the triangles as binary STL with unit normals: colours, texture and unused vertices are lost."""
    records = np.zeros(mesh.num_faces, RECORD)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = normals / np.where(lengths > 0, lengths, 1)
    records["corners"] = corners
    file.write(b"smilevlm".ljust(80) + mesh.num_faces.to_bytes(4, "little") + records.tobytes())
