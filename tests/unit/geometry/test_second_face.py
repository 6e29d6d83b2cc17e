"""A second face in a scan, and a face that is barely one."""

from __future__ import annotations

import numpy as np
import pytest

from faces import moved, rotation
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.geometry.clean import keep_points
from smilevlm.geometry.normalise import MIN_RELIABLE_CONFIDENCE, MIN_RELIABLE_COVERAGE
from smilevlm.geometry.second_face import direction_in_words
from smilevlm.readers import read_mesh

SETTINGS = NormaliseSettings()


@pytest.fixture(scope="module")
def faces(synthetic_faces) -> list[Mesh]:
    paths = sorted(synthetic_faces.glob("F*/*_NE00*_F3D.wrl"))
    return [normalise(read_mesh(path, load_texture=False), SETTINGS).mesh for path in paths[:2]]


def joined(first: Mesh, second: Mesh) -> Mesh:
    return Mesh(
        vertices=np.concatenate([first.vertices, second.vertices]),
        faces=np.concatenate([first.faces, second.faces + first.num_vertices]),
    )


def remarks_on_others(mesh: Mesh) -> list[str]:
    return [remark for remark in normalise(mesh, SETTINGS).remarks if "another face" in remark]


@pytest.mark.parametrize("offset", [(230.0, 0.0, 0.0), (-260.0, 40.0, 30.0), (0.0, 300.0, 0.0), (210.0, -60.0, -90.0)])
def test_a_second_face_is_said_with_its_place(faces, offset):
    both = joined(faces[0], moved(faces[-1], offset=offset))
    (remark,) = remarks_on_others(both)
    assert f"{max(map(abs, offset)):.0f}"[:2] in remark


def test_one_that_looks_elsewhere_by_little_is_found_too(faces):
    both = joined(faces[0], moved(faces[-1], rotation(yaw=15, roll=8), (250, 0, 0)))
    assert len(remarks_on_others(both)) == 1


def test_in_a_point_cloud_too(faces):
    both = joined(faces[0], moved(faces[-1], offset=(240, 0, 0)))
    assert len(remarks_on_others(Mesh(vertices=both.vertices))) == 1


def test_one_face_is_one(faces, synthetic_faces):
    for mesh in faces:
        assert remarks_on_others(mesh) == []
    for path in sorted(synthetic_faces.glob("*/*_RAW.wrl"))[:4]:
        assert remarks_on_others(read_mesh(path, load_texture=False)) == []


def test_a_wall_beside_a_face_is_no_face(faces):
    y, z = np.meshgrid(np.linspace(-150, 150, 60), np.linspace(-150, 50, 60))
    wall = np.stack([np.full(y.size, 220.0), y.ravel(), z.ravel()], axis=1).astype(np.float32)
    with_wall = Mesh(vertices=np.concatenate([faces[0].vertices, wall]))
    assert remarks_on_others(with_wall) == []


def test_directions_are_the_viewer_s():
    assert direction_in_words(np.array([190.0, 10, 0])) == "190 mm to the right"
    assert direction_in_words(np.array([-190.0, 10, 0])) == "190 mm to the left"
    assert direction_in_words(np.array([1.0, -200, 0])) == "200 mm below"
    assert direction_in_words(np.array([1.0, 20, -300])) == "300 mm behind"


def test_a_whole_face_is_found_without_doubt(faces):
    face = normalise(faces[0], SETTINGS)
    assert not face.is_barely_found
    assert face.remarks == ()


@pytest.mark.parametrize(("axis", "highest"), [(0, 3.0), (1, 25.0), (1, 10.0)])
def test_part_of_a_face_is_barely_found_and_said_so(faces, axis, highest):
    part = keep_points(faces[0], faces[0].vertices[:, axis] < highest)
    face = normalise(part, NormaliseSettings(min_fit_share=0.1, min_relief_match=0.1), search_pose=False)
    assert face.is_barely_found
    assert face.confidence < MIN_RELIABLE_CONFIDENCE or face.fit_share < MIN_RELIABLE_COVERAGE
    assert any("barely found" in remark or "of the face" in remark for remark in face.remarks)
