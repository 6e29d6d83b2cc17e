"""Facial actions: codes of several notations, ARKit weights, sides and intensities."""

from __future__ import annotations

import pytest

from smilevlm.errors import LayoutError
from smilevlm.labels import FACIAL_ACTIONS, action_intensities, actions_from_arkit, arkit_shapes, facs_code, side_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (12, "AU12"),
        ("AU06", "AU6"),
        ("au1", "AU1"),
        ("45", "AU43"),
        ("AU46", "AU43"),
        ("19", "AD19"),
        ("M64", "AU64"),
        ("AU99", None),
        ("smile", None),
        ("", None),
    ],
)
def test_facs_code(text: str | int, code: str | None) -> None:
    assert facs_code(text) == code


def test_every_code_is_its_own() -> None:
    assert all(code == action.code for code, action in FACIAL_ACTIONS.items())
    assert all(facs_code(code) == code for code in FACIAL_ACTIONS if code != "mouth_sideways")


def test_anny_and_ict_names_give_the_same_actions() -> None:
    anny = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.2, "browInnerUp": 0.5, "jawLeft": 0.3}
    ict = {"mouthSmile_L": 0.8, "mouthSmile_R": 0.2, "browInnerUp_L": 0.5, "browInnerUp_R": 0.5, "jawLeft": 0.3}
    actions = actions_from_arkit(anny)
    assert actions == actions_from_arkit(ict)
    assert actions == {"AU1": (0.5, 0.5), "AU12": (0.8, 0.2), "AD30": (0.3, 0.0)}


def test_gaze_to_one_side_moves_one_eye_out_and_one_in() -> None:
    assert actions_from_arkit({"eyeLookOutLeft": 0.4, "eyeLookInRight": 0.5}) == {"AU61": (0.4, 0.5)}
    assert actions_from_arkit({"eyeLookOutRight": 0.4, "eyeLookInLeft": 0.5}) == {"AU62": (0.5, 0.4)}


def test_jaw_opening_parts_the_lips_unless_they_are_held_together() -> None:
    assert set(actions_from_arkit({"jawOpen": 0.3})) == {"AU25", "AU26"}
    assert set(actions_from_arkit({"jawOpen": 0.3, "mouthClose": 0.3})) == {"AU26"}
    assert set(actions_from_arkit({"jawOpen": 0.9})) == {"AU25", "AU26", "AU27"}


def test_weights_beyond_the_full_shape_are_clipped_and_traces_left_out() -> None:
    assert actions_from_arkit({"browDownLeft": 1.4, "browDownRight": 0.01}) == {"AU4": (1.0, 0.01)}
    assert actions_from_arkit({"browDownLeft": 0.02}) == {}


def test_entries_are_collected_by_side_in_the_tables_order() -> None:
    actions = action_intensities([("AU12", "left", 0.3), ("AU4", "both", 0.5), ("AU12", "both", 0.1)])
    assert list(actions.items()) == [("AU4", (0.5, 0.5)), ("AU12", (0.3, 0.1))]


@pytest.mark.parametrize("entry", [("AU3", "both", 0.5), ("AU4", "both", 1.2), ("AU4", "both", float("nan"))])
def test_unknown_actions_and_intensities_are_named(entry: tuple) -> None:
    with pytest.raises(LayoutError, match=entry[0]):
        action_intensities([entry])


def test_side_of_one_sided_actions() -> None:
    assert [side_of(0.8, 0.1), side_of(0.1, 0.8), side_of(0.5, 0.4)] == ["left", "right", "both"]


@pytest.mark.parametrize(
    ("code", "left", "right"),
    [
        ("AU12", ("mouthSmileLeft",), ("mouthSmileRight",)),
        ("AU26", ("jawOpen",), ("jawOpen",)),
        ("AU61", ("eyeLookOutLeft",), ("eyeLookOutLeft",)),
        ("AD30", ("jawLeft",), ("jawRight",)),
        ("mouth_sideways", ("mouthLeft",), ()),
        ("AU23", (), ()),
    ],
)
def test_blend_shapes_of_an_action_are_those_that_the_head_model_has(code: str, left: tuple, right: tuple) -> None:
    known = ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "eyeLookOutLeft", "jawLeft", "jawRight", "mouthLeft")
    assert arkit_shapes(code, known) == (left, right)
