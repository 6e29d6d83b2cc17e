"""Whatever the bytes, landmark files, tables, workbooks, range images and archives end in a value or a clear error."""

from __future__ import annotations

import contextlib
import io
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders import bnd, image, obj, pse
from builders_labels import AU_CSV, archive, bndplus, bnt, bnt_by_hand, lm2, lm3, micro_workbook
from mutation import mutated
from smilevlm.errors import FileFormatError, LandmarkError, MeshError, TableError
from smilevlm.readers import (
    is_file,
    is_folder,
    list_folder,
    read_4dme_labels,
    read_au_table,
    read_bnd,
    read_landmarks,
    read_lm2,
    read_lm3,
    read_mesh,
    read_pse,
)

NUM_SLOW = 20_000
WORDS = [b"nan", b"-1", b"1e999", b"\n", b"\r", b"\r\n\r\n", b"99999999999", b"-", b".", b",", b",,", b"1e-400", b"*",
         b"\xff\xff\xff\xff", b"\x00", b"\x00\x00\x00\x00", b"Labels:", b"2D Image coordinates:", b"Nose tip", b"n 1",
         b"24 landmarks", b"0", b"9", b"inf", b"\xef\xbb\xbf", b"1_0", b"0x1",
         b"\x00\x00\x00\x00\x00\x00\xf8\x7f"]  # fmt: skip
XML_WORDS = [b"<", b">", b"/>", b'"', b"&amp;", b"&a;", b"<row>", b'<row r="9999999">', b'<c r="ZZZ1">', b"</c>",
             b'<c r="A1" t="s"><v>99</v></c>', b' t="d"', b' t="e"', b' s="99"', b"<f>1+1</f>", b"<v>nan</v>", b"<v/>",
             b"<v>1e999</v>", b"<v>-1</v>", b'<dimension ref="A1:XFD1048576"/>', b'<mergeCell ref="x"/>', b"<!--",
             b"<![CDATA[", b"<?x?>", b"<!DOCTYPE a>", b"\x00", b"\xff", b"<is><t>x</t></is>",
             b"<v>99999999</v>"]  # fmt: skip


def workbook_bytes(folder: Path) -> bytes:
    return micro_workbook(folder / "made.xlsx").read_bytes()


def read_whole_archive(path: Path) -> None:
    """Everything that a data set index and the readers ask of an archive."""
    waiting = list_folder(path)
    for entry in waiting:
        if is_folder(entry):
            waiting.extend(list_folder(entry))
        elif is_file(entry):
            with contextlib.suppress(MeshError, LandmarkError):
                read_mesh(entry) if entry.suffix == ".obj" else read_landmarks(entry)


