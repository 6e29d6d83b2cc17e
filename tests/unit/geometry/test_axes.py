from __future__ import annotations

import itertools

import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.geometry import rotation_from_axes

AXES = [sign + axis for sign in "+-" for axis in "xyz"]


def vector(name: str) -> np.ndarray:
    return (1 if name[0] == "+" else -1) * np.eye(3)["xyz".index(name[1])]


@pytest.mark.parametrize(("up", "front"), [pair for pair in itertools.product(AXES, AXES) if pair[0][1] != pair[1][1]])
def test_up_becomes_y_and_front_becomes_z_without_mirroring(up, front):
    turn = rotation_from_axes(up, front)
    np.testing.assert_array_equal(turn @ vector(up), [0, 1, 0])
    np.testing.assert_array_equal(turn @ vector(front), [0, 0, 1])
    assert np.linalg.det(turn) == pytest.approx(1)


def test_the_frontal_frame_stays_as_it_is():
    np.testing.assert_array_equal(rotation_from_axes("y", "Z"), np.eye(3))


@pytest.mark.parametrize(("up", "front"), [("+y", "-y"), ("z", "z")])
def test_parallel_axes(up, front):
    with pytest.raises(SettingsError, match="different axes"):
        rotation_from_axes(up, front)


@pytest.mark.parametrize(("up", "front", "word"), [("up", "z", "up"), ("y", "", "front"), ("y", "+-z", "front")])
def test_unknown_axes(up, front, word):
    with pytest.raises(SettingsError, match=f"{word} is .*expected one of"):
        rotation_from_axes(up, front)
