"""Classes as they are typed."""

from __future__ import annotations

import pytest

from smilevlm.errors import PromptError
from smilevlm.web.prompt_parser import EXAMPLE, parse_prompts


def test_one_class_per_line():
    assert parse_prompts(EXAMPLE) == {
        "pain": ["a face in pain", "a grimace of pain"],
        "calm": ["a calm face", "a relaxed face"],
    }
    assert parse_prompts("a: b\n\n  c :d;; e : f;\n") == {"a": ["b"], "c": ["d", "e : f"]}


@pytest.mark.parametrize("text", ["", "  \n \t"])
def test_nothing_typed_asks_for_the_trained_classes(text):
    assert parse_prompts(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pain", "line 1: expected"),
        ("a: b\npain:", "line 2: expected"),
        (": a face", "line 1: expected"),
        ("a: b\na: c", "line 2: the class 'a'"),
        ("a: b", "1 class"),
        ("\n".join(f"c{n}: d{n}" for n in range(21)), "21 class"),
        ("a: " + ";".join(map(str, range(11))) + "\nb: c", "11 descriptions"),
        ("a: " + "x" * 5000, "letters"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(PromptError, match=said):
        parse_prompts(text)
