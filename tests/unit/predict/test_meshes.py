"""Scans as other libraries hold them; wrong ones get one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from smilevlm.datasets import index_data_set
from smilevlm.errors import MeshError, PromptError, SettingsError
from smilevlm.geometry import Mesh
from smilevlm.predict import Model, load
from smilevlm.predict.meshes import as_mesh, is_mesh_like
from smilevlm.readers import read_mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
FLAT = np.array([3, 0, 1, 2, 3, 0, 2, 3])


@dataclass
class Trimesh:
    vertices: np.ndarray
    faces: np.ndarray


@dataclass
class Open3d:
    vertices: list
    triangles: list


@dataclass
class PyVista:
    points: np.ndarray
    faces: np.ndarray


SURFACES = {
    "mesh": Mesh(vertices=VERTICES, faces=FACES),
    "pair": (VERTICES, FACES),
    "pair of lists": (VERTICES.tolist(), FACES.tolist()),
    "float64 and int64": Trimesh(VERTICES.astype(np.float64), FACES.astype(np.int64)),
    "quads": Trimesh(VERTICES, np.array([[0, 1, 2, 3]])),
    "triangles": Open3d(VERTICES.tolist(), FACES.tolist()),
    "sized faces": PyVista(VERTICES, FLAT),
    "other byte order": (VERTICES.astype(">f4"), FACES.astype(">i4")),
    "by columns": (np.asfortranarray(VERTICES), np.asfortranarray(FACES)),
}


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces(name):
    assert is_mesh_like(SURFACES[name])
    mesh = as_mesh(SURFACES[name])
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.vertices.flags.c_contiguous
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("scan", [VERTICES, (VERTICES, None), Trimesh(VERTICES, np.zeros((0, 3), np.int64))])
def test_point_clouds(scan):
    assert as_mesh(scan).is_point_cloud


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (5, "a int is no scan"),
        (None, "a NoneType is no scan"),
        ({"vertices": VERTICES}, "a dict is no scan"),
        (VERTICES.astype(str), "no array of numbers"),
        (VERTICES > 0, "no array of numbers"),
        (VERTICES[:, :2], r"shape \(4, 2\), expected \(n, 3\)"),
        (np.ones((4, 4)), r"shape \(4, 4\), expected \(n, 3\)"),
        (([[1, 2, 3], [4, 5]], None), "no array of numbers"),
        ((VERTICES, FACES + 0.5), "not whole"),
        ((VERTICES, FACES + 9), "names vertex 12, but there are 4"),
        ((VERTICES, -FACES), "names vertex -3, but there are 4"),
        ((VERTICES, np.array([3, 0, 1])), "face 0 has 3 corners"),
        ((VERTICES, np.ones((2, 5), int)), r"\(n, 3\) triangles or \(n, 4\) quads"),
    ],
)
def test_what_is_no_scan_gets_one_sentence(scan, message):
    with pytest.raises(MeshError, match=message):
        as_mesh(scan)


@pytest.mark.parametrize("scan", ["a.ply", Path("a.ply"), ["a.ply"], ("a.ply", "b.ply"), b"a.ply", {}, 5, None])
def test_paths_and_lists_are_no_meshes(scan):
    assert not is_mesh_like(scan)


@pytest.fixture(scope="module")
def model(trained_run) -> Model:
    return load(trained_run)


@pytest.fixture(scope="module")
def scan(synthetic_faces) -> Path:
    return next(r.path for r in index_data_set("bu3dfe", synthetic_faces).recordings if "_HA" in r.path.name)


def test_predict_takes_them_and_answers_as_for_the_file(model, scan):
    mesh = read_mesh(scan, load_texture=False)
    bare = Mesh(vertices=mesh.vertices, faces=mesh.faces)
    expected = model.predict(scan).probabilities
    pair = (mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64))
    for given in (pair, Trimesh(*pair), Open3d(mesh.vertices.tolist(), mesh.faces.tolist())):
        assert model.predict(given).probabilities == expected
    for answer in model.predict([pair, scan]):  # a batch of two differs in the last bits
        assert answer.probabilities == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(model.embed([pair]), model.embed([bare]))


def test_map_coordinates_change_nothing(model, scan):
    mesh = read_mesh(scan, load_texture=False)
    answer = model.predict((mesh.vertices.astype(np.float64) + [5_600_000, 400_000, 120], mesh.faces))
    for name, share in model.predict(mesh).probabilities.items():
        assert answer.probabilities[name] == pytest.approx(share, abs=1e-3)
    assert any("relative to" in remark for remark in answer.remarks)


@pytest.mark.parametrize("many", ["a.ply", Path("a.ply"), VERTICES, (VERTICES, FACES), 5])
def test_one_scan_is_not_taken_for_many(model, many):
    with pytest.raises(SettingsError, match="one scan where many are expected"):
        model.predict_each(many)
    with pytest.raises(SettingsError, match="one scan where many are expected"):
        model.embed(many)


def test_other_misuse_gets_one_sentence(model):
    with pytest.raises(SettingsError, match="jobs is 0"):
        model.predict_each(["a.ply"], jobs=0)
    with pytest.raises(PromptError, match="prompts are a list"):
        model.predict(VERTICES, prompts=["pain"])
    with pytest.raises(PromptError, match="needs a list"):
        model.predict(VERTICES, prompts={"pain": [1]})
    with pytest.raises(SettingsError, match="up is 1"):
        model.predict(VERTICES, up=1, front=2)
    (error,) = model.predict_each([None])
    assert isinstance(error, MeshError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vertex_colors": [[0, 0, 300]] * 4}, "from 0 to 255"),
        ({"vertex_colors": [[0, 0, 0]]}, "1 vertex colours for 4"),
        ({"texture": "face.png"}, "no array of numbers"),
        ({"texture": np.zeros((4, 4))}, r"expected \(n, n, 3\)"),
        ({"faces": FACES, "uv": np.zeros((2, 2))}, r"expected \(n, 3, 2\)"),
        ({"faces": [[0, 1, 2, 3]], "uv": np.zeros((1, 3, 2))}, "corners of triangles"),
    ],
)
def test_attributes_of_a_mesh_are_checked(arguments, message):
    with pytest.raises(MeshError, match=message):
        Mesh(vertices=VERTICES, **arguments)
