"""USD, where its library is installed; and what is said where it is not."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest

from builders import FACES, POLYGONS, VERTICES, write
from builders_formats import usd_mesh, usda
from processes import run_python
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh, usd

needs_usd = pytest.mark.skipif(importlib.util.find_spec("pxr") is None, reason="usd-core is not installed")
MOVE = '    double3 xformOp:translate = (1, 2, 3)\n    uniform token[] xformOpOrder = ["xformOp:translate"]\n'


def under(body: str, *, head: str = MOVE) -> str:
    return f'def Xform "root"\n{{\n{head}\n{body}\n}}'


@pytest.mark.parametrize("suffix", [".usdz", ".usda", ".usdc", ".usd"])
def test_without_the_library_the_way_out_is_said(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(usd, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"pip install 'smilevlm\[usd\]'; or export it as \.glb, \.ply or \.obj"):
        read_mesh(write(tmp_path, f"a{suffix}", usda()))


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("import sys; print('noise'); print('it shows nothing'); sys.exit(3)", "it shows nothing$"),
        ("import os; os.abort()", "the USD library failed on it"),
        ("pass", "the USD library failed on it"),
        ("import time; time.sleep(60)", "did not read it within"),
    ],
)
def test_whatever_happens_to_the_library_is_one_sentence(tmp_path, monkeypatch, outcome, message):
    program = write(tmp_path, "worker.py", outcome)
    monkeypatch.setattr(usd, "find_spec", lambda name: object())
    monkeypatch.setattr(usd._usd_worker, "__file__", str(program))
    if "sleep" in outcome:
        monkeypatch.setattr(usd, "SECONDS", 0.5)
    with pytest.raises(MeshError, match=message):
        usd.read_usd(usda(), path=tmp_path / "a.usda")


@needs_usd
def test_text(tmp_path):
    mesh = read_mesh(write(tmp_path, "A.USDA", usda()))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


@needs_usd
def test_binary_and_packages(tmp_path):
    write(tmp_path, "a.usda", usda())
    code = (
        "from pxr import Sdf, UsdUtils; Sdf.Layer.FindOrOpen('a.usda').Export('a.usdc'); "
        "UsdUtils.CreateNewUsdzPackage('a.usdc', 'a.usdz')"
    )
    run_python("-c", code, cwd=tmp_path)
    (tmp_path / "b.usd").write_bytes((tmp_path / "a.usdc").read_bytes())
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(tmp_path / "a.usdz", "scan/a.usdz")
    for name in ("a.usdc", "a.usdz", "b.usd", "c.zip/scan/a.usdz"):
        np.testing.assert_array_equal(read_mesh(tmp_path / name).vertices, VERTICES)


@needs_usd
@pytest.mark.parametrize(
    ("body", "expected", "faces"),
    [
        (under(usd_mesh()), VERTICES + [1, 2, 3], FACES),
        (under(usd_mesh(extra=MOVE)), VERTICES + [2, 4, 6], FACES),
        (usd_mesh(extra='uniform token orientation = "leftHanded"'), VERTICES, None),
        (usd_mesh() + "\n" + usd_mesh("other", points=VERTICES + 20), np.vstack([VERTICES, VERTICES + 20]),
         np.vstack([FACES, FACES + 5])),
        (usd_mesh() + "\n" + usd_mesh("hidden", extra='token visibility = "invisible"'), VERTICES, FACES),
        (usd_mesh() + "\n" + usd_mesh("helper", extra='uniform token purpose = "guide"'), VERTICES, FACES),
        (usd_mesh(polygons=((0, 1, 2), (0, 2, 3), (0, 1, 4), (2, 3, 4))), VERTICES, FACES),
    ],
)  # fmt: skip
def test_scenes(tmp_path, body, expected, faces):
    mesh = read_mesh(write(tmp_path, "a.usda", usda(body=body)))
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-5)
    if faces is not None:
        np.testing.assert_array_equal(mesh.faces, faces)
        return
    corners, turned = mesh.vertices[mesh.faces], VERTICES[FACES]
    assert (np.cross(corners[0, 1] - corners[0, 0], corners[0, 2] - corners[0, 0])[2] > 0) != (
        np.cross(turned[0, 1] - turned[0, 0], turned[0, 2] - turned[0, 0])[2] > 0
    )


@needs_usd
def test_points_alone(tmp_path):
    body = 'def Points "cloud"\n{\n    point3f[] points = [(0, 0, 1), (1, 2, 3), (4, 5, 6)]\n}'
    assert read_mesh(write(tmp_path, "a.usda", usda(body=body))).is_point_cloud
    assert read_mesh(write(tmp_path, "b.usda", usda(body=body + "\n" + usd_mesh()))).num_faces == 4


@needs_usd
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"#usda 1.0\n(", "the USD library cannot open it; the file is damaged or no USD"),
        (b"hello", "no USD file: it begins neither as"),
        (b"PXR-USDC" + bytes(80), "the USD library cannot open it"),
        (usda(body='def Xform "nothing"\n{\n}'), "it shows neither a mesh nor points"),
        (usda(body=usd_mesh(polygons=((0, 1, 9), (2, 3, 77)))), "more faces than a few name points that are not there"),
    ],
)
def test_broken_files(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(write(tmp_path, "a.usda", data))


@needs_usd
def test_other_files_are_not_opened(tmp_path):
    write(tmp_path, "secret.usda", usda())
    body = f'def "a" (\n    references = @{tmp_path}/secret.usda@</face>\n)\n{{\n}}'
    with pytest.raises(MeshError, match=r"it refers to other files; export it as one \.usdz"):
        read_mesh(write(tmp_path, "a.usda", usda(body=body)))


def test_the_builder_writes_what_the_test_says():
    assert len(POLYGONS) == 3
    assert b"faceVertexCounts = [4, 3, 3]" in usda()
    assert Path(usd._usd_worker.__file__).name == "_usd_worker.py"