def finite_points(reader: Callable[[Path], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        for name, point in reader(path).items():
            assert name
            assert np.isfinite(point).all()

    return read


def finite_mesh(path: Path) -> None:
    mesh = read_mesh(path)
    assert mesh.num_vertices > 0
    assert np.isfinite(mesh.vertices).all()
    assert mesh.uv is None or np.isfinite(mesh.uv).all()


def sound_table(path: Path) -> None:
    table = read_au_table(path)
    assert set(np.unique(table.values).tolist()) <= {-1, 0, 1}


def sound_labels(path: Path) -> None:
    labels = read_4dme_labels(path)
    assert labels.clips
    assert all(clip.subject and clip.clip_name for clip in labels.clips)


ZIPPED = {"F001/T1/1.obj": obj(), "F001/T1/1.png": image(), "F001/T1/1.bnd": bnd().encode(), "F002/": b""}
STORED = archive(ZIPPED, method=zipfile.ZIP_STORED)
SCATTERED = bnt_by_hand(
    np.random.default_rng(0).uniform(0, 9, (5, 30)), num_rows=4, num_columns=5
)  # fmt: skip

FORMATS: dict[str, tuple[bytes, Callable[[Path], None], type[FileFormatError]]] = {
    "grid.bnt": (bnt(), finite_mesh, MeshError),
    "scattered.bnt": (SCATTERED, finite_mesh, MeshError),
    "a.lm2": (lm2().encode(), finite_points(read_lm2), LandmarkError),
    "a.lm3": (lm3(remarks=("occluded",)).encode(), finite_points(read_lm3), LandmarkError),
    "a.bndplus": (bndplus().encode(), finite_points(read_landmarks), LandmarkError),
    "a.bnd": (bnd().encode(), finite_points(lambda path: read_bnd(path).named()), LandmarkError),
    "a.pse": (pse().encode(), finite_points(lambda path: read_pse(path).named()), LandmarkError),
    "a.csv": (AU_CSV.encode(), sound_table, TableError),
    "deflated.zip": (archive(ZIPPED), read_whole_archive, MeshError),
    "stored.zip": (STORED, read_whole_archive, MeshError),
}


def read_or_refuse(folder: Path, name: str, data: bytes) -> bool:
    _, reader, kind = FORMATS[name]
    path = folder / name
    path.write_bytes(data)
    caught = None
    try:
        reader(path)
    except kind as error:
        caught = str(error)
    assert caught is None or name in caught
    return caught is None


@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_file_reads(tmp_path, name):
    assert read_or_refuse(tmp_path, name, FORMATS[name][0])


@pytest.mark.parametrize("name", FORMATS)
def test_truncation(tmp_path, name):
    data = FORMATS[name][0]
    for length in range(0, len(data), max(1, len(data) // 300)):
        read_or_refuse(tmp_path, name, data[:length])


@pytest.mark.parametrize("name", FORMATS)
def test_mutations(tmp_path, name):
    chance = random.Random(name)
    for _ in range(100):
        read_or_refuse(tmp_path, name, mutated(FORMATS[name][0], chance, WORDS))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutations(tmp_path, name):
    chance = random.Random(name + "slow")
    read = sum(read_or_refuse(tmp_path, name, mutated(FORMATS[name][0], chance, WORDS)) for _ in range(NUM_SLOW))
    assert 0 < read < NUM_SLOW, "some mutations are harmless, others are not"


def read_workbook_or_refuse(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    caught = None
    try:
        sound_labels(path)
    except TableError as error:
        caught = str(error)
    assert caught is None or path.name in caught
    return caught is None


def mutate_workbooks(folder: Path, count: int, seed: str) -> int:
    """Workbooks whose zip bytes are changed, and whose XML is changed before it is zipped; how many could be read."""
    chance = random.Random(seed)
    whole = workbook_bytes(folder)
    with zipfile.ZipFile(io.BytesIO(whole)) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    read = 0
    for number in range(count):
        if number % 4 == 0:
            data = mutated(whole, chance, WORDS)
        else:
            name = sheet if number % 4 < 3 else chance.choice(sorted(parts))
            data = archive(parts | {name: mutated(parts[name], chance, XML_WORDS)}, method=zipfile.ZIP_STORED)
        read += read_workbook_or_refuse(folder / "a.xlsx", data)
    return read


def test_mutated_workbooks(tmp_path):
    assert 0 < mutate_workbooks(tmp_path, 60, "quick") < 60


@pytest.mark.slow
def test_many_mutated_workbooks(tmp_path):
    assert 0 < mutate_workbooks(tmp_path, NUM_SLOW, "slow") < NUM_SLOW


def large(name: str) -> bytes:
    """Files of some megabytes that claim, repeat or nest as much as they can."""
    match name:
        case "grid.bnt":
            return bnt_by_hand(np.random.default_rng(1).uniform(0, 9, (5, 400 * 400)), num_rows=400, num_columns=400)
        case "scattered.bnt":
            return bnt_by_hand(np.random.default_rng(1).uniform(0, 9, (5, 20_000)), num_rows=1, num_columns=1)
        case "a.lm2" | "a.lm3":
            return b"c\n\n99999999 landmarks\n" + b"x1\n1 2 3\n" * 100_000
        case "a.csv":
            return b"0,1\n" + b"".join(b"%d,9\n" % number for number in range(300_000))
        case "deflated.zip" | "stored.zip":
            return archive({"a/" * 100 + f"{number}.obj": b"x" for number in range(3_000)})
        case _:
            return b"1,2,3\n" * 30_000


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path, name):
    data = large(name)
    read_or_refuse(tmp_path, name, FORMATS[name][0])  # what is imported and compiled once is left out
    tracemalloc.start()
    try:
        read_or_refuse(tmp_path, name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(data) + 64 * 2**20
