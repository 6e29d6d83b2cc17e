"""Pairing: prompts of the right class, the same for the same seed; a control that keeps nothing but the counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from smilevlm import results
from smilevlm.errors import PromptError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.prompts import (
    GENERIC_PROMPT,
    NO_PROMPT,
    PAIRING_MODES,
    load_prompt_set,
    mix_captions,
    pairing_texts,
    sample_prompts,
    shuffle_classes,
)

NEUTRAL = load_prompt_set("basic_expressions_neutral")
CLASSES = tuple(np.random.default_rng(0).choice(NEUTRAL.classes, 3000).tolist())


def draw(seed: int = 1, mode: str = "class", classes=CLASSES) -> np.ndarray:
    return sample_prompts(classes, NEUTRAL, mode=mode, generator=np.random.default_rng(seed))


def test_every_prompt_is_of_the_samples_class_and_is_drawn():
    indices = draw()
    texts, classes = pairing_texts(NEUTRAL, "class"), NEUTRAL.text_classes
    assert [classes[index] for index in indices] == list(CLASSES)
    counts = Counter(indices.tolist())
    assert set(counts) == set(range(len(texts)))
    happy = [counts[index] for index, name in enumerate(classes) if name == "happy"]
    assert len(happy) == 5
    assert max(happy) < 1.6 * min(happy)


def test_same_seed_same_prompts():
    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


def test_generic_gives_one_prompt_without_a_class():
    assert pairing_texts(NEUTRAL, "generic") == (GENERIC_PROMPT,)
    assert set(draw(mode="generic").tolist()) == {0}
    assert draw(mode="generic", classes=["whatever"]).tolist() == [0]
    for words in (*BASIC_EXPRESSIONS, "smil", "joy", "expression", "emotion"):
        assert words not in GENERIC_PROMPT


def test_no_samples():
    for mode in PAIRING_MODES:
        assert draw(mode=mode, classes=[]).shape == (0,)


def test_captions_alone_leave_no_prompt_of_a_class():
    assert pairing_texts(NEUTRAL, "actions") == ()
    assert set(draw(mode="actions").tolist()) == {NO_PROMPT}


def mixed(share: float, prompts, captions, seed: int = 0) -> list[int]:
    generator = np.random.default_rng(seed)
    return mix_captions(np.array(prompts), np.array(captions), share=share, generator=generator).tolist()


def test_the_share_of_captions():
    prompts, captions = [0] * 4000, [[5, 6, 7, 5]] * 4000
    counts = Counter(mixed(0.3, prompts, captions))
    assert set(counts) == {0, 5, 6, 7}
    assert abs(counts[0] / 4000 - 0.7) < 0.03
    # A caption that was drawn twice is twice as likely.
    assert 1.6 < counts[5] / counts[6] < 2.4
    assert set(mixed(0, prompts, captions)) == {0}
    assert set(mixed(1, prompts, captions)) == {5, 6, 7}
    assert mixed(0.3, prompts, captions) == mixed(0.3, prompts, captions) != mixed(0.3, prompts, captions, seed=1)


def test_a_sample_with_one_of_the_two_gets_it():
    assert mixed(0, [NO_PROMPT, 3], [[8], [NO_PROMPT]]) == [8, 3]
    assert mixed(1, [NO_PROMPT, 3], [[8], [NO_PROMPT]]) == [8, 3]


def test_classes_without_prompts_are_named():
    with pytest.raises(PromptError, match="no prompts for nervousness, pain; it has happy"):
        draw(classes=["happy", "pain", "nervousness"])


def test_unknown_mode_is_refused():
    for call in (lambda mode: pairing_texts(NEUTRAL, mode), lambda mode: draw(mode=mode)):
        with pytest.raises((SettingsError, TypeError)):
            call("supervised")


def test_a_teachers_classes_are_drawn_from_like_the_samples_own():
    assert pairing_texts(NEUTRAL, "pseudo") == pairing_texts(NEUTRAL, "class")
    np.testing.assert_array_equal(draw(mode="pseudo"), draw(mode="class"))


def test_no_class_no_prompt():
    gaps = [None if number % 3 == 0 else name for number, name in enumerate(CLASSES)]
    indices = draw(mode="pseudo", classes=gaps)
    for index, name in zip(indices.tolist(), gaps, strict=True):
        assert index == NO_PROMPT if name is None else NEUTRAL.text_classes[index] == name
    assert NO_PROMPT not in range(len(NEUTRAL.texts))
    assert draw(mode="pseudo", classes=[None, None]).tolist() == [NO_PROMPT, NO_PROMPT]
    # One prompt for all needs no class.
    assert draw(mode="generic", classes=[None, "happy"]).tolist() == [0, 0]


def test_the_modes_are_those_of_the_result_file():
    assert PAIRING_MODES is results.PAIRING_MODES


def test_shuffled_control_is_fixed_and_keeps_the_counts():
    shuffled = shuffle_classes(CLASSES, seed=5)
    assert shuffled == shuffle_classes(CLASSES, seed=5)
    assert shuffled != shuffle_classes(CLASSES, seed=6)
    assert Counter(shuffled) == Counter(CLASSES)


def test_shuffled_control_says_nothing_about_the_class():
    """Own and dealt class agree as often as chance: a nearest-prompt classifier trained on it learns nothing."""
    shuffled = shuffle_classes(CLASSES, seed=5)
    agreement = np.mean([own == dealt for own, dealt in zip(CLASSES, shuffled, strict=True)])
    chance = sum((count / len(CLASSES)) ** 2 for count in Counter(CLASSES).values())
    assert agreement == pytest.approx(chance, abs=4 * (chance / len(CLASSES)) ** 0.5)
    # Not one class renamed to another either: each class is dealt every other one.
    for name in NEUTRAL.classes:
        dealt = {shuffled[i] for i, own in enumerate(CLASSES) if own == name}
        assert dealt == set(NEUTRAL.classes)


def test_shuffling_is_not_of_classes_but_of_samples():
    prompts = draw(classes=shuffle_classes(CLASSES, seed=5))
    classes = [NEUTRAL.text_classes[index] for index in prompts]
    happy = Counter(name for name, own in zip(classes, CLASSES, strict=True) if own == "happy")
    assert len(happy) == 7
    assert max(happy.values()) < 3 * min(happy.values())
