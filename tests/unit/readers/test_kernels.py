"""The short ways of the compiled scanners against the long ones and against Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.readers import _kernels
from smilevlm.readers._source import Source
from smilevlm.readers.elements import Triangles, cut_into_triangles

ODD_NUMBERS = "0 -0 1. .5 -.25 +3 1e3 -2.5E-4 1234567 12345678 123456789.5 0.1234567 0.12345678 -7654321.7654321 007"


def cut(corners: np.ndarray, points: np.ndarray) -> Triangles:
    return cut_into_triangles(
        Source(bytes(10_000), Path("faces")),
        corners,
        50,
        texture_corners=corners,
        texture_points=points,
        bad_index=lambda ordinal: MeshError(f"bad index at {ordinal}"),
    )


def floats_of(text: str) -> np.ndarray:
    return Source(text.encode(), Path("numbers")).floats(0, len(text))


def random_numbers(count: int) -> list[str]:
    rng = np.random.default_rng(4)
    values = rng.normal(size=count) * 10.0 ** rng.integers(-4, 8, count)
    return [f"{value:.{digits}g}" for value, digits in zip(values, rng.integers(1, 10, count), strict=True)]


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\r\n", "\t,\n", " # word 5\n"])
def test_floats_are_those_of_python(separator):
    words = ODD_NUMBERS.split() + random_numbers(2000)
    found = floats_of(separator.join(words) + separator)
    assert found.astype(np.float32).tobytes() == np.array([float(word) for word in words], np.float32).tobytes()


def test_the_last_number_may_end_with_the_file():
    for length in range(1, 40):
        words = random_numbers(length)
        np.testing.assert_array_equal(floats_of(" ".join(words)).astype(np.float32), np.array(words, np.float32))


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\n", " # 9\n"])
def test_indices_are_those_of_python(separator):
    values = np.random.default_rng(5).integers(0, 10 ** np.random.default_rng(6).integers(1, 10, 500))
    words = [*map(str, values), "-1", "3.0", "0012", "2147483647", "-1", "5"]
    found = Source(separator.join(words).encode(), Path("indices")).indices(0, len(separator.join(words)))
    np.testing.assert_array_equal(found, [int(float(word)) for word in words])


@pytest.mark.parametrize("before", [0, 1, 63, 64, 200])
@pytest.mark.parametrize("inside", ["", "[ ] ", "# ] \n", '"]" ', "{ [ ] } "])
def test_the_closing_bracket_is_found_behind_any_number_of_blocks(before, inside):
    text = ("1 " * before + inside + "2 " * 70 + "] 3").encode()
    close = _kernels.find_close(np.frombuffer(text, np.uint8), 0, len(text))
    assert close == len(text) - 3


def test_plain_triangles_are_cut_as_any_others_are():
    rng = np.random.default_rng(7)
    faces = np.array([rng.permutation(50)[:3] for _ in range(200)], np.int32)
    plain = np.concatenate([faces, np.full((200, 1), -1, np.int32)], axis=1).ravel()
    longer = np.concatenate([plain, [-1]]).astype(np.int32)  # an empty face: no longer all alike
    points = rng.uniform(size=(50, 2)).astype(np.float32)
    for corners in (plain, longer):
        found = cut(corners, points)
        np.testing.assert_array_equal(found.faces, faces)
        np.testing.assert_array_equal(found.uv, points[faces])


@pytest.mark.parametrize(("row", "num_points"), [((3, 3, 4, -1), 50), ((3, 4, 45, -1), 40)])
def test_what_is_no_plain_triangle_takes_the_long_way(row, num_points):
    found = cut(np.array([0, 1, 2, -1, *row], np.int32), np.zeros((num_points, 2), np.float32))
    names_missing_point = num_points == 40
    assert len(found.faces) == (2 if names_missing_point else 1)
    assert len(found.remarks) == names_missing_point


def test_one_of_two_faces_is_more_than_may_be_left_out():
    with pytest.raises(MeshError, match="bad index at 6"):
        cut(np.array([0, 1, 2, -1, 3, 4, 60, -1], np.int32), np.zeros((50, 2), np.float32))
