"""STL, text and binary. Corners with the same coordinates are merged, so that the mesh is connected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from smilevlm.geometry import Mesh
from smilevlm.readers._merging import merge_positions
from smilevlm.readers._sinks import ByteSink
from smilevlm.readers._source import Source, require_vertices
from smilevlm.readers._status import DONE, TOO_SHORT
from smilevlm.readers.elements import usable_mesh

HEADER_BYTES = 84
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes, *, path: Path) -> Mesh:
    """Read a text or binary STL; the stored normals are left out, degenerate triangles dropped.

    Args:
        data: The whole file.
        path: Where it came from, for messages.

    Raises:
        MeshError: At `path:line` of a text file, at a byte offset of a binary one.
    """
    source = Source(data, path)
    corners = _read_text(source) if _is_text(data) else _read_binary(source)
    require_vertices(source, corners)
    return _merged(path, corners)


def _is_text(data: bytes) -> bool:
    # Binary headers may start with "solid" too: then the length fits the triangle count.
    if len(data) >= HEADER_BYTES and len(data) == _expected_size(data):
        return False
    return data[:256].lstrip()[:5].lower() == b"solid" and b"\0" not in data[:1024]


def _expected_size(data: bytes) -> int:
    return HEADER_BYTES + RECORD.itemsize * int.from_bytes(data[80:HEADER_BYTES], "little")


def _read_binary(source: Source) -> Float32[np.ndarray, "vert 3"]:
    if source.size < HEADER_BYTES:
        raise source.byte_error(f"{source.size} bytes, expected a text STL or {HEADER_BYTES} bytes of header", 0)
    count = (_expected_size(source.data) - HEADER_BYTES) // RECORD.itemsize
    if source.size < _expected_size(source.data):
        present = (source.size - HEADER_BYTES) // RECORD.itemsize
        raise source.byte_error(f"{count} triangles announced, bytes for {present} follow", 80)
    records = np.frombuffer(source.data, RECORD, count, HEADER_BYTES)
    return np.ascontiguousarray(records["corners"].reshape(-1, 3), np.float32)


def _read_text(source: Source) -> Float32[np.ndarray, "vert 3"]:
    from smilevlm.readers._kernels_formats import scan_stl

    points = np.empty((source.size // 12 + 1, 3), np.float32)  # "vertex 0 0 0" is 12 bytes
    count, status, position = scan_stl(source.buffer, source.size, points)
    if status == TOO_SHORT:
        raise source.text_error("expected three corners for each facet, and 'endsolid' at the end", position)
    if status != DONE:
        raise source.status_error(status, position)
    return points[:count].copy()


def _merged(path: Path, corners: Float32[np.ndarray, "vert 3"]) -> Mesh:
    corners = corners + np.float32(0)  # -0 becomes 0
    rows, merged = merge_positions(corners)
    faces = merged.reshape(-1, 3)
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 0] != faces[:, 2]) & (faces[:, 1] != faces[:, 2])
    return usable_mesh(path, corners[rows], faces=faces[distinct])


def write_stl(file: ByteSink, mesh: Mesh) -> None:
    """Write the triangles as binary STL, with unit normals; colours and texture have no place in it.

    Args:
        file: Opened for bytes.
        mesh: Its vertices that no face names are lost.
    """
    records = np.zeros(mesh.num_faces, RECORD)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = normals / np.where(lengths > 0, lengths, 1)
    records["corners"] = corners
    file.write(b"smilevlm".ljust(80) + mesh.num_faces.to_bytes(4, "little") + records.tobytes())
