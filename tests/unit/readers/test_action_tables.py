"""Tables of facial actions: what is written comes back, and a broken line is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from smilevlm.errors import TableError
from smilevlm.readers import ACTIONS_NAME, RecordedActions, action_table, read_action_table

RECORDED = {
    "müller_happy": RecordedActions(intensities={"AU25": (0.25, 0.5), "AU12": (1.0, 0.9996)}, unjudged=("AU1",)),
    "anna_neutral": RecordedActions(),
}
TEXT = """sample,action,left,right
anna_neutral,,,
müller_happy,AU1,,
müller_happy,AU12,1.000,1.000
müller_happy,AU25,0.250,0.500
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / ACTIONS_NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_is_sorted_and_comes_back(tmp_path):
    assert action_table(RECORDED) == TEXT
    found = read_action_table(write(tmp_path, TEXT))
    assert found["anna_neutral"] == RecordedActions()
    assert found["müller_happy"].intensities == {"AU12": (1.0, 1.0), "AU25": (0.25, 0.5)}
    assert found["müller_happy"].unjudged == ("AU1",)
    assert action_table(found) == TEXT


def test_a_table_from_excel_and_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr(ACTIONS_NAME, b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert action_table(read_action_table(tmp_path / "faces.zip" / ACTIONS_NAME)) == TEXT


@pytest.mark.parametrize(
    ("rows", "line", "told"),
    [
        ("a,AU12,0.5\n", 2, "3 fields, expected 4"),
        ("a,AU12,0.5,0.5\na,AU12,0.1,0.1\n", 3, "a has AU12 twice"),
        ("a,,,\na,AU12,0.1,0.1\n", 3, "beside another row"),
        ("a,AU12,0.1,0.1\na,,,\n", 3, "beside another row"),
        ("a,AU99,0.5,0.5\n", 2, "'AU99' is no facial action"),
        ("a,AU12,half,0.5\n", 2, "left is 'half'"),
        ("a,AU12,0.5,1.5\n", 2, "right is 1.5, expected 0 to 1"),
        ("a,AU12,nan,0.5\n", 2, "left is nan, expected 0 to 1"),
        ("a,AU12,0.5,\n", 2, "right is ''"),
        ("a,,0.5,0.5\n", 2, "intensities without an action"),
        (",AU12,0.5,0.5\n", 2, "no sample"),
    ],
)
def test_a_broken_line_is_named(tmp_path, rows, line, told):
    path = write(tmp_path, f"sample,action,left,right\n{rows}")
    with pytest.raises(TableError, match=told) as raised:
        read_action_table(path)
    assert (raised.value.path, raised.value.line) == (str(path), line)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty file"),
        (b"sample,action\n", "expected sample,action,left,right"),
        (b"sample,action,left,right\n\xff,AU1,1,1\n", "not UTF-8"),
        (b'sample,action,left,right\n"a\n', "end of data"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, data, told):
    with pytest.raises(TableError, match=told):
        read_action_table(write(tmp_path, data))


def test_a_missing_table(tmp_path):
    with pytest.raises(TableError, match=ACTIONS_NAME):
        read_action_table(tmp_path / ACTIONS_NAME)
