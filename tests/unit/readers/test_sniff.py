"""What bytes are, whatever the suffix says."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from builders import FACES, VERTICES, image, obj, off, off_binary, ply_binary, ply_text, stl_binary, stl_text, vrml, xyz
from smilevlm.errors import MeshError
from smilevlm.readers import parse_mesh
from smilevlm.readers.file_kinds import sniff

FORMATS = {
    ".obj": obj(), ".ply": ply_text(), ".off": off(), ".stl": stl_text(), ".wrl": vrml(),
}  # fmt: skip
BINARY = {".ply": ply_binary(big=True), ".stl": stl_binary(), ".off": off_binary()}


@pytest.mark.parametrize("named", [*FORMATS, ".xyz", ".txt", ".csv", ".pts"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_under_every_suffix(kind, named):
    mesh = parse_mesh(FORMATS[kind], Path(f"/nowhere/scan{named}"))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], VERTICES[FACES])
    assert mesh.remarks == (() if kind == named else (f"its bytes are those of a {kind} file; read so",))


@pytest.mark.parametrize("named", [*FORMATS, ".xyz", ".txt", ".bnt"])
@pytest.mark.parametrize("kind", BINARY)
def test_binary_formats_under_every_suffix(kind, named):
    mesh = parse_mesh(BINARY[kind], Path(f"/nowhere/scan{named}"))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], VERTICES[FACES])


@pytest.mark.parametrize("named", [".obj", ".ply", ".stl", ".wrl", ".OBJ"])
def test_lines_of_numbers_under_the_suffix_of_a_mesh(named):
    mesh = parse_mesh(xyz(), Path(f"/nowhere/scan{named}"))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.remarks == ("its bytes are those of a .xyz file; read so",)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.obj", obj())
    return file.getvalue()


@pytest.mark.parametrize("named", [".obj", ".ply", ".wrl", ".stl", ".xyz", ".off", ".bnt"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\n <html lang='de'>", "a web page"),
        (b"<!-- saved --><!DOCTYPE HTML PUBLIC '-//W3C'><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "git lfs pull"),
        (bytes(3000), "zero bytes alone"),
        (archive(), "a zip archive named"),
        (b"%PDF-1.7\n", "pdf"),
        (image(), "an image"),
        (image("JPEG"), "an image"),
        (b"Kaydara FBX Binary  \0\x1a\0", "export the mesh"),
        (b"BLENDER-v279", "export the mesh"),
        (b"7z\xbc\xaf\x27\x1c\0", "an archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_mesh_is_said(data, message, named):
    with pytest.raises(MeshError, match=message):
        parse_mesh(data, Path(f"/nowhere/scan{named}"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "zeros"),
        (b"solid but binary".ljust(80) + struct.pack("<I", 1) + bytes(50), ".stl"),
        (b"solid name\nno more\n", None),
        (b"ply is a word\n", None),
        (b"PLY\r\nFORMAT ascii 1.0\r\n", ".ply"),
        (b"\n\nply\ncomment \xff\x00\nformat ascii 1.0\n", None),
        (b"off\n5 3 0\n", ".off"),
        (b"OFF5 3 0\n", ".off"),
        (b"# c\n\n#d\nSTNCOFF # e\n", ".off"),
        (b"offset 5\n", None),
        (b"# a\no name\ng x\nV 1 2 3\n", ".obj"),
        (b"mtllib a.mtl\nvn 0 0 1\n", ".obj"),
        (b"volume 3\n", None),
        (b"1 2 3\n4 5 6\n7 8 9\n", None),
        (b"1,2,3\n4,5,6\n7,8,9\n1,1,1\n", ".xyz"),
        (b"# c\n" + b"1 2 3 4\r\n" * 4, ".xyz"),
        (b"1 2\n" * 9, None),
        (b"\xff\xfe\x00\x01" * 50, None),
        (b"BMI report\n", None),
    ],
)
def test_kinds(data, kind):
    assert sniff(data) == kind


@pytest.mark.parametrize(
    "unit",
    [b" ", b"#", b"# ", b"#\n", b"# \n", b"<!--", b"<!-- -", b"<?xml ", b"solid facet ", b"ply\nform", b"STC", b"C",
    b"1 ",
     b"1 2 3\n4 ", b"-", b"v", b"g \n", b'{"asset"', b"VERSION 1 ", b"\n", b"mtllib a\n"],
)  # fmt: skip
def test_repeated_beginnings_of_patterns_find_nothing_and_end(unit):
    """A pattern with two ways to match the same bytes would never end on one of these."""
    for data in (unit * 4000, unit * 50 + b"!", b"\n" + unit * 300 + b"x"):
        assert sniff(data) in (None, ".stl", ".gltf", ".xyz")
