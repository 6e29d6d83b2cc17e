"""The message to a refused scan names the failed test, and its advice can help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.geometry.locate import PoseHypothesis
from smilevlm.geometry.no_face import SearchSummary, no_face_message

SUMMARY = SearchSummary(
    min_fit_share=0.35, min_relief_match=0.4, mm_per_unit=1.0, unit_is_given=False, searched=True, pose_is_given=False
)
AXES, FLAT, FEW = "--up, --front", "It is flat", "too few"
HEAD_MM = (160.0, 200.0, 90.0)


def points(number: int = 3000, extent_mm: tuple[float, float, float] = HEAD_MM) -> np.ndarray:
    return (np.random.default_rng(0).uniform(-0.5, 0.5, (number, 3)) * extent_mm).astype(np.float32)


def place(relief: float, share: float, **others) -> PoseHypothesis:
    values = {"rotation": np.eye(3), "nose_mm": np.zeros(3), "residual_mm": 1.0, **others}
    return PoseHypothesis(relief_match=relief, fit_share=share, **values)


@pytest.mark.parametrize(
    ("found", "said", "unsaid"),
    [
        (place(0.8, 0.2), "20% of the mean face is covered (needed: 35%)", "relief match is"),
        (place(0.1, 0.9), "the relief match is 0.10 (needed: 0.40)", "covered (needed"),
        (place(0.1, 0.2), "20% of the mean face is covered (needed: 35%) and the relief match is 0.10", "confidence"),
        (place(0.5, 0.5), "too low together: 0.50 + 0.50 = 1.00 (needed: 1.25)", "confidence"),
        (
            place(0.6, 0.9, is_searched=True, rival_score=1.45),
            "the confidence is 0.109 (needed: 0.4)",
            "covered (needed",
        ),
        (place(0.5, 0.8, rival_score=1.3), "the confidence is 0.00166 (needed: 0.012)", "covered (needed"),
    ],
)
def test_the_tests_that_failed_are_named_and_no_others(found, said, unsaid):
    message = no_face_message(points(), found, SUMMARY)
    assert message.startswith("no face found in any pose: ")
    assert said in message
    assert unsaid not in message
    assert AXES in message


@pytest.mark.parametrize(
    ("vertices", "changes", "said"),
    [
        (points(extent_mm=(190, 190, 3)), {}, FLAT),
        (points(extent_mm=(190, 190, 3)), {"pose_is_given": True, "searched": False}, FLAT),
        (points(300), {}, FEW),
        (points(), {"pose_is_given": True, "searched": False}, "Check the axes given"),
        (points(), {"searched": False}, "Only this pose was tried"),
        (points(extent_mm=(12, 15, 9)), {"unit_is_given": True}, "correct mm_per_unit"),
        (points(extent_mm=(1700, 500, 300)), {"unit_is_given": True}, "correct mm_per_unit"),
        (points(), {"unit_is_given": True}, AXES),
    ],
)
def test_only_advice_that_can_help_is_given(vertices, changes, said):
    message = no_face_message(vertices, place(0.1, 0.2), replace(SUMMARY, **changes))
    every = (FLAT, FEW, AXES, "Check the axes", "Only this pose", "correct mm_per_unit")
    assert [advice for advice in every if advice in message] == [said if said in every else said[:14]]


def test_flatness_does_not_depend_on_the_pose():
    turned = points(extent_mm=(190, 190, 3)) @ np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    assert FLAT in no_face_message(turned.astype(np.float32), place(0.1, 0.2), SUMMARY)


SETTINGS = NormaliseSettings()


@pytest.mark.parametrize(
    ("mesh", "options", "said"),
    [
        (Mesh(vertices=points(2000, (180, 180, 0.01))), {}, rf"covered|relief match.*{FLAT}"),
        (Mesh(vertices=points(150)), {}, r"has 150 vertices"),
        (Mesh(vertices=points()), {"start": np.eye(3), "search_pose": False}, r"in the pose given.*Check the axes"),
        (Mesh(vertices=points()), {"search_pose": False}, r"looking along \+z.*Only this pose"),
        (Mesh(vertices=points() / 10), {"mm_per_unit": 1.0}, r"16 x 20 x 9 mm as given \(1 mm\).*correct mm_per_unit"),
    ],
    ids=["flat", "few", "axes", "no search", "size"],
)
def test_scans_are_refused_for_their_own_reason(mesh, options, said):
    with pytest.raises(MeshError, match=said):
        normalise(mesh, SETTINGS, **options)


def test_no_command_line_option_is_named_to_who_gave_the_axes():
    with pytest.raises(MeshError) as caught:
        normalise(Mesh(vertices=points()), SETTINGS, start=np.eye(3), search_pose=False)
    assert "--up" not in str(caught.value)
