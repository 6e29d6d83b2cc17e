"""FRGC `.abs` range images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders import write
from builders_formats import frgc, frgc_grid
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh
from smilevlm.readers.frgc import read_abs


def read(data: bytes):
    return read_abs(data, path=Path("/nowhere/a.abs"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_range_image(tmp_path, end):
    flags, points = frgc_grid()
    mesh = read_mesh(write(tmp_path, "04201d302.ABS", frgc(end=end)))
    np.testing.assert_allclose(mesh.vertices, points[flags == 1], atol=1e-3)
    assert mesh.num_faces == 2 * 12 - 1  # the cell of the point that was not seen has one triangle
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()


def test_points_are_dropped_by_flag_or_number():
    flags, points = frgc_grid()
    points[1, 1] = -999999
    flags[2, 2] = 0
    assert read(frgc(flags, points)).num_vertices == 17


def test_a_step_of_depth_is_not_joined():
    flags, points = frgc_grid()
    points[:, 3:, 2] -= 50
    assert read(frgc(flags, points)).num_faces == 2 * 9 - 1


def test_a_single_row_is_a_cloud():
    flags, points = frgc_grid(1, 6)
    assert read(frgc(flags, points)).is_point_cloud


def test_headers_as_they_are_seen():
    data = frgc()
    for changed in (
        data.replace(b"4 rows", b"   4   rows  "),
        data.replace(b"4 rows", b"4 ROWS").replace(b"columns", b"Columns"),
        data.replace(b"(flag X Y Z):", b"(flag X Y Z):  "),
        data.replace(b"(flag X Y Z):", b" (flag X Y Z)"),
        b"\n" + data,
        data + b"\n\n",
    ):
        assert read(changed).num_vertices == 19


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.abs:1: expected the lines 'N rows', 'N columns'"),
        (b"x\n", r"a\.abs:1: expected the lines"),
        (frgc().replace(b"4 rows", b"rows"), "expected the lines"),
        (frgc().replace(b"4 rows", b"5 rows"), r":8: 5 x 5 points have 100 numbers, 80 are there"),
        (frgc().replace(b"4 rows", b"999999 rows").replace(b"5 columns", b"999999 columns"), "80 are there"),
        (frgc()[:-14], "79 are there"),
        (frgc().replace(b"-1499.500000", b"deep"), r":7: expected a number, found 'deep'"),
        (frgc(np.zeros((4, 5), int), frgc_grid()[1]), "none of the 20 points was seen by the scanner"),
    ],
)
def test_broken_files(data, message):
    with pytest.raises(MeshError, match=message):
        read(data)
