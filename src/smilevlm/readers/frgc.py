"""FRGC `.abs`: a range image of one view as text, of a Minolta Vivid scanner, often packed by gzip (`.abs.gz`)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers.bnt import grid_faces
from smilevlm.readers.elements import Triangles, usable_mesh

HEADER = re.compile(
    rb"\s*(\d{1,6})[ \t]+rows\s+(\d{1,6})[ \t]+columns\s+pixels[ \t]*\(flag X Y Z\):?[ \t]*(?:\r\n|\r|\n)",
    re.IGNORECASE,
)
MISSING = -999999.0
"""What the scanner writes where it saw nothing."""
_POINT_BYTES = 120
"""Of memory for a point of the grid and its faces."""


def read_abs(data: bytes, *, path: Path) -> Mesh:
    """Read a range image as triangles, counter-clockwise seen from the scanner; joined like those of a `.bnt`.

    Three lines of header (`480 rows`, `640 columns`, `pixels (flag X Y Z):`), then all flags, all X, all Y and all Z. A
    point is dropped when its flag is 0 or a coordinate is `MISSING` or not finite. Millimetres in the scanner's frame;
    a point cloud when no two rows of the grid can be joined.
    """
    source = Source(data, path)
    header = HEADER.match(data)
    if header is None:
        raise source.text_error("expected the lines 'N rows', 'N columns' and 'pixels (flag X Y Z):'", 0)
    num_rows, num_columns = int(header[1]), int(header[2])
    num_points = num_rows * num_columns
    values = source.floats(header.end(), source.size)
    if len(values) < 4 * num_points:
        raise source.text_error(
            f"{num_rows} x {num_columns} points have {4 * num_points} numbers, {len(values)} are there", source.size
        )
    source.require_memory(_POINT_BYTES * num_points)
    flags, *axes = values[: 4 * num_points].reshape(4, num_points)
    points = np.stack(axes, axis=1)
    valid = (flags != 0) & np.isfinite(points).all(axis=1) & (points > MISSING).all(axis=1)
    if not valid.any():
        raise source.error(f"none of the {num_points} points was seen by the scanner")
    vertices = points[valid]
    faces = grid_faces(valid.reshape(num_rows, num_columns), vertices)
    return usable_mesh(path, vertices, Triangles(faces=faces))
