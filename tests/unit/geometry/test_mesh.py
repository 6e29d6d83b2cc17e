from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_no_faces_is_a_point_cloud():
    cloud = Mesh(vertices=VERTICES)
    assert cloud.is_point_cloud
    assert (cloud.num_vertices, cloud.num_faces) == (4, 0)
    assert not Mesh(vertices=VERTICES, faces=FACES).is_point_cloud


@pytest.mark.parametrize("bad", [4, -1])
def test_a_face_cannot_name_a_vertex_that_is_not_there(bad):
    with pytest.raises(MeshError, match=f"vertex {bad}, but there are 4"):
        Mesh(vertices=VERTICES, faces=np.array([[0, 1, bad]], np.int32))


def test_sizes_must_agree():
    with pytest.raises((MeshError, TypeCheckError)):
        Mesh(vertices=VERTICES, faces=FACES, uv=np.zeros((1, 3, 2), np.float32))
    with pytest.raises((MeshError, TypeCheckError)):
        Mesh(vertices=VERTICES, faces=FACES, vertex_colors=np.zeros((3, 3), np.uint8))


def test_transformed_moves_vertices_and_landmarks_as_documented():
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    shift = np.array([10, 20, -30], np.float32)
    landmarks = {"a": np.array([1, 2, 3], np.float32), "b": np.array([-1, 0, 5], np.float32)}
    mesh = Mesh(vertices=VERTICES, faces=FACES, landmarks=landmarks)
    moved = mesh.transformed(turn, shift, 2.0)
    for before, after in zip(VERTICES, moved.vertices, strict=True):
        x, y, z = (before + shift).tolist()
        np.testing.assert_allclose(after, [-2 * y, 2 * x, 2 * z], rtol=1e-6)
    # (1, 2, 3) -> (11, 22, -27) -> (-22, 11, -27) -> doubled
    np.testing.assert_allclose(moved.landmarks["a"], [-44, 22, -54])
    np.testing.assert_allclose(moved.landmarks["b"], [-40, 18, -50])
    assert moved.vertices.dtype == np.float32
    np.testing.assert_array_equal(moved.faces, FACES)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)


def test_transformed_without_landmarks():
    moved = Mesh(vertices=VERTICES).transformed(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    np.testing.assert_array_equal(moved.vertices, VERTICES)
    assert moved.landmarks == {}
