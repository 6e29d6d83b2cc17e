"""Bytes before the text: compression, encodings, decimal commas."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from builders import FACES, TINY, VERTICES, obj, off, ply_binary, ply_text, stl_binary, stl_text, vrml, xyz
from smilevlm.errors import MeshError
from smilevlm.readers import parse_mesh
from smilevlm.readers.decode import decimal_points, decode_text, unpack

PATH = Path("/nowhere/scan.xyz")
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PLAIN = {
    "a.obj": obj(), "a.ply": ply_text(), "b.ply": ply_binary(), "a.off": off(), "a.stl": stl_text(),
    "b.stl": stl_binary(), "a.wrl": vrml(), "a.xyz": xyz(),
}  # fmt: skip
TEXTS = {name: data for name, data in PLAIN.items() if name[0] == "a"}
MARKED = {
    "utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE,
}  # fmt: skip


def same(data: bytes, name: str, plain: bytes) -> None:
    mesh, expected = parse_mesh(data, Path("/nowhere") / name), parse_mesh(plain, Path("/nowhere") / name)
    np.testing.assert_array_equal(mesh.vertices, expected.vertices)
    np.testing.assert_array_equal(mesh.faces, expected.faces)
    assert mesh.remarks == expected.remarks


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", PLAIN)
def test_packed_files_of_every_format(name, packer):
    packed = PACKERS[packer](PLAIN[name])
    same(packed, name, PLAIN[name])
    same(packed, f"{name}.{packer}", PLAIN[name])


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("name", TEXTS)
def test_marks_and_encodings(name, encoding):
    body = TEXTS[name].decode().encode(encoding)
    same(MARKED[encoding] + body, name, TEXTS[name])
    if encoding != "utf-8":
        same(body, name, TEXTS[name])
    same(gzip.compress(MARKED[encoding] + body), name, TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_marks_written_twice_and_text_cut_within_a_character(name):
    same(2 * codecs.BOM_UTF8 + TEXTS[name], name, TEXTS[name])
    same(codecs.BOM_UTF16_LE + ("\ufeff" + TEXTS[name].decode()).encode("utf-16-le") + b"\n", name, TEXTS[name])


def test_bytes_that_are_not_what_their_mark_says():
    with pytest.raises(MeshError, match=r"scan\.xyz: starts as UTF-16-LE text but is not"):
        decode_text(codecs.BOM_UTF16_LE + b"\x00\xd8\x00\xd8" * 20, PATH)


@pytest.mark.parametrize("data", [b"", b"\0", b"1 2 3\n", bytes(64), bytes(range(1, 65)), stl_binary(), b"a\0"])
def test_other_bytes_stay(data):
    assert decode_text(data, PATH) == data
    assert unpack(data, PATH) == data
    assert decimal_points(data) == data


@pytest.mark.parametrize("packer", PACKERS)
def test_several_streams_and_padding(packer):
    pack = PACKERS[packer]
    packed = pack(b"1 2 3\n") + pack(b"") + pack(b"4 5 6\n")
    assert unpack(packed, PATH) == b"1 2 3\n4 5 6\n"
    assert unpack(packed + bytes(512), PATH) == b"1 2 3\n4 5 6\n"
    assert unpack(pack(pack(b"1 2 3\n")), PATH) == b"1 2 3\n"


def test_many_streams_are_not_read_again_and_again():
    line = b"1 2 3\n" * 100
    assert unpack(gzip.compress(line) * 20_000, PATH) == line * 20_000


@pytest.mark.parametrize("packer", PACKERS)
def test_damaged_and_cut_streams(packer):
    rng = np.random.default_rng(1)
    packed = PACKERS[packer](rng.bytes(5000))
    for broken in (packed[: len(packed) // 2], packed[:-1], packed[:12], packed[:40] + b"\xff" * 40 + packed[80:]):
        with pytest.raises(MeshError, match=r"scan\.xyz: a damaged (gzip|bzip2|xz) file"):
            unpack(broken, PATH)


@pytest.mark.parametrize("packer", PACKERS)
def test_decompression_bombs(packer):
    packed = PACKERS[packer](bytes(2**26))
    with pytest.raises(MeshError, match=r"unpacks to more than \d+ MiB; refused"):
        unpack(packed, PATH)
    data = b"1 2 3\n"
    for _ in range(4):
        data = PACKERS[packer](data)
    with pytest.raises(MeshError, match="packed more than 3 times"):
        unpack(data, PATH)


def test_a_stream_that_names_a_huge_dictionary():
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**29}]
    with pytest.raises(MeshError, match="a damaged xz file"):
        unpack(lzma.compress(b"1 2 3\n", filters=filters), PATH)


def commas(text: bytes) -> bytes:
    return text.replace(b".", b",")


DECIMAL = b"".join(b"%.2f %.3f %.1f\n" % (k * 1.37 - 20, k * -0.731, 300 - k / 3) for k in range(60))
INTEGER_LISTS = {
    "rows of a point list": b"point [ " + b"".join(b"%d %d %d," % (k, 300 + k, 900 - k) for k in range(200)) + b" ]",
    "short rows": b"0 0 0,10 0 0,10 5 0,0 5 0,",
    "faces": b"".join(b"%d %d %d -1," % (k, k + 1, k + 100) for k in range(200)),
    "no blanks": b"0,1,2,-1,2,3,4,-1\n" * 50,
}


@pytest.mark.parametrize(
    ("before", "separator"), [(b" ", b" "), (b" ", b";"), (b" ", b"; "), (b" ", b"\t"), (b" ", b", "), (b" ", b" | ")]
)
def test_decimal_commas_between_any_separators(before, separator):
    text = DECIMAL.replace(before, separator)
    assert decimal_points(commas(text)) == text


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "row", [b'"%s";"%s";"%s"', b"v %s %s %s", b"vertex %s %s %s", b"%s %s %s 255 0 128", b"%s\t%s\t%s\tA"]
)
def test_decimal_commas_in_lines_of_any_kind(row, end):
    rows = [row % tuple(line.split()) for line in DECIMAL.splitlines()]
    text = b"# version 2.0\n" + end.join(rows) + end
    assert decimal_points(b"# version 2.0\n" + commas(end.join(rows) + end)) == text


def test_decimal_commas_of_one_digit():
    text = b"".join(b"%.1f %.1f %.1f\n" % (k * 1.3, k * -0.7, 300 - k) for k in range(60))
    assert decimal_points(commas(text)) == text


@pytest.mark.parametrize("name", INTEGER_LISTS)
def test_lists_of_whole_numbers_in_vrml_are_no_decimals(name):
    assert decimal_points(INTEGER_LISTS[name], commas_separate=True) == INTEGER_LISTS[name]


def test_decimal_commas_in_vrml():
    text = b"#VRML V2.0 utf8\nShape { geometry PointSet { coord Coordinate { point [\n" + DECIMAL.replace(b"\n", b",\n")
    assert decimal_points(commas(text).replace(b"V2,0", b"V2.0"), commas_separate=True) == text


@pytest.mark.parametrize(
    "text",
    [
        b"1,2,3\n4,5,6\n" * 50,
        b"100,200,300\n" * 50,
        b"100,200\n" * 50,
        b"id,x,y,z\n" + b"7,100,200,300\n" * 50,
        b"1,234,567;2\n" * 50,
        b"1,5,2,5,3,5\n" * 50,
        b"1.5,2.5,3.5\n" * 50,
        b"1.5, 2.5, 3.5\n" * 50,
        b"1.5 2.5 3.5\n# 1,5 2,5 3,5\n" * 50,
        b"100,200,300 255 0 0\n" * 50,
    ],
)
def test_tables_that_commas_separate_stay(text):
    assert decimal_points(text) == text


def test_binary_bytes_are_never_changed():
    rng = np.random.default_rng(3)
    for number in range(200):
        data = rng.bytes(600) + b" 1,05 2,05 3,05\n" * (number % 3) + rng.bytes(600)
        assert decimal_points(data) == data


def test_large_files_are_sampled_to_the_end():
    text = b"# " + b"comment " * 2000 + b"\n" + DECIMAL * 50
    assert decimal_points(commas(text)) == text


def test_a_face_in_every_wrapping_at_once():
    text = TINY["comma.obj"].decode()
    packed = gzip.compress(codecs.BOM_UTF16_BE + text.encode("utf-16-be"))
    mesh = parse_mesh(packed, Path("/nowhere/scan.obj.gz"))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
