"""The shortcut audit finds a planted shortcut and none where there is none."""

from __future__ import annotations

import numpy as np
from tools.shortcut_audit import CLASSES, contingency, probe, quartiles

PEOPLE = np.repeat(np.arange(30), len(CLASSES))
LABELS = np.tile(np.arange(len(CLASSES)), 30)


def test_a_probe_tells_a_planted_shortcut_from_chance():
    rng = np.random.default_rng(0)
    chance = rng.normal(size=(len(LABELS), 5))
    row = probe("none", chance, LABELS, PEOPLE, permutations=19)
    assert row.low <= row.value <= row.high
    assert row.p_value > 0.05
    assert abs(row.chance - 1 / len(CLASSES)) < 0.05
    planted = np.column_stack([chance, LABELS == 3])
    row = probe("planted", planted, LABELS, PEOPLE, permutations=19)
    assert row.low > 1 / len(CLASSES)
    assert row.p_value == 0.05, "none of 19 permutations is as good"


def test_a_contingency_table_is_full_where_the_property_is_the_class_and_empty_where_it_is_not():
    rng = np.random.default_rng(1)
    assert contingency("same", [str(label) for label in LABELS], LABELS).value > 0.99
    row = contingency("other", rng.choice(["a", "b"], len(LABELS)).tolist(), LABELS)
    assert row.value < 0.3
    assert row.p_value > 0.01
    assert contingency("constant", ["a"] * len(LABELS), LABELS).p_value == 1


def test_quartiles_are_of_equal_size():
    assert np.bincount(quartiles(list(range(100)))).tolist() == [25, 25, 25, 25]
