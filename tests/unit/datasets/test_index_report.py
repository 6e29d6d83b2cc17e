from __future__ import annotations

import re
import shutil

import pytest

import builders
from smilevlm.datasets.frames import by_number, numbered_frames
from smilevlm.datasets.index_report import IndexReport, subject_folders
from smilevlm.errors import LayoutError
from smilevlm.labels import NEUTRAL
from smilevlm.readers import some
from smilevlm.store import FrameFile, Recording
from smilevlm.synthesis import MARKER_NAME

SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)


def new_report(root) -> IndexReport:
    return IndexReport(root, name="a data set", example="F001/000.wrl")


def test_a_folder_that_cannot_be_listed_is_a_problem_and_empty(tmp_path):
    report = new_report(tmp_path)
    assert report.entries(tmp_path / "gone") == []
    recording = Recording(
        sample_id="a", subject="F001", expression=NEUTRAL, frames=(FrameFile(path=tmp_path / "a.wrl"),)
    )
    (problem,) = report.data_index("any", [recording], None).problems
    assert problem.path == "gone"


def test_hidden_names_are_no_entries(tmp_path):
    for name in (".git", "__MACOSX", "b.wrl", "A.wrl"):
        builders.write(tmp_path, name, "x")
    assert [entry.name for entry in new_report(tmp_path).entries(tmp_path)] == ["A.wrl", "b.wrl"]


def test_a_subject_as_folder_and_as_archive_is_read_once(tmp_path):
    builders.write(tmp_path, "F001.txt", "no subject")
    (tmp_path / "F001").mkdir()
    builders.write(tmp_path / "F001", "000.wrl", builders.vrml())
    shutil.make_archive(str(tmp_path / "F001"), "zip", tmp_path, "F001")
    report = new_report(tmp_path)
    assert subject_folders(report, tmp_path, SUBJECT) == {"F001": tmp_path / "F001"}
    shutil.rmtree(tmp_path / "F001")
    assert subject_folders(report, tmp_path, SUBJECT) == {"F001": tmp_path / "F001.zip" / "F001"}


def test_a_root_that_is_a_file(tmp_path):
    path = builders.write(tmp_path, "F001.wrl", builders.vrml())
    with pytest.raises(LayoutError, match="is not a folder; expected a data set's root"):
        new_report(path)


@pytest.mark.parametrize("root", ["outer", "outer/set/bs000"])
def test_a_synthetic_set_stays_synthetic_one_folder_too_high_or_too_low(tmp_path, root):
    (tmp_path / "outer" / "set" / "bs000").mkdir(parents=True)
    assert not new_report(tmp_path / root).synthetic
    builders.write(tmp_path / "outer" / "set", MARKER_NAME, '{"synthetic": true}')
    report = new_report(tmp_path / root)
    assert report.synthetic
    recording = Recording(sample_id="a", subject="bs000", expression=NEUTRAL, frames=(FrameFile(path=tmp_path / "a"),))
    index = report.data_index("any", [recording], None)
    assert index.synthetic
    assert "the faces are synthetic" in index.remarks[0]


def test_a_long_list_is_cut():
    assert some(["a"]) == "a"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("name", "only_digits", "number"),
    [
        ("0012", True, 12),
        ("f12", True, None),
        ("f12", False, 12),
        ("S13_1st_001_0007", False, 7),
        ("none", False, None),
        ("१२", True, None),
    ],
)
def test_the_number_of_a_frame(tmp_path, name, only_digits, number):
    files = [builders.write(tmp_path, f"{name}.wrl", "x")]
    assert by_number(files, (".wrl",), only_digits=only_digits) == ({} if number is None else {number: files[0]})


def test_frames_of_nothing(tmp_path):
    assert numbered_frames(new_report(tmp_path), [], suffixes=(".wrl",)) == ()
