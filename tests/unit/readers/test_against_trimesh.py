"""trimesh reads the same files to the same triangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from builders import TINY, write
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, write_mesh


def same(path: Path) -> None:
    mesh = read_mesh(path)
    other = trimesh.load_mesh(path, process=False)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], other.vertices[other.faces], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off"])
def test_written_by_smilevlm(tmp_path, suffix):
    ball = trimesh.creation.icosphere(subdivisions=2)
    mesh = Mesh(vertices=ball.vertices.astype(np.float32), faces=ball.faces.astype(np.int32))
    write_mesh(mesh, tmp_path / f"a{suffix}")
    same(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("obj", {}), ("ply", {"encoding": "ascii"}), ("ply", {}), ("stl", {}), ("stl_ascii", {}), ("off", {})],
)
def test_written_by_trimesh(tmp_path, suffix, options):
    ball = trimesh.creation.icosphere(subdivisions=2)
    data = ball.export(file_type=suffix, **options)
    path = write(tmp_path, f"a.{suffix.split('_')[0]}", data)
    same(path)
    mesh = read_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (len(ball.vertices), len(ball.faces))


@pytest.mark.parametrize("name", ["binary.stl"])
def test_tiny_files(tmp_path, name):
    same(write(tmp_path, name, TINY[name]))
