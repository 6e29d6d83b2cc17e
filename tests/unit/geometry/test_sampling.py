"""Points over a surface: far triangles do not stretch the search."""

from __future__ import annotations

import numpy as np

from faces import height_map
from smilevlm.geometry import Mesh
from smilevlm.geometry.sampling import even_points


def test_triangles_far_away_give_no_points():
    near = height_map(lambda x, y: 0.01 * (x**2 + y**2))
    far = np.array([[30_000, 0, 0], [30_010, 0, 0], [30_000, 10, 0]], np.float32)
    mesh = Mesh(
        vertices=np.concatenate([near.vertices, far]),
        faces=np.concatenate([near.faces, [[near.num_vertices, near.num_vertices + 1, near.num_vertices + 2]]]).astype(
            np.int32
        ),
    )
    points = even_points(mesh, np.ones(mesh.num_vertices, bool), 5000)
    assert np.abs(points).max() < 200
    assert len(points) > 4800
