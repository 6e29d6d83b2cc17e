"""Further ways of showing expressions, movements that belong to none, and combinations of actions."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL, UNLABELLED, actions_from_arkit
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.incidental import VISEMES, draw_action_combination, draw_incidental
from smilevlm.synthesis.variants import draw_blend, draw_varied_actions, show_in_manner
from smilevlm.synthesis.varied import VariedSettings, draw_scan_actions, draw_varied_person
from smilevlm.synthesis.wide_variants import FACS_FREQUENCIES, WIDE_VARIANTS, draw_facs_recipe


@pytest.fixture(scope="module")
def person():
    return draw_varied_person(np.random.default_rng(1), sex="F")


def test_every_expression_has_further_ways_whose_blend_shapes_exist():
    known = {*head_model().facial_actions, "eyeLookDown"}
    for expression in BASIC_EXPRESSIONS:
        recipes = [*WIDE_VARIANTS[expression], draw_facs_recipe(np.random.default_rng(0), expression)]
        assert len(WIDE_VARIANTS[expression]) == 6
        for recipe in recipes:
            stems = {*recipe.core, *recipe.optional}
            assert {s for s in stems if s not in known and f"{s}Left" not in known} == set()
    assert {a for shape in VISEMES.values() for a in shape if a not in known and f"{a}Left" not in known} == set()


def test_action_units_come_as_often_as_in_people():
    rng = np.random.default_rng(5)
    frequencies = FACS_FREQUENCIES["sad"]
    raised = sum("browInnerUp" in draw_facs_recipe(rng, "sad").core for _ in range(2000)) / 2000
    assert raised == pytest.approx(frequencies.optional[1], abs=0.04)


def test_manners():
    rng = np.random.default_rng(2)
    weights = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.5, "eyeLookOutLeft": 0.3}
    weak = show_in_manner(rng, weights, "weak")
    assert all(0 < weak[name] < 0.65 * value for name, value in weights.items())
    held = show_in_manner(rng, weights, "held back")
    assert held["mouthSmileLeft"] < 0.8
    assert held["mouthPressRight"] >= 0.25
    one = show_in_manner(rng, weights, "one-sided")
    assert sorted([one["mouthSmileLeft"] < 0.4, one["mouthSmileRight"] < 0.4]) == [False, True]
    assert one["jawOpen"] == 0.5
    assert one["eyeLookOutLeft"] == 0.3
    assert show_in_manner(rng, weights, "plain") == weights


def test_a_blend_shows_both_expressions_and_neither_in_full():
    recipes = [draw_blend(np.random.default_rng(seed), "surprise", "fear") for seed in range(50)]
    assert all({"eyeWide", "jawOpen"} & set(recipe.core) for recipe in recipes)
    assert np.mean(["mouthStretch" in recipe.core for recipe in recipes]) > 0.9
    assert max(recipe.core.get("mouthStretch", 0) for recipe in recipes) < 0.8


def test_combinations_use_only_what_the_head_model_knows():
    rng = np.random.default_rng(3)
    known = tuple(name for name in head_model().facial_actions if name != "tongueOut")
    drawn = [draw_action_combination(rng, known) for _ in range(300)]
    assert {name for weights in drawn for name in weights} <= set(known)
    recorded = [actions_from_arkit(weights) for weights in drawn]
    assert not any("AD19" in actions for actions in recorded)
    sides = {max(actions.get("AU12", (0, 0))) and (actions["AU12"][0] == 0) for actions in recorded}
    assert sides >= {0, True}, "some smiles are on one side"
    assert {"AU12", "AU4", "AU26", "AU61", "AD30", "mouth_sideways"} <= {code for a in recorded for code in a}


def test_no_combination_contradicts_itself():
    rng = np.random.default_rng(7)
    known = head_model().facial_actions
    pairs = [
        ("eyeLookOutLeft", "eyeLookInLeft"), ("eyeLookUpLeft", "eyeLookDownLeft"), ("eyeWideLeft", "eyeBlinkLeft"),
        ("mouthPucker", "mouthStretchLeft"), ("mouthFunnel", "mouthRollLower"), ("mouthPressLeft", "jawOpen"),
        *((f"eyeLook{way}Left", "eyeBlinkLeft") for way in ("In", "Out", "Up", "Down")),
    ]  # fmt: skip
    tongues = 0
    for _ in range(2000):
        weights = draw_action_combination(rng, known)
        for one, other in pairs:
            assert not {one, other} <= weights.keys(), weights
        if "tongueOut" in weights:
            tongues += 1
            assert weights["jawOpen"] >= 0.15
    assert tongues > 50


def test_mouths_open_and_eyes_close_within_every_class(person):
    settings = VariedSettings(incidental_share=0.5)
    rng = np.random.default_rng(4)
    for expression in (NEUTRAL, *BASIC_EXPRESSIONS, UNLABELLED):
        drawn = [draw_scan_actions(rng, person, expression, settings) for _ in range(150)]
        assert any(weights.get("jawOpen", 0) > 0.3 for weights in drawn), expression
        assert any(weights.get("eyeBlinkLeft", 0) > 0.5 for weights in drawn), expression
        assert all(0 <= value <= 1 for weights in drawn for value in weights.values())


def test_what_a_head_model_lacks_is_left_out(person):
    known = tuple(name for name in head_model().facial_actions if name != "tongueOut")
    rng = np.random.default_rng(6)
    gagging = WIDE_VARIANTS["disgust"][1]
    weights = draw_varied_actions(
        rng,
        person=person.person,
        recipe=gagging,
        intensity=1.0,
        facial_actions=known,
        idle=0.0,
        incidental={"tongueOut": 1.0},
    )
    assert "tongueOut" in gagging.core
    assert "tongueOut" not in weights
    assert weights["jawOpen"] > 0.2


def test_incidental_movement_is_one_thing():
    drawn = [draw_incidental(np.random.default_rng(seed)) for seed in range(200)]
    assert {"jawOpen", "eyeBlink", "eyeLookSide", "cheekPuff", "tongueOut"} <= {name for each in drawn for name in each}
    assert all(len(each) <= 4 for each in drawn)
    assert all(0 < max(each.values()) <= 1 for each in drawn)
