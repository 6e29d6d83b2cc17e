"""Whatever the bytes, a reader ends in a mesh or in a MeshError that names the file."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import TINY, obj, vrml, vrml1, write, x3d
from builders_formats import FORMATS
from mutation import mutated
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import parse_mesh, read_mesh
from smilevlm.readers.files import READERS

FILES = TINY | FORMATS
NAMES = sorted(FILES)
USD_SUFFIXES = {".usdz", ".usda", ".usdc", ".usd"}
"""Read in a process for each file, which is too slow here; see `test_usd`."""
WORDS = [b"nan", b"-1", b"1e999", b"[", b"]", b"{", b"}", b'"', b"#", b"\\\n", b"\n", b"\r", b"99999999999", b"-", b".",
         b"USE A", b"DEF A", b"/", b"//", b"1e-400", b"0x1", b"\xff\xff\xff\xff", b"\x00", b"end_header", b"solid ",
         b"f 1 2 3", b"v 1", b"vertex", b",", b"1.#IND", b"3", b"TRUE", b"NULL", b"null", b":", b"e9", b"PK\x01\x02",
         b"count", b"POINTS 9", b"glTF", b"PROTO A [ ] {", b"IS a", b"A { }", b"Separator {", b"USE C", b"<Group>",
         b"</Shape>", b"/>", b"<!--", b"&lt;", b"<!ENTITY a 'b'>", b"-2", b"V 1 2 3\n",
         b"1,5 2,05 3,5\n", b"nan nan nan\n", b"-9999", b"property list uchar int64 x\n", b"end solid", b"BINARY", b";",
         b"x,y,z\n", b"NA", b"\t", b"|", b"'", b"\xef\xbb\xbf", b"\xff\xfe", b"1e5"]  # fmt: skip


def read_or_refuse(name: str, data: bytes) -> Mesh | None:
    path = Path("/nowhere") / name
    try:
        mesh = parse_mesh(data, path)
    except MeshError as error:
        caught = str(error)
        mesh = None
    if mesh is None:
        assert name in caught
        return None
    assert mesh.num_vertices > 0
    assert np.isfinite(mesh.vertices).all()
    assert np.isfinite(mesh.origin).all()
    assert mesh.faces.size == 0 or 0 <= mesh.faces.min() <= mesh.faces.max() < mesh.num_vertices
    assert all(isinstance(remark, str) and remark for remark in mesh.remarks)
    assert mesh.uv is None or np.isfinite(mesh.uv).all()
    return mesh


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_file_reads(name):
    assert read_or_refuse(name, FILES[name]) is not None


@pytest.mark.parametrize("name", NAMES)
def test_truncation_at_every_byte(name):
    for length in range(len(FILES[name])):
        read_or_refuse(name, FILES[name][:length])


@pytest.mark.parametrize("name", NAMES)
def test_mutations(name):
    chance = random.Random(name)
    for _ in range(300):
        read_or_refuse(name, mutated(FILES[name], chance, WORDS, num_kinds=5))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_mutations(name):
    chance = random.Random(name + "slow")
    for _ in range(20_000):
        read_or_refuse(name, mutated(FILES[name], chance, WORDS, num_kinds=5))


@pytest.mark.parametrize(
    "suffix", sorted(suffix for suffix in READERS if not suffix.startswith(".usd"))
)  # a process each
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from([*WORDS, b" "]), max_size=40).map(b" ".join)))
def test_any_bytes(suffix, data):
    heads = {
        ".wrl": b"#VRML V2.0 utf8\n",
        ".vrml": b"#VRML V2.0 utf8\nShape { ",
        ".wrz": b"#VRML V1.0 ascii\nSeparator { ",
        ".iv": b"#Inventor V2.0 ascii\n",
        ".x3dv": b"#X3D V3.0 utf8\nPROTO A [ ] { ",
        ".x3d": b"<X3D><Scene><Shape ",
        ".ply": b"ply\n",
        ".off": b"OFF\n",
    }
    read_or_refuse("a" + suffix, data)
    read_or_refuse("a" + suffix, heads.get(suffix, b"solid\n") + data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("fan.wrl", vrml("Shape { geometry IndexedFaceSet { coord Coordinate { point [0 0 0 1 1 1 2 2 2] } texCoord "
                         "TextureCoordinate { point [0 0 1 1 2 2] } coordIndex [ 0 " + "1 2 " * 4_000_000 + "] } }")),
        ("strip.wrl", vrml("Shape { geometry IndexedTriangleStripSet { coord Coordinate { point [0 0 0 1 1 1 2 2 2] } "
                           "index [ 0 " + "1 2 0 " * 3_000_000 + "] } }")),
        ("counts.wrl", vrml("Shape { geometry TriangleFanSet { coord Coordinate { point [0 0 0 1 1 1 2 2 2] } "
                            "fanCount [ " + "0 " * 6_000_000 + "] } }")),
        ("grid.wrl", vrml("Shape { geometry ElevationGrid { xDimension 3000 zDimension 2000 height [ "
                          + "0 " * 6_000_000 + "] } }")),
        ("triangles.x3d", x3d("<Shape><IndexedTriangleSet index='" + "0 1 2 " * 2_000_000 + "'><Coordinate point='"
                              "0 0 0 1 1 1 2 2 2'/><TextureCoordinate point='0 0 1 1 2 2'/>"
                              "</IndexedTriangleSet></Shape>")),
        ("deep.x3d", x3d("<Group>" * 1_000_000)),
        ("one.wrl", vrml1("Separator { Coordinate3 { point [0 0 0 1 1 1 2 2 2] } "
                          "IndexedTriangleStripSet { coordIndex [ 0 "
                          + "1 2 0 " * 3_000_000 + "] } }")),
        ("fan.obj", obj(faces="f 1/1 " + "2/2 3/3 " * 1_000_000)),
        ("short.obj", b"v\n" * 4_000_000),
        ("rows.xyz", b"1\n" * 4_000_000),
        ("numbers.off", b"OFF\n" + b"1\n" * 4_000_000),
        ("corners.stl", b"solid\n" + b"vertex 0 0 0\n" * 500_000),
        ("bytes.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                      b"property float z\nelement face 1\nproperty list uint uchar vertex_index\nend_header\n"
                      + bytes(12) + (8_000_000).to_bytes(4, "little") + bytes(8_000_000)),
        ("numbers.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list int int x\nend_header\n4000000 "
                        + b"0 " * 4_000_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_memory_is_bounded_by_the_size_of_the_file(name, data):
    if name.endswith(("wrl", "x3d")):  # kernels are compiled outside the measurement
        read_or_refuse("a.wrl", TINY["a.wrl"])
    tracemalloc.start()
    try:
        read_or_refuse(name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(data) + 64 * 2**20


def test_errors_say_the_line_far_into_a_file(tmp_path):
    data = b"\n".join([b"v 1 2 3"] * 9_999 + [b"v 1 2 bad\n"])
    with pytest.raises(MeshError, match=r"a\.obj:10000: expected a number, found 'bad'"):
        read_mesh(write(tmp_path, "a.obj", data))
