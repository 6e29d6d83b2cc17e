from __future__ import annotations

import datetime
import io
import re
import zipfile

import pytest

from builders import write
from builders_labels import MICRO_HEADERS, MICRO_ROWS, archive, micro_workbook
from smilevlm.errors import TableError
from smilevlm.readers import ActionUnit, read_4dme_labels, read_workbook, workbooks, write_workbook
from smilevlm.readers.fourdme_labels import REQUIRED, parse_action_units


def cells(path, **options):
    return [dict(row.cells) for row in read_workbook(path, **options)]


def changed_part(path, name: str, change) -> None:
    """Rewrite one part of a workbook."""
    with zipfile.ZipFile(path) as made:
        parts = {part: made.read(part) for part in made.namelist()}
    parts[name] = change(parts[name])
    path.write_bytes(archive(parts))


SHEET = "xl/worksheets/sheet1.xml"


def test_round_trip_of_every_kind_of_cell(tmp_path):
    day = datetime.datetime(2022, 6, 13, 10, 30)
    row = ["text", 3, 2.5, True, day, None, "=1+1", " blanks "]
    write_workbook(tmp_path / "new" / "a.xlsx", list("abcdefgh"), [row, [None] * 8, ["x", *[None] * 7]])
    rows = read_workbook(tmp_path / "new" / "a.xlsx")
    assert [found.number for found in rows] == [2, 4], "the empty row is passed over, the numbers are the sheet's"
    expected = {key: value for key, value in zip("abcdefgh", row, strict=True) if key != "f"}
    assert dict(rows[0].cells) == expected | {"f": None}


def test_headers_with_apostrophes_blanks_repeats_and_none(tmp_path):
    headers = ["self-report emo'", " video emo' ", "AU1", "AU1", None, None]
    write_workbook(tmp_path / "a.xlsx", headers, [["happy", "sad", 1, 2, None, 3]])
    assert cells(tmp_path / "a.xlsx") == [
        {"self-report emo'": "happy", "video emo'": "sad", "AU1": 1, "AU1.1": 2, "column 6": 3}
    ]


def test_same_rows_same_bytes(tmp_path, monkeypatch):
    write_workbook(tmp_path / "a.xlsx", ["x"], [[1]])

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 1, 1, tzinfo=tz)

    monkeypatch.setattr("openpyxl.writer.excel.datetime.datetime", Later)
    monkeypatch.setattr("zipfile.time.time", lambda: 2e9)
    write_workbook(tmp_path / "b.xlsx", ["x"], [[1]])
    write_workbook(tmp_path / "c.xlsx", ["x"], [[2]])
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    assert (tmp_path / "a.xlsx").read_bytes() != (tmp_path / "c.xlsx").read_bytes()


def test_a_formula_gives_the_value_that_was_stored(tmp_path):
    path = tmp_path / "a.xlsx"
    write_workbook(path, ["x", "y"], [[41, 1]])
    changed_part(path, SHEET, lambda part: part.replace(b"<v>41</v>", b"<f>40+2</f><v>42</v>"))
    assert cells(path) == [{"x": 42, "y": 1}]
    changed_part(path, SHEET, lambda part: part.replace(b"<v>42</v>", b""))
    assert cells(path) == [{"x": None, "y": 1}]


def test_sheets_by_name(tmp_path):
    from openpyxl import Workbook

    made = Workbook()
    made.worksheets[0].append(["a"])
    second = made.create_sheet("Second")
    second.append(["b"])
    second.append([5])
    made.save(tmp_path / "a.xlsx")
    assert cells(tmp_path / "a.xlsx") == []
    assert cells(tmp_path / "a.xlsx", sheet="Second") == [{"b": 5}]
    with pytest.raises(TableError, match="no sheet 'Third', there are 'Sheet', 'Second'"):
        read_workbook(tmp_path / "a.xlsx", sheet="Third")


def test_a_workbook_in_a_zip(tmp_path):
    micro_workbook(tmp_path / "a.xlsx")
    root = write(tmp_path, "x.zip", archive({"labels/a.xlsx": (tmp_path / "a.xlsx").read_bytes()}))
    assert len(read_workbook(root / "labels" / "a.xlsx")) == len(MICRO_ROWS)


