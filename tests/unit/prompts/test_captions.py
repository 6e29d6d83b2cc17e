"""Captions: true of the face, grammatical, told by the seed, and never in a held-out wording."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS, FACIAL_ACTIONS, MICRO_EXPRESSIONS
from smilevlm.prompts import (
    CaptionSettings,
    caption,
    draw_captions,
    language_statements,
    make_caption,
    phrase_bank,
    strength_of,
)
from smilevlm.prompts.prompt_set import wording

BANK = phrase_bank()
SMILE = {"AU6": (0.5, 0.5), "AU12": (0.8, 0.8), "AU25": (0.4, 0.4)}
EMOTION_WORDS = (
    "happ", "joy", "delight", "sad", "sorrow", "grie", "surpris", "amaz", "astonish", "anger", "angr", "furious",
    "rage", "disgust", "revuls", "fear", "afraid", "scared", "terr", "pain", "embarrass", "contempt", "wink", "kiss",
    "yawn", "emotion", "neutral",
)  # fmt: skip


def random_faces(number: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    for _ in range(number):
        codes = generator.choice(list(FACIAL_ACTIONS), generator.integers(0, 8), replace=False)
        strengths = generator.uniform(0.05, 1, (len(codes), 2))
        strengths[generator.random(len(codes)) < 0.6, 1] = np.nan
        yield {
            code: (float(left), float(left if np.isnan(right) else right))
            for code, (left, right) in zip(codes.tolist(), strengths, strict=True)
        }


def many(actions, number: int = 300, **settings) -> list[str]:
    generator = np.random.default_rng(0)
    return [make_caption(actions, generator, settings=CaptionSettings(**settings)).text for _ in range(number)]


def all_training_texts() -> set[str]:
    """Every phrase of the bank, with and without words of strength and side."""
    degrees = [None] + [
        {slot: getattr(words, strength)[0] for slot, words in BANK.degrees.items()} for strength in ("slight", "strong")
    ]
    words = [each for action in BANK.actions.values() for each in (action, action.one_sided)]
    phrases = [phrase for each in (*words, *BANK.combinations, *BANK.absent) for phrase in each.phrases]
    return {BANK.fill(*each) for each in product(phrases, degrees, ("left", "right", "one"))} | set(BANK.rest)


def test_every_action_has_eight_paraphrases_and_three_are_held_out():
    for code in FACIAL_ACTIONS:
        assert len({wording(text) for text in BANK.written_out(code)}) >= 8, code
        assert len(language_statements().actions[code]) >= 3, code


def test_no_training_caption_has_a_held_out_wording():
    held_out = [wording(text) for text in language_statements().texts]
    generator = np.random.default_rng(0)
    captions = {wording(caption(actions, generator)) for actions in random_faces(4000)}
    assert len(captions) > 3000
    for text in {*captions, *(wording(text) for text in all_training_texts())}:
        padded = f" {text} "
        found = [each for each in held_out if f" {each} " in padded]
        assert not found, f"{text!r} has the held-out {found}"


def test_no_caption_names_an_emotion():
    for text in all_training_texts():
        assert not [word for word in EMOTION_WORDS if re.search(rf"\b{word}", text)], text
    for name in (*BASIC_EXPRESSIONS, *MICRO_EXPRESSIONS):
        assert all(name not in text.split() for text in all_training_texts()), name


def test_captions_are_clean_english():
    generator = np.random.default_rng(1)
    for actions in random_faces(1000, seed=1):
        text = caption(actions, generator)
        assert not re.search(r"[\[\]{}]|  |,,|\ba [aeiou]|\ban [^aeiou]|\b(a|the) (a|an|the|one)\b", text), text
        assert text == text.strip()


def test_the_same_seed_gives_the_same_captions():
    first, again, other = (draw_captions(SMILE, np.random.default_rng(seed), 20) for seed in (3, 3, 4))
    assert first == again != other
    assert len(set(first)) > 10


def test_what_is_mentioned_is_what_the_face_does():
    generator = np.random.default_rng(2)
    for actions in random_faces(1000, seed=2):
        found = make_caption(actions, generator)
        assert set(found.actions) <= {code for code, sides in actions.items() if max(sides) >= 0.1}
        assert len(found.actions) == len(set(found.actions)) <= 5
        assert bool(found.actions) == any(max(sides) >= 0.1 for sides in actions.values())


def test_one_to_five_actions_are_mentioned():
    actions = {code: (0.5, 0.5) for code in ("AU1", "AU4", "AU9", "AU17", "AU20", "AU43", "AU63")}
    generator = np.random.default_rng(0)
    counts = {len(make_caption(actions, generator).actions) for _ in range(300)}
    assert counts == {1, 2, 3, 4, 5}


def test_the_strongest_come_first():
    actions = {"AU9": (0.4, 0.4), "AU17": (0.9, 0.9), "AU43": (0.6, 0.6)}
    generator = np.random.default_rng(0)
    settings = CaptionSettings(strongest_share=1)
    for _ in range(50):
        mentioned = make_caption(actions, generator, settings=settings).actions
        assert mentioned == ("AU17", "AU43", "AU9")[: len(mentioned)]


@pytest.mark.parametrize(
    ("intensity", "strength"), [(0.29, "slight"), (0.3, "plain"), (0.7, "plain"), (0.71, "strong")]
)
def test_strengths(intensity, strength):
    assert strength_of(intensity) == strength


def test_a_slight_action_is_always_called_so_and_a_strong_one_often():
    slight = re.compile(r"\b(slightly|faintly|mildly|a little|somewhat|a bit|slight|faint|small)\b")
    strong = re.compile(r"\b(strongly|markedly|very|extremely|strikingly|a lot|strong|marked|pronounced)\b")
    for code in ("AU4", "AU43", "AD34"):
        assert all(slight.search(text) for text in many({code: (0.2, 0.2)}, absent_share=0))
        assert not any(slight.search(text) or strong.search(text) for text in many({code: (0.5, 0.5)}, absent_share=0))
        called = [bool(strong.search(text)) for text in many({code: (0.9, 0.9)}, absent_share=0)]
        assert 0.3 < np.mean(called) < 0.9


def test_sides_are_the_persons_own():
    left, right = (many({"AU43": sides}) for sides in ((0.9, 0.1), (0.0, 0.6)))
    assert not any("right" in text for text in left)
    assert not any("left" in text for text in right)
    assert 0.5 < np.mean(["left" in text for text in left]) < 0.9
    assert all("one" in text.split() or "left" in text for text in left)
    assert not any("left" in text or "right" in text for text in many({"AU43": (0.9, 0.8)}))


def test_a_movement_to_one_side_may_say_where_to():
    texts = many({"AD30": (0.5, 0.0)})
    assert any("to the left" in text for text in texts)
    assert not any("to the right" in text for text in texts)


def test_words_for_the_whole_face():
    assert any("smile that reaches the eyes" in text for text in many(SMILE))
    weak = SMILE | {"AU6": (0.2, 0.2)}
    assert not any("reaches the eyes" in text for text in many(weak))


@pytest.mark.parametrize("codes", [("AU25", "AU26"), ("AU25", "AU26", "AU27"), ("AD19", "AU25")])
def test_of_an_open_mouth_one_thing_is_said_and_every_thing_at_times(codes):
    generator = np.random.default_rng(0)
    said = {make_caption(dict.fromkeys(codes, (0.6, 0.6)), generator).actions for _ in range(100)}
    assert said == {(code,) for code in codes}


def test_what_is_absent_is_true():
    texts = many({"AU12": (0.5, 0.5), "AU26": (0.5, 0.5)}, absent_share=1)
    assert any("relaxed brows" in text for text in texts)
    assert not any(re.search("closed|level|mouth is at rest", text) for text in texts)
    texts = many({"AU4": (0.5, 0.5)}, absent_share=1)
    assert any("closed mouth" in text for text in texts)
    assert not any("relaxed brows" in text for text in texts)


def test_absence_is_not_said_of_actions_that_nobody_looked_for():
    generator = np.random.default_rng(0)
    settings = CaptionSettings(absent_share=1)
    coded = ("AU1", "AU2", "AU4", "AU9", "AU10", "AU12")
    texts = [make_caption({"AU12": (1.0, 1.0)}, generator, settings=settings, coded=coded).text for _ in range(200)]
    assert any("brows" in text for text in texts)
    assert not any(re.search("eye|lid|gaze|closed", text) for text in texts)


def test_a_face_at_rest():
    assert {caption({}, np.random.default_rng(seed)) for seed in range(100)} == set(BANK.rest)
    assert caption({"AU4": (0.07, 0.0)}, np.random.default_rng(0)) in BANK.rest


def test_an_unknown_action_is_named():
    with pytest.raises(SettingsError, match="'AU99' is no facial action"):
        caption({"AU99": (1.0, 1.0)}, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong", [{"most_actions": 0}, {"least_intensity": 0.01}, {"absent_share": 1.5}, {"strength_share": -0.1}]
)
def test_settings_outside_their_range(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        CaptionSettings(**wrong)
