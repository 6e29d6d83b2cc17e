"""Bosphorus and BP4D+ landmarks, BP4D tables of action units."""

from __future__ import annotations

import io

import numpy as np
import pytest

from builders import write
from builders_labels import AU_CSV, PIXELS, POSITIONS, bndplus, lm2, lm3
from smilevlm.errors import LandmarkError, TableError
from smilevlm.readers import (
    BOSPHORUS_LABELS,
    AuTable,
    read_au_table,
    read_landmarks,
    read_lm2,
    read_lm3,
    write_au_table,
    write_lm3,
)

OFFICIAL_LM2 = """# Bosphorus 2D landmarks

2 landmarks are labelled

Labels:
Chin middle
Nose tip

2D Image coordinates:
 7.5  8.5
 1 2e1
"""


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, point in expected.items():
        np.testing.assert_array_equal(found[name], point)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lm2_with_any_line_ends(tmp_path, line_end):
    assert_same(read_lm2(write(tmp_path, "a.lm2", lm2(line_end=line_end))), PIXELS)
    assert lm2(line_end="\r\n").count("\r\n") == lm2().count("\n")


def test_lm2_as_the_official_reader_describes_it(tmp_path):
    found = read_lm2(write(tmp_path, "a.lm2", OFFICIAL_LM2))
    assert_same(found, {"Chin middle": np.float32([7.5, 8.5]), "Nose tip": np.float32([1, 20])})


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("remarks", [(), ("occluded", "eyes closed")])
def test_lm3_with_and_without_the_block_of_remarks(tmp_path, line_end, remarks):
    text = lm3(line_end=line_end, remarks=remarks)
    assert text.count("* ") == len(remarks)
    path = write(tmp_path, "a.lm3", text)
    assert_same(read_lm3(path), POSITIONS)
    assert_same(read_landmarks(path), POSITIONS)


def test_lm3_remarks_end_at_an_empty_line(tmp_path):
    text = lm3(remarks=("first",)).replace("* first\n", "* first\n24 what the second line says\n")
    assert_same(read_lm3(write(tmp_path, "a.lm3", text)), POSITIONS)


def test_every_label_is_read_by_name(tmp_path):
    assert len(set(BOSPHORUS_LABELS)) == 24
    points = {name: np.float32([row, 0, -row]) for row, name in enumerate(BOSPHORUS_LABELS)}
    file = io.StringIO(newline="")
    write_lm3(file, dict(reversed(points.items())))
    found = read_lm3(write(tmp_path, "a.lm3", file.getvalue().replace("Nose tip", "nose  TIP")))
    assert found.keys() == points.keys()
    assert found["Nose tip"][0] == BOSPHORUS_LABELS.index("Nose tip")


def test_missing_landmarks_are_not_listed_and_that_is_fine(tmp_path):
    assert read_lm3(write(tmp_path, "a.lm3", "# c\n\n0 landmarks\n")) == {}
    assert read_lm2(write(tmp_path, "a.lm2", "# c\n\n0 landmarks\n\nLabels:\n\n2D Image coordinates:\n")) == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.lm2", lm2().replace("3 landmarks", "2 landmarks"), r"a\.lm2:8: expected '2D Image coordinates:'"),
        ("a.lm2", lm2().replace("3 landmarks", "4 landmarks"), r"a\.lm2:10: expected a landmark's name, found '2D"),
        ("a.lm2", lm2().replace("3 landmarks", "99999999 landmarks"), r"a\.lm2:10: expected a landmark's name"),
        ("a.lm2", lm2().replace("3 landmarks", "x landmarks"), r"a\.lm2:3: expected 'N landmarks', found 'x land"),
        ("a.lm2", lm2().replace("5.000000 26.000000\n", ""), "the file ends before the position of 'Left mouth"),
        ("a.lm2", lm2() + "1 2\n", r"a\.lm2:14: '1 2' after the 3 landmarks announced"),
        ("a.lm2", lm2().replace("Chin middle", "Nose tip"), r"a\.lm2:12: a second position of 'Nose tip'"),
        ("a.lm2", lm2().replace("26.0", "nan 26.0"), r"a\.lm2:13: 3 fields, expected 'x y'"),
        ("a.lm2", lm2().replace("Labels:", "Names:"), r"a\.lm2:5: expected 'Labels:', found 'Names:'"),
        ("a.lm2", "# c\n\n3 landmarks\n", "the file ends before 'Labels:'"),
        ("a.lm3", lm3().replace("3 landmarks", "2 landmarks"), r"a\.lm3:8: 'Left mouth corner' after the 2"),
        ("a.lm3", lm3().replace("3 landmarks", "4 landmarks"), "the file ends before landmark 4 of 4"),
        ("a.lm3", lm3().replace("Chin middle\n", ""), r"a\.lm3:6: expected a landmark's name, found '0\.0"),
        ("a.lm3", lm3().replace("60.0", "sixty"), r"a\.lm3:7: expected a number, found 'sixty"),
        ("a.lm3", lm3().replace("60.000000", "4e38"), r"a\.lm3:7: '4e38' is not a finite"),
        ("a.lm3", "# c\n* remarks without an end\n3 landmarks\n", "the file ends before the number of landmarks"),
        ("a.lm3", "# c", "the file ends before the number of landmarks"),
        ("a.lm3", "", "empty file"),
        ("a.lm3", "x\n" * 600_000, "1200000 bytes, expected 1048576 at most"),
    ],
)  # fmt: skip
def test_broken_lm_files_say_where(tmp_path, name, text, message):
    reader = read_lm2 if name.endswith("lm2") else read_lm3
    with pytest.raises(LandmarkError, match=message):
        reader(write(tmp_path, name, text))


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("\n", "\n\n"), (",", " , "), ("0,0", "\ufeff0,0")])
def test_bndplus(tmp_path, change):
    found = read_landmarks(
        write(tmp_path, "00012.bndplus", bndplus(120).replace(*change, 1 if "0" in change[0] else -1))
    )
    assert list(found)[:2] == ["bndplus_01", "bndplus_02"]
    assert len(found) == 120
    np.testing.assert_array_equal(found["bndplus_120"], np.float32([119, 59.5, -119]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n1,2\n", r"a\.bndplus:2: 2 fields, expected 'x y z'"),
        ("1,2,x\n", r"a\.bndplus:1: expected a number, found 'x'"),
        ("1,,3\n", r"a\.bndplus:1: expected a number, found ''"),
        ("1 2 3\n", r"a\.bndplus:1: 1 fields"),
        ("1,2,inf\n", r"a\.bndplus:1: 'inf' is not a finite"),
        ("\n\n", "no landmarks"),
        ("", "empty file"),
    ],
)
def test_broken_bndplus(tmp_path, text, message):
    with pytest.raises(LandmarkError, match=message):
        read_landmarks(write(tmp_path, "a.bndplus", text))