def test_writing_rows_of_another_length_or_cells_of_no_kind(tmp_path):
    with pytest.raises(TableError, match=r"a\.xlsx:3: 1 cells, expected 2"):
        write_workbook(tmp_path / "a.xlsx", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(TableError, match=r"a\.xlsx:2: a cell cannot be written"):
        write_workbook(tmp_path / "a.xlsx", ["a"], [["\x01"]])
    assert not (tmp_path / "a.xlsx").exists()


def workbook(*rows: list[object]) -> bytes:
    from openpyxl import Workbook

    made = Workbook()
    for row in rows:
        made.worksheets[0].append(row)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def parts(**changes: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(workbook(["a"], [1]))) as made:
        kept = {name: made.read(name) for name in made.namelist()}
    return archive(kept | {name.replace("__", "/"): data for name, data in changes.items()})


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><worksheet>&b;</worksheet>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"PK\3\4", "not a readable workbook"),
        (b"a,b,c\n1,2,3\n", "not a readable workbook"),
        (archive({"a.txt": b"x"}), "not a readable workbook"),
        (workbook(), "an empty sheet"),
        (workbook([None]), "an empty sheet"),
        (workbook(["a"], *[[1]] * 11), r"a\.xlsx:11: more than 10 rows"),
        (workbook(["a"] * 7), r"a\.xlsx:1: 7 columns, at most 6"),
        (parts(**{"xl__worksheets__sheet1.xml": bytes(2**23)}), "unpack to far too much; refused"),
        (parts(**{"xl__worksheets__sheet1.xml": b"<a>" * 1000}), "unpack to far too much; refused"),
        (parts(**{f"{number}.xml": b"" for number in range(30)}), "parts in the workbook, at most 20"),
        (parts(**{"xl__worksheets__sheet1.xml": LAUGHS}), "has a document type"),
        (parts(**{"xl__worksheets__sheet1.xml": LAUGHS.decode().encode("utf-16")}), "has a document type"),
        (parts(**{"xl__worksheets__sheet1.xml": b"<worksheet>"}), "not a readable workbook"),
        (parts(**{"xl__workbook.xml": b"<x/>"}), "a workbook without a sheet"),
        (archive({"xl/workbook.xml": b"<x/>"}, method=zipfile.ZIP_LZMA), "is packed by method 14"),
    ],
    ids=range(16),
)
def test_what_is_no_workbook_or_far_too_much(tmp_path, monkeypatch, data, message):
    monkeypatch.setattr(workbooks, "MAX_ROWS", 10)
    monkeypatch.setattr(workbooks, "MAX_COLUMNS", 6)
    monkeypatch.setattr(workbooks, "MAX_PARTS", 20)
    monkeypatch.setattr(workbooks, "MAX_TAGS", 900)
    with pytest.raises(TableError, match=message):
        read_workbook(write(tmp_path, "a.xlsx", data))


def test_a_sheet_that_claims_to_be_huge_costs_nothing(tmp_path):
    path = tmp_path / "a.xlsx"
    write_workbook(path, ["x"], [[1]])
    changed_part(path, SHEET, lambda part: part.replace(b'ref="A1:A2"', b'ref="A1:XFD1048576"'))
    assert cells(path) == [{"x": 1}]
    changed_part(
        path, SHEET, lambda part: part.replace(b'<row r="2">', b'<row r="1048576">').replace(b'"A2"', b'"A1048576"')
    )
    with pytest.raises(TableError, match=r"a\.xlsx:100001: more than 100000 rows"):
        read_workbook(path)


def test_missing_workbook(tmp_path):
    with pytest.raises(TableError, match=r"gone\.xlsx: no such file"):
        read_workbook(tmp_path / "gone.xlsx")


def micro(tmp_path, *rows, headers=MICRO_HEADERS):
    return read_4dme_labels(micro_workbook(tmp_path / "micro.xlsx", list(rows) or None, headers))


def with_cells(row: int, **changes: object) -> list[object]:
    named = dict(zip(MICRO_HEADERS, MICRO_ROWS[row], strict=True)) | changes
    return list(named.values())


def test_micro_clips(tmp_path):
    labels = micro(tmp_path)
    assert labels.remarks == ()
    first, second, third = labels.clips
    assert (first.subject, first.clip_name, first.emotion_text) == ("1", "s1_001_01", "Surprise+Positive")
    assert first.labels == ("positive", "surprise"), "combined labels come from the five columns"
    assert (first.onset, first.apex, first.offset) == (10, 14, 25)
    assert first.action_units == (ActionUnit(number=1), ActionUnit(number=2, side="R"))
    assert second.labels == ("negative",)
    assert second.action_units == (ActionUnit(number=4, static=True), ActionUnit(number=7, side="L"))
    assert third.labels == ("others",)


@pytest.mark.parametrize(
    ("text", "units", "unknown"),
    [
        ("AU4(k)+L7", [(4, "", True), (7, "L", False)], ()),
        ("AUR2+12(k)+45", [(2, "R", False), (12, "", True), (45, "", False)], ()),
        ("au1 + R AU2, 12L (K)", [(1, "", False), (2, "R", False), (12, "L", True)], ()),
        ("AU4（k）", [(4, "", True)], ()),
        ("4", [(4, "", False)], ()),
        ("", [], ()),
        ("none", [], ()),
        ("0", [], ()),
        ("AU4+smile+AU123", [(4, "", False)], ("smile", "AU123")),
    ],
)  # fmt: skip
def test_action_units_with_sides_and_static_ones(text, units, unknown):
    expected = tuple(ActionUnit(number=number, side=side, static=static) for number, side, static in units)
    assert parse_action_units(text) == (expected, unknown)


