from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import csgraph

from faces import as_points, height_map
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.geometry.clean import (
    component_labels,
    drop_spikes,
    keep_faces,
    keep_points,
    near_bulk,
    without_scraps,
)

SPIKES = {"max_edge_ratio": 12.0, "min_edge": 12.0}
SCRAPS = {"min_share": 0.02, "near": 12.0}


def plate() -> Mesh:
    mesh = height_map(lambda x, y: 0.1 * x, half=30, step=3)
    colors = np.arange(mesh.num_vertices * 3).reshape(-1, 3).astype(np.uint8)
    uv = mesh.vertices[mesh.faces][:, :, :2].copy()
    return replace(mesh, vertex_colors=colors, uv=uv, landmarks={"a": np.ones(3, np.float32)})


def add(mesh: Mesh, vertices: np.ndarray, faces: list[tuple[int, int, int]]) -> Mesh:
    return Mesh(
        vertices=np.concatenate([mesh.vertices, vertices]).astype(np.float32),
        faces=np.concatenate([mesh.faces, np.array(faces, np.int32) + mesh.num_vertices]),
    )


def test_keep_faces_renumbers_everything_that_hangs_on_a_face_or_vertex():
    mesh = plate()
    keep = np.zeros(mesh.num_faces, bool)
    keep[[5, 100]] = True
    part = keep_faces(mesh, keep)
    assert part.num_faces == 2
    np.testing.assert_array_equal(part.vertices[part.faces], mesh.vertices[mesh.faces[keep]])
    np.testing.assert_array_equal(part.vertex_colors[part.faces], mesh.vertex_colors[mesh.faces[keep]])
    np.testing.assert_array_equal(part.uv, mesh.uv[keep])
    assert part.num_vertices == len(np.unique(mesh.faces[keep]))
    np.testing.assert_array_equal(part.landmarks["a"], np.ones(3))


def test_keep_points_drops_every_face_that_used_one():
    mesh = plate()
    keep = np.ones(mesh.num_vertices, bool)
    keep[220] = False
    part = keep_points(mesh, keep)
    assert part.num_faces == mesh.num_faces - int((mesh.faces == 220).any(axis=1).sum())
    assert not (part.vertices == mesh.vertices[220]).all(axis=1).any()
    cloud = keep_points(replace(as_points(mesh), vertex_colors=mesh.vertex_colors), keep)
    assert cloud.num_vertices == mesh.num_vertices - 1
    np.testing.assert_array_equal(cloud.vertex_colors, mesh.vertex_colors[keep])


def test_a_large_mesh_is_cut_as_numpy_cuts_it():
    mesh = height_map(lambda x, y: 0.1 * x, half=100, step=0.8)  # large enough for memory on large pages
    mesh = replace(mesh, uv=mesh.vertices[mesh.faces][:, :, :2].copy())
    keep = np.random.default_rng(9).random(mesh.num_faces) < 0.9
    part = keep_faces(mesh, keep)
    np.testing.assert_array_equal(part.vertices[part.faces], mesh.vertices[mesh.faces[keep]])
    np.testing.assert_array_equal(part.uv, mesh.uv[keep])
    assert part.vertices.flags.c_contiguous


def test_spikes_are_removed_and_counted():
    mesh = plate()
    vertices = mesh.vertices.copy()
    vertices[220, 2] = 400.0
    spiked = replace(mesh, vertices=vertices)
    clean, count = drop_spikes(spiked, **SPIKES)
    assert count == int((mesh.faces == 220).any(axis=1).sum())
    assert clean.num_faces == mesh.num_faces - count
    assert clean.vertices[:, 2].max() < 4


def test_a_clean_mesh_and_a_cloud_come_back_as_they_are():
    mesh = plate()
    assert drop_spikes(mesh, **SPIKES) == (mesh, 0)
    assert without_scraps(mesh, **SCRAPS)[0].all()
    cloud = as_points(mesh)
    assert drop_spikes(cloud, **SPIKES) == (cloud, 0)
    assert without_scraps(cloud, **SCRAPS)[0].all()


def test_short_edges_are_never_spikes():
    """A fine mesh with a coarse region: the ratio alone would remove it."""
    fine = height_map(lambda x, y: 0 * x, half=5, step=0.25)
    coarse = add(fine, np.array([[20, 0, 0], [30, 0, 0], [20, 6, 0]]), [(0, 1, 2)])
    assert drop_spikes(coarse, max_edge_ratio=12.0, min_edge=12.0)[1] == 0
    assert drop_spikes(coarse, max_edge_ratio=12.0, min_edge=1.0)[1] == 1


def test_a_mesh_of_nothing_but_broken_faces_is_refused():
    vertices = np.array([[0, 0, 0], [np.nan, 0, 0], [0, 1, 0]], np.float32)
    mesh = Mesh(vertices=vertices, faces=np.array([[0, 1, 2]], np.int32))
    with pytest.raises(MeshError, match="degenerate or infinite edge"):
        drop_spikes(mesh, **SPIKES)