def test_landmarks_of_unknown_suffix(tmp_path):
    with pytest.raises(LandmarkError, match=r"unknown suffix '\.txt', expected one of \.bnd \.landmark"):
        read_landmarks(tmp_path / "a.txt")


@pytest.mark.parametrize("change", [("\n", "\r\n"), (",", " ,"), ("36,", "\n,,,\n36,"), ("0,1,2,4", "\ufefffoo,1,2,4")])
def test_au_table_with_9_for_unknown(tmp_path, change):
    table = read_au_table(write(tmp_path, "F001_T1.csv", AU_CSV.replace(*change)))
    assert table.au_numbers == (1, 2, 4)
    np.testing.assert_array_equal(table.frame_numbers, [33, 34, 36])
    np.testing.assert_array_equal(table.values, np.int8([[0, 1, -1], [1, 0, 0], [-1, -1, -1]]))


def test_au_table_round_trip(tmp_path):
    table = read_au_table(write(tmp_path, "a.csv", AU_CSV))
    file = io.StringIO()
    write_au_table(file, table)
    assert file.getvalue() == AU_CSV
    assert len(read_au_table(write(tmp_path, "head.csv", "0,1,2\n")).frame_numbers) == 0
    with pytest.raises(TableError, match="1 frames and 2 action units"):
        AuTable(au_numbers=(1, 2), frame_numbers=np.array([1]), values=np.zeros((1, 3), np.int8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AU_CSV.replace("34,1", "34,5"), r"a\.csv:3: expected 0, 1 or 9, found '5'"),
        (AU_CSV.replace("34,1", "34,"), r"a\.csv:3: expected 0, 1 or 9, found ''"),
        (AU_CSV.replace("34,1", "34,1,1"), r"a\.csv:3: 4 values, expected 3"),
        (AU_CSV.replace("34,1", "33,1"), r"a\.csv:3: frame 33 occurs twice"),
        (AU_CSV.replace("34,1", "-4,1"), r"a\.csv:3: expected a whole number, found '-4'"),
        (AU_CSV.replace("0,1,2,4", "0,1,1,4"), r"a\.csv:1: an action unit occurs twice"),
        (AU_CSV.replace("0,1,2,4", "0,1,2,x"), r"a\.csv:1: expected a whole number, found 'x'"),
        (AU_CSV.replace("0,1,2,4", "0"), r"a\.csv:1: 0 action units, expected 1 to 512"),
        ("0" + ",1" * 513, r"a\.csv:1: 513 action units"),
        ("34;1;0\n", r"a\.csv:1: 0 action units"),
        ("\n \n,,,\n", r"a\.csv:1: 0 action units"),
        ("", "empty file"),
        ("1,2\n" * 1_100_000, "4400000 bytes, expected 4194304 at most"),
    ],
    ids=lambda value: value[:20],
)
def test_broken_au_tables_say_where(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        read_au_table(write(tmp_path, "a.csv", text))


def test_missing_au_table(tmp_path):
    with pytest.raises(TableError, match=r"gone\.csv: no such file"):
        read_au_table(tmp_path / "gone.csv")
