"""One frame of a recording with its landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from builders import bnd, write
from smilevlm.store import read_frame
from smilevlm.store.records import FrameFile

CORNERS = np.array([[0, 0, 0], [200, 0, 1], [0, 200, 2], [200, 200, 3]])
FACES = "f 1 2 3\nf 2 4 3\n"


@pytest.mark.parametrize("offset", [[0, 0, 0], [1e6, 0, 0], [400_000, 600_000, -8_000]])
def test_landmarks_follow_the_origin(tmp_path, offset):
    rows = "".join("v {} {} {}\n".format(*row) for row in (CORNERS + offset).tolist())
    scan = write(tmp_path, "a.obj", rows + FACES)
    points = [[float(value) for value in line.split()[1:]] for line in bnd().splitlines() if line]
    lines = "".join("{} {} {} {}\n".format(row, *(point + np.array(offset))) for row, point in enumerate(points))
    loaded = read_frame(FrameFile(path=scan, landmark_path=write(tmp_path, "a.bnd", lines)), load_landmarks=True)
    np.testing.assert_array_equal(loaded.mesh.vertices + np.array(loaded.mesh.origin), CORNERS + offset)
    assert any(loaded.mesh.origin) == any(offset)
    for point, found in zip(points, loaded.mesh.landmarks.values(), strict=True):
        np.testing.assert_allclose(found + np.array(loaded.mesh.origin), np.array(point) + offset, atol=0.1)
        assert found.dtype == np.float32
