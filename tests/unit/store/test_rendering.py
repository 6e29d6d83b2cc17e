"""The face finder of a recording: a later frame begins where an earlier one had to be searched for."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.datasets import index_data_set
from smilevlm.readers import read_mesh
from smilevlm.store import rendering
from smilevlm.store.rendering import FaceFinder

LYING = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)


@pytest.fixture
def starts(monkeypatch):
    """What `normalise` was told to begin with, call by call."""
    seen = []
    real = rendering.normalise

    def noted(mesh, settings, *, start=None, mm_per_unit=None, search_pose=True):
        seen.append((start, mm_per_unit) if search_pose else (start, mm_per_unit, "no search"))
        return real(mesh, settings, start=start, mm_per_unit=mm_per_unit, search_pose=search_pose)

    monkeypatch.setattr(rendering, "normalise", noted)
    return seen


@pytest.fixture
def mesh(synthetic_faces):
    return read_mesh(index_data_set("bu3dfe", synthetic_faces).recordings[0].path)


def test_upright_scans_each_begin_as_they_stand(starts, mesh, small_store_settings):
    find = FaceFinder(small_store_settings)
    first, second = find(mesh), find(mesh)
    assert starts == [(None, None), (None, None)]
    np.testing.assert_array_equal(first.mesh.vertices, second.mesh.vertices)


def test_a_scan_that_lies_is_searched_for_once(starts, mesh, small_store_settings):
    lying = mesh.transformed(LYING, np.zeros(3, np.float32))
    find = FaceFinder(small_store_settings)
    first, second = find(lying), find(lying)
    assert starts[0] == (None, None)
    np.testing.assert_allclose(starts[1][0], first.rotation)
    turn = np.rad2deg(np.arccos(np.clip((np.trace(first.rotation @ second.rotation.T) - 1) / 2, -1, 1)))
    assert turn < 2
    upright = FaceFinder(small_store_settings)(mesh)
    turn = np.trace(first.rotation @ LYING @ upright.rotation.T)
    assert np.rad2deg(np.arccos(np.clip((turn - 1) / 2, -1, 1))) < 5


def test_a_size_that_no_unit_gives_is_kept_for_the_frames_that_follow(starts, mesh, small_store_settings):
    odd = mesh.transformed(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1 / 42)
    find = FaceFinder(small_store_settings)
    first = find(odd)
    find(odd)
    assert first.unit == "unknown"
    assert starts[1][1] == first.mm_per_unit
    assert first.mm_per_unit == pytest.approx(42, rel=0.25)


def test_a_pose_that_is_given_stays(starts, mesh, small_store_settings):
    lying = mesh.transformed(LYING, np.zeros(3, np.float32))
    given = LYING.T.astype(np.float64)
    find = FaceFinder(small_store_settings, given)
    find(lying), find(lying)
    assert all(call[0] is given and call[2] == "no search" for call in starts)
