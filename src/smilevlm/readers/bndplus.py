"""BP4D+ `.bndplus`: landmarks of a frame, one `x,y,z` per line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import LandmarkError
from smilevlm.readers._label_text import coordinates, landmark_lines


def read_bndplus(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, " 3"]]:
    """Read a `.bndplus` file of any number of points, as `bndplus_01`, `bndplus_02`, ... in the order of the file.

    Raises:
        LandmarkError: The file is missing, holds no point, or a row is broken, at `path:line`.
    """
    path = Path(path)
    points = [
        coordinates(path, number, [field.strip() for field in line.split(",")], "x y z")
        for number, line in enumerate(landmark_lines(path), 1)
        if line.strip()
    ]
    if not points:
        raise LandmarkError("no landmarks, expected lines 'x,y,z'", path=path)
    return {f"bndplus_{row:02d}": np.array(point, np.float32) for row, point in enumerate(points, 1)}
