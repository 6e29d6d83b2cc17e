"""Point clouds as lines of numbers: .xyz, .txt, .pts, .csv."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers.elements import usable_mesh

HEADER = re.compile(rb"(?:\xef\xbb\xbf)?[ \t]*[\"'A-Za-z][^\r\n]*(?:\r\n|\r|\n)")
HEADER_NAMES = re.compile(rb"[\"']?(?:[xX]|X_|x_|pos|Pos|POS|point|Point|id|index|vert)")


def read_point_cloud(data: bytes, *, path: Path) -> Mesh:
    """Read three or more columns of numbers: x y z, then what is left out.

    Blanks, commas and semicolons separate; `#` and `//` start comments; a first line of column names and a first line
    that holds only the number of points are accepted. Exactly six columns, the last three whole numbers within
    0..255, are x y z r g b.

    Args:
        data: The whole file.
        path: Where it came from, for messages.

    Raises:
        MeshError: At `path:line`.
    """
    source = Source(data, path)
    head = HEADER.match(data[:4096])
    start = 0
    if head and HEADER_NAMES.match(head.group().removeprefix(b"\xef\xbb\xbf").lstrip()):
        start = head.end()
    elif data.startswith(b"\xef\xbb\xbf"):
        start = 3
    table = source.table(start, source.size)
    first = int(table.num_rows > 1 and table.widths[0] == 1 and table.values[0] == table.num_rows - 1)
    if table.num_rows == first:
        raise source.error("no points, expected lines of 'x y z'")
    widths = table.widths[first:]
    wrong = (widths < 3) | (widths != widths[0])
    if wrong.any():
        row = int(wrong.argmax())
        expected = f"{widths[0]} as before" if widths[0] >= 3 else "three or more"
        error = source.text_error(f"{widths[row]} numbers in a line, expected {expected}", 0)
        error.line = source.row_line(table, first + row)
        raise error
    rows = table.values[table.row_starts[first] :].reshape(len(widths), -1)
    colors = None
    if rows.shape[1] == 6:
        raw = rows[:, 3:]
        if (raw == np.floor(raw)).all() and raw.min() >= 0 and raw.max() <= 255:
            colors = raw.astype(np.uint8)
    return usable_mesh(path, rows[:, :3], vertex_colors=colors)
