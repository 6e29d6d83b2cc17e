from __future__ import annotations

import io

import numpy as np
import pytest

from builders import bnd, pse, write
from smilevlm.errors import LandmarkError
from smilevlm.readers import read_bnd, read_pse, write_bnd, write_pse


@pytest.mark.parametrize("tail", ["", "\n", "\r\n  \n"])
def test_bnd(tmp_path, tail):
    marks = read_bnd(write(tmp_path, "a.bnd", bnd(tail=tail)))
    assert marks.points.shape == (83, 3)
    assert marks.indices.tolist() == list(range(100, 183))
    named = marks.named()
    assert list(named)[:2] == ["bnd_01", "bnd_02"]
    assert len(named) == 83
    np.testing.assert_array_equal(named["bnd_83"], np.float32([82, 41, -82]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bnd(82), "82 landmarks, expected 83"),
        (bnd(84), "84 landmarks, expected 83"),
        (bnd().replace("105 5 ", "105 x "), r"a\.bnd:6: expected a number, found 'x'"),
        (bnd().replace("105 5 ", "105 1_0 "), r"a\.bnd:6: expected a number, found '1_0'"),
        (bnd().replace("105 5 ", "105 4e38 "), r"a\.bnd:6: '4e38' is not a finite"),
        (bnd().replace("105 5 ", "105 nan "), r"a\.bnd:6: 'nan' is not a finite"),
        (bnd().replace("105 5 ", "105 "), r"a\.bnd:6: 3 fields"),
        (bnd().replace("105 5 ", "105.5 5 "), r"a\.bnd:6: column 0"),
        ("", "empty file"),
        ("\n", "0 landmarks"),
        ("1 2 3 4\n" * 200_000, "1600000 bytes, expected 1048576 at most"),
    ],
)
def test_broken_bnd(tmp_path, text, message):
    with pytest.raises(LandmarkError, match=message):
        read_bnd(write(tmp_path, "a.bnd", text))


def test_missing_bnd(tmp_path):
    with pytest.raises(LandmarkError, match=r"gone\.bnd: no such file"):
        read_bnd(tmp_path / "gone.bnd")


def test_pse(tmp_path):
    marks = read_pse(write(tmp_path, "a.pse", pse()))
    assert marks.problem is None
    names = ["bnd_01", "bnd_05", "bnd_09", "bnd_13", "bnd_40", "bnd_45", "bnd_84", "bnd_85"]
    assert list(marks.named()) == names
    np.testing.assert_array_equal(marks.named()["bnd_85"], np.float32([7, 14, 21]))


@pytest.mark.parametrize("count", [0, 7, 9])
def test_incomplete_pse(tmp_path, count):
    marks = read_pse(write(tmp_path, "a.pse", pse(count)))
    assert marks.points.shape == (count, 3)
    assert marks.named() == {}
    assert f"{count} landmarks, expected 8" in marks.problem


def test_broken_pse(tmp_path):
    with pytest.raises(LandmarkError, match=r"a\.pse:1: 2 fields"):
        read_pse(write(tmp_path, "a.pse", "1 2\n"))


def test_round_trips(tmp_path):
    points = np.arange(249, dtype=np.float32).reshape(83, 3) / 4
    file = io.StringIO()
    write_bnd(file, points, np.arange(83) * 7)
    marks = read_bnd(write(tmp_path, "a.bnd", file.getvalue()))
    np.testing.assert_array_equal(marks.points, points)
    assert marks.indices[82] == 574
    file = io.StringIO()
    write_pse(file, points[:8], normal=np.float32([0, 0, 1]))
    assert file.getvalue().splitlines()[-1] == "n 0 0 1"
    np.testing.assert_array_equal(read_pse(write(tmp_path, "a.pse", file.getvalue())).points, points[:8])
    with pytest.raises(LandmarkError, match="7 points"):
        write_bnd(io.StringIO(), points[:7])