def test_headers_in_any_case_and_with_blanks(tmp_path):
    headers = tuple(f" {header.upper()} " for header in MICRO_HEADERS)
    assert micro(tmp_path, headers=headers) == micro(tmp_path)


@pytest.mark.parametrize(
    ("row", "remark"),
    [
        (with_cells(1, Negative=0, Positive=1), ":2: Emotion says 'Negative', the columns say positive; they"),
        (with_cells(0, Surprise=0), r":2: Emotion says 'Surprise\+Positive', the columns say positive"),
        (with_cells(1, Negative=None), ":2: none of the five classes is 1"),
        (with_cells(1, AUs="AU4+what"), ":2: AUs 'AU4.what': 'what' is no action unit"),
        (with_cells(1, AUs="AU1"), r":2: AUs 'AU1', but the columns of action units differ: 4"),
        (with_cells(1, AUs=None, **{"eye blink": "AU4"}), ":2: eye blink is 'AU4': swapped with AUs"),
        (with_cells(1, Apex=None), ":2: no Apex"),
        (with_cells(1, Apex=21), ":2: onset 5, apex 21, offset 20 are out of order"),
        (with_cells(1, Apex=None, Onset=30), ":2: onset 30, offset 20 are out of order"),
    ],
)  # fmt: skip
def test_rows_that_contradict_themselves_are_kept_and_remarked_on(tmp_path, row, remark):
    labels = micro(tmp_path, row)
    assert len(labels.clips) == 1
    assert any(re.search(remark, found) for found in labels.remarks), labels.remarks


def test_swapped_columns_of_action_units_are_told(tmp_path):
    first, second = with_cells(0), with_cells(1)
    first[-3:], second[-3:] = second[-3:], first[-3:]
    labels = micro(tmp_path, MICRO_ROWS[2], first, second)
    assert [clip.action_units[0].number for clip in labels.clips] == [2, 1, 4], "the text counts"
    assert [remark.rpartition(": ")[2] for remark in labels.remarks] == [
        "they look swapped with row 4", "they look swapped with row 3",
    ]  # fmt: skip


def test_a_clip_that_occurs_twice_is_told(tmp_path):
    labels = micro(tmp_path, MICRO_ROWS[0], MICRO_ROWS[1], MICRO_ROWS[0])
    assert len(labels.clips) == 3
    assert labels.remarks == (f"{tmp_path / 'micro.xlsx'}:4: the clip 1/s1_001_01 is also in row 2",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Onset": None}, r"micro\.xlsx:2: no Onset"),
        ({"Onset": "early"}, r"micro\.xlsx:2: Onset is 'early', expected a frame number"),
        ({"Offset": -3}, r"micro\.xlsx:2: Offset is '-3', expected a frame number"),
        ({"Apex": 2.5}, r"micro\.xlsx:2: Apex is '2\.5', expected a frame number"),
        ({"Positive": 2}, r"micro\.xlsx:2: positive is '2', expected 0 or 1"),
        ({"sub_ID": None}, r"micro\.xlsx:2: no sub_ID"),
        ({"fold_name": "  "}, r"micro\.xlsx:2: no fold_name"),
    ],
)
def test_rows_that_cannot_be_read_say_where(tmp_path, changes, message):
    with pytest.raises(TableError, match=message):
        micro(tmp_path, with_cells(0, **changes))


def test_a_row_that_cannot_be_read_does_not_cost_the_others(tmp_path):
    labels = micro(tmp_path, MICRO_ROWS[0], with_cells(1, Onset="early"), MICRO_ROWS[2])
    assert [clip.clip_name for clip in labels.clips] == [row[2] for row in (MICRO_ROWS[0], MICRO_ROWS[2])]
    said = f"{tmp_path / 'micro.xlsx'}:3: Onset is 'early', expected a frame number; the row was left out"
    assert said in labels.remarks


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_columns(tmp_path, name):
    headers = tuple("something" if header == name else header for header in MICRO_HEADERS)
    with pytest.raises(TableError, match=f"no column {name}; there are fold, "):
        micro(tmp_path, headers=headers)


def test_no_rows(tmp_path):
    write_workbook(tmp_path / "a.xlsx", MICRO_HEADERS, [])
    with pytest.raises(TableError, match="no rows below the headers"):
        read_4dme_labels(tmp_path / "a.xlsx")
