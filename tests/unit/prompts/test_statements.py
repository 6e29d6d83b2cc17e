"""Held-out statements: complete, of known actions, and rules that tell the unseen classes from other faces."""

from __future__ import annotations

import pytest

from smilevlm.errors import PromptError
from smilevlm.labels import FACIAL_ACTIONS
from smilevlm.prompts import language_statements, read_language_statements
from smilevlm.prompts.prompt_set import wording

STATEMENTS = language_statements()
PAIN = {"AU4": (0.8, 0.8), "AU7": (0.6, 0.6), "AU10": (0.7, 0.7)}
HEAD = "provenance: {source: me, date: '2026', generated_by: hand}\n"


def test_every_action_has_three_sentences_and_none_stands_for_two():
    assert list(STATEMENTS.actions) == list(FACIAL_ACTIONS)
    assert all(len(texts) >= 3 for texts in STATEMENTS.actions.values())
    wordings = [wording(text) for texts in STATEMENTS.actions.values() for text in texts]
    assert len(set(wordings)) == len(wordings)
    assert [len(codes) for codes in STATEMENTS.choices.values()] == [16, 27]
    assert set(STATEMENTS.choices["16"]) <= set(STATEMENTS.choices["27"])


def test_texts_are_all_texts_once():
    assert len(set(STATEMENTS.texts)) == len(STATEMENTS.texts)
    assert {"a hint of a grin", "the mouth is shut", "the left eye is shut", "a big yawn"} <= set(STATEMENTS.texts)


@pytest.mark.parametrize(
    ("actions", "name", "fits"),
    [
        (PAIN, "pain", True),
        (PAIN | {"AU12": (0.6, 0.6)}, "pain", False),
        (PAIN | {"AU4": (0.3, 0.3)}, "pain", False),
        ({"AU43": (1.0, 0.1)}, "wink", True),
        ({"AU43": (1.0, 1.0)}, "wink", False),
        ({"AU12": (0.0, 0.6)}, "contempt", True),
        ({"AU12": (0.6, 0.6)}, "contempt", False),
        ({"AU18": (0.9, 0.9)}, "kiss", True),
        ({"AU27": (0.9, 0.9), "AU26": (0.9, 0.9), "AU43": (1.0, 1.0)}, "yawn", True),
        ({"AU27": (0.9, 0.9)}, "yawn", False),
        ({"AU12": (0.5, 0.5), "AU24": (0.5, 0.5), "AU64": (0.8, 0.8)}, "embarrassment", True),
        ({}, "embarrassment", False),
    ],
)
def test_rules_of_unseen_classes(actions, name, fits):
    assert STATEMENTS.unseen_classes[name].fits(actions) is fits


def test_a_lower_bound_counts_weak_actions():
    assert STATEMENTS.unseen_classes["pain"].fits(PAIN | {"AU4": (0.3, 0.3)}, least=0.3)


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("choices: {}\nactions: {AU99: [a face]}\n", 3, "'AU99' is no facial action"),
        ("choices: {'2': [AU1, AU1]}\nactions: {AU1: [a face]}\n", 2, "expected 2 different actions, got 1"),
        ("choices: {'1': [AU2]}\nactions: {AU1: [a face]}\n", 2, "no sentence for AU2"),
        ("choices: {}\nactions: {AU1: []}\n", 3, "AU1 needs a sentence or more"),
        ("choices: {}\nactions: {}\nopposites:\n- {action: AU1, text: up}\n", 5, "must have action, text, opposite"),
        ("choices: {}\nactions: {}\nunseen_classes:\n  a: {descriptions: [b], all_of: [[AU1], [X]]}\n", 5, "'X' is no"),
        ("choices: {}\n", None, "'actions' is missing"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, body, line, message):
    path = tmp_path / "statements.yaml"
    path.write_text(HEAD + body)
    with pytest.raises(PromptError, match=message) as raised:
        read_language_statements(path)
    assert raised.value.line == line
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PromptError, match="cannot be read"):
        read_language_statements(tmp_path / "none.yaml")
