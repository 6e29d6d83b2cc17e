"""Formats through the whole way in: decoded, sniffed, then read, under the names that people give them."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from builders import COLORS, FACES, VERTICES, write, xyz
from builders_formats import FORMATS, frgc, npy, npz, usda
from builders_gltf import Gltf, glb
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh, usd
from smilevlm.readers.tables import holds_coordinates


@pytest.mark.parametrize("suffix", [".asc", ".xyzn", ".xyzrgb", ".dat", ".ASC"])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("", ""),
        ("", " 0.1 0.2 0.97"),
        ("//X Y Z Nx Ny Nz\n", " 0.1 0.2 0.97"),
        ("//X Y Z\n5\n", ""),
        ("# exported\r\n", ""),
        ("x y z\n", ""),
    ],
)
def test_point_clouds_of_scanners(tmp_path, suffix, head, tail):
    text = head + xyz().decode().replace("\n", tail + "\n")
    mesh = read_mesh(write(tmp_path, "a" + suffix, text))
    assert mesh.is_point_cloud
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.vertex_colors is None


@pytest.mark.parametrize("suffix", [".asc", ".xyzrgb", ".dat"])
@pytest.mark.parametrize("head", ["", "//X Y Z R G B\n", "//X Y Z R G B\n5\n"])
def test_point_clouds_with_colours(tmp_path, suffix, head):
    rows = [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(VERTICES, COLORS, strict=True)]
    mesh = read_mesh(write(tmp_path, "a" + suffix, head + "\n".join(rows) + "\n"))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_packed_by_gzip(tmp_path, name):
    mesh = read_mesh(write(tmp_path, name, FORMATS[name]))
    packed = read_mesh(write(tmp_path, name + ".gz", gzip.compress(FORMATS[name])))
    np.testing.assert_array_equal(packed.vertices, mesh.vertices)
    np.testing.assert_array_equal(packed.faces, mesh.faces)


@pytest.mark.parametrize("name", ["a.glb", "a.gltf", "a.npy", "text.pcd", "binary.pcd"])
def test_under_a_wrong_suffix(tmp_path, name):
    mesh = read_mesh(write(tmp_path, name, FORMATS[name]))
    other = read_mesh(write(tmp_path, "wrong.obj", FORMATS[name]))
    np.testing.assert_array_equal(other.vertices, mesh.vertices)
    assert len(other.remarks) == 1


def test_zip_archives_by_their_bytes_that_are_formats(tmp_path, monkeypatch):
    np.testing.assert_array_equal(read_mesh(write(tmp_path, "a.npz", npz())).faces, FACES)
    monkeypatch.setattr(usd, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"smilevlm\[usd\]"):
        read_mesh(write(tmp_path, "a.usdz", npz()))
    with pytest.raises(MeshError, match=r"smilevlm\[usd\]"):
        read_mesh(write(tmp_path, "a.obj", usda()))


def test_commas_of_json_are_no_decimal_commas(tmp_path):
    file = Gltf()
    file.shown(file.little())
    file.document["extras"] = [[100, 250]] * 300
    text = json.dumps({"extras": file.document.pop("extras"), **json.loads(file.gltf())}, separators=(",", ":"))
    np.testing.assert_array_equal(read_mesh(write(tmp_path, "a.gltf", text)).vertices, VERTICES)


def test_a_range_image_named_as_its_owner_does(tmp_path):
    mesh = read_mesh(write(tmp_path, "04201d302.abs.gz", gzip.compress(frgc())))
    assert mesh.num_faces == 23


def test_a_text_table_does_not_hide_a_mesh(tmp_path):
    from smilevlm.predict import find_scans

    write(tmp_path, "face.glb", glb())
    for name in ("labels.npy", "points.npz", "table.dat"):
        write(tmp_path, name, b"x")
    assert [scan.path.name for scan in find_scans(tmp_path)] == ["face.glb"]


@pytest.mark.parametrize(
    ("name", "data", "is_scan"),
    [
        ("a.npz", npz(), True),
        ("a.npz", npz(pose=VERTICES, betas=VERTICES), False),
        ("a.npy", npy(), True),
        ("a.npy", npy(VERTICES.T), True),
        ("a.npy", npy(VERTICES[:, :2]), False),
        ("a.npy", npy(VERTICES.ravel()), False),
        ("a.npz", npz()[:-20], True),
        ("a.npy", b"x", True),
    ],
)
def test_arrays_without_points_are_no_scans(tmp_path, name, data, is_scan):
    """Damaged ones count as scans: their reader says what is wrong."""
    assert holds_coordinates(write(tmp_path, name, data)) == is_scan