def test_components_are_numbered_per_vertex():
    labels = component_labels(np.array([[0, 1, 2], [2, 3, 4], [6, 7, 8]], np.int32), 9)
    assert len({*labels[:5]}) == 1
    assert len({*labels[6:]}) == 1
    assert len({labels[0], labels[5], labels[6]}) == 3


def test_floating_scraps_go_and_eyeballs_stay():
    triangle = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0]], np.float32)
    mesh = plate()
    both = add(add(mesh, triangle + (0, 0, 80), [(0, 1, 2)]), triangle + (0, 0, -5), [(0, 1, 2)])
    stays, count = without_scraps(both, **SCRAPS)
    clean = keep_points(both, stays)
    assert count == 1
    assert clean.num_faces == mesh.num_faces + 1
    assert clean.vertices[:, 2].max() < 10
    assert clean.vertices[:, 2].min() == -5


def split_vertices(mesh: Mesh) -> Mesh:
    """The same surface; every triangle has vertices of its own."""
    return Mesh(vertices=mesh.vertices[mesh.faces].reshape(-1, 3), faces=np.arange(3 * mesh.num_faces).reshape(-1, 3))


def test_triangles_with_vertices_of_their_own_are_no_scraps():
    """Beside a component that shares its vertices, each alone would be one."""
    skin, eyeball = split_vertices(plate()), height_map(lambda x, y: 0 * x, half=5, step=0.5)
    triangle = np.array([[0, 0, 80], [2, 0, 80], [0, 2, 80]], np.float32)
    both = Mesh(
        vertices=np.concatenate([skin.vertices, eyeball.vertices, triangle]),
        faces=np.concatenate(
            [skin.faces, eyeball.faces + skin.num_vertices, [np.arange(3) + skin.num_vertices + eyeball.num_vertices]]
        ),
    )
    stays, count = without_scraps(both, **SCRAPS)
    assert count == 1
    assert stays[:-3].all()
    assert not stays[-3:].any()


def test_scraps_are_those_found_one_by_one():
    """The loop over components and vertices that the tables replace."""
    rng = np.random.default_rng(3)
    mesh = plate()
    corner = rng.uniform(-60, 60, (60, 1, 3)) * (1, 1, 0.5)
    pieces = (corner + rng.normal(0, 3, (60, 3, 3))).astype(np.float32)
    both = mesh
    for piece in pieces:
        both = add(both, piece, [(0, 1, 2)])
    middle = mesh.vertices.mean(axis=0)
    expected = [True] * mesh.num_vertices
    for piece in pieces:
        distance = ((piece - middle) ** 2).sum(axis=1)
        places = (piece.mean(axis=0), piece[distance.argmin()], piece[distance.argmax()])
        near = any(np.linalg.norm(mesh.vertices - place, axis=1).min() <= 12.0 for place in places)
        expected += [near] * 3
    stays, count = without_scraps(both, **SCRAPS)
    assert stays.tolist() == expected
    assert 3 * count == expected.count(False)
    assert 0 < count < 60


def test_a_large_second_component_stays_wherever_it_is():
    mesh = plate()
    far = mesh.vertices + np.array([0, 0, 500], np.float32)
    both = Mesh(
        vertices=np.concatenate([mesh.vertices, far]),
        faces=np.concatenate([mesh.faces, mesh.faces + mesh.num_vertices]),
    )
    stays, count = without_scraps(both, **SCRAPS)
    assert stays.all()
    assert count == 0


def test_stray_points_of_a_cloud():
    points = plate().vertices
    strays = np.array([[900, 0, 0], [0, -900, 0], [0, 0, 900]], np.float32)
    keep = near_bulk(np.concatenate([points, strays]))
    assert keep[: len(points)].all()
    assert not keep[len(points) :].any()


def test_components_are_those_of_scipy():
    rng = np.random.default_rng(8)
    faces = rng.integers(0, 400, (150, 3)).astype(np.int32)
    rows, columns = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    links = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(400, 400))
    np.testing.assert_array_equal(component_labels(faces, 400), csgraph.connected_components(links, directed=False)[1])


@pytest.mark.parametrize("medians", [11.9, 12.1, 200.0])
def test_a_spike_is_longer_than_so_many_medians(medians):
    mesh = height_map(lambda x, y: 0 * x, half=5, step=1)  # the longest edge of each face is a diagonal
    far = 20 + medians * np.sqrt(2)
    long = add(mesh, np.array([[20, 0, 0], [far, 0, 0], [20, 0.5, 0]]), [(0, 1, 2)])
    assert drop_spikes(long, max_edge_ratio=12.0, min_edge=2.0)[1] == int(medians > 12)
