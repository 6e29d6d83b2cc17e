"""Prompt sets: the paper's words, and files that say on which line they are wrong."""

from __future__ import annotations

import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smilevlm.errors import PromptError
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS, SPONTANEOUS_EXPRESSIONS
from smilevlm.prompts import (
    Generation,
    PromptSet,
    Provenance,
    available_prompt_sets,
    find_prompt_file,
    load_prompt_set,
    read_prompt_source,
    write_prompt_file,
)

TABLE_I = {
    "happy": ("a person smiling happily", "a joyful facial expression", "an expression of delight"),
    "sad": ("a person looking down sadly", "a face showing sorrow", "a sad expression"),
    "surprise": (
        "a surprised facial expression",
        "a face with surprise expression",
        "a face reacting with amazement",
    ),
    "angry": ("a person frowning angrily", "an expression of frustration", "a face showing intense anger"),
    "disgust": ("a person showing disgust", "a face with disgust expression", "a disgusted facial reaction"),
    "fear": ("a fearful facial expression", "a person appearing afraid", "a face with fear expression"),
}
HEAD = "name: mine\nprovenance: {source: me, date: '2026', generated_by: hand}\n"
PROVENANCE = Provenance(source="me", date="2026", generated_by="hand")


@pytest.fixture
def file(tmp_path):
    def write(text: str, head: str = HEAD):
        path = tmp_path / "mine.yaml"
        path.write_text(head + text, encoding="utf-8")
        return path

    return write


def test_table_of_the_paper_is_there():
    prompt_set = load_prompt_set("basic_expressions")
    assert dict(prompt_set.prompts) == TABLE_I
    assert prompt_set.classes == BASIC_EXPRESSIONS
    assert "Table I" in prompt_set.provenance.source


def test_set_with_neutral_adds_to_the_table():
    prompt_set = load_prompt_set("basic_expressions_neutral")
    assert prompt_set.classes == (*BASIC_EXPRESSIONS, "neutral")
    for name, texts in TABLE_I.items():
        assert prompt_set.prompts[name][:3] == texts
    assert prompt_set.prompts["happy"][3:] == ("a joyful smile", "a delighted facial expression")


def test_detailed_set_describes_the_six_at_length():
    prompt_set = load_prompt_set("basic_expressions_detailed")
    assert prompt_set.classes == BASIC_EXPRESSIONS
    assert all(8 <= len(texts) <= 10 for texts in prompt_set.prompts.values())


def test_spontaneous_set_begins_with_the_table():
    prompt_set = load_prompt_set("spontaneous_expressions")
    assert prompt_set.classes == SPONTANEOUS_EXPRESSIONS
    for name, texts in TABLE_I.items():
        assert prompt_set.prompts[name][:3] == texts


def test_micro_expressions_fill_the_template():
    prompt_set = load_prompt_set("micro_expressions")
    assert prompt_set.classes == MICRO_EXPRESSIONS
    for name in MICRO_EXPRESSIONS:
        assert prompt_set.prompts[name] == (f"a face with {name} micro expression",)


def test_every_set_is_sound_and_named_after_its_file():
    names = available_prompt_sets()
    assert names == (
        "basic_expressions",
        "basic_expressions_described",
        "basic_expressions_detailed",
        "basic_expressions_neutral",
        "class_names",
        "micro_expressions",
        "spontaneous_expressions",
    )
    for name in names:
        prompt_set = load_prompt_set(name)
        assert prompt_set.name == name
        origin = prompt_set.provenance
        assert all((origin.source, origin.date, origin.generated_by))
        assert origin.generation is None


def test_texts_and_their_classes_walk_together():
    prompt_set = load_prompt_set("basic_expressions")
    assert len(prompt_set.texts) == 18
    for text, name in zip(prompt_set.texts, prompt_set.text_classes, strict=True):
        assert text in TABLE_I[name]


def test_subset_keeps_the_given_order():
    prompt_set = load_prompt_set("basic_expressions", classes=["fear", "happy"])
    assert prompt_set.classes == ("fear", "happy")
    assert prompt_set.texts == TABLE_I["fear"] + TABLE_I["happy"]


def test_missing_classes_are_named_with_the_file():
    with pytest.raises(PromptError, match=r"basic_expressions\.yaml: .*lacks neutral, pain; it has happy"):
        load_prompt_set("basic_expressions", classes=["happy", "neutral", "pain"])


def test_own_file(file):
    path = file("prompts:\n  calm: [a calm face]\n  pain:\n    - a face in pain\n    - 'a hurt face '\n")
    expected = {"calm": ("a calm face",), "pain": ("a face in pain", "a hurt face")}
    for place in (path, str(path)):
        prompt_set = load_prompt_set(place)
        assert dict(prompt_set.prompts) == expected
        assert prompt_set.provenance == PROVENANCE


def test_own_templates(file):
    prompt_set = load_prompt_set(file("templates: ['a [CLS] face', 'a face, [CLS]']\nclasses: [calm, tense]\n"))
    assert prompt_set.prompts["tense"] == ("a tense face", "a face, tense")


@pytest.mark.parametrize(
    ("text", "line", "match"),
    [
        ("prompts:\n  a: [x, y]\n  b: []\n", 5, "'b' needs a list"),
        ("prompts:\n  a: [x]\n  b:\n    - y\n    - ''\n", 7, "empty prompt"),
        ("prompts:\n  a: [x]\n  b:\n    - y\n    -\n", 7, "empty prompt"),
        ("prompts:\n  a: [x]\n  b:\n    - y\n    - ' X'\n", 7, "stands in 'a' already"),
        ("prompts:\n  a: [x]\n  a: [y]\n", 5, "'a' stands twice"),
        ("prompts:\n  a: [x]\n  b:\n    - a [CLS] face\n", 6, "unfilled"),
        ("prompts:\n  a: [x]\n  b: y\n", 5, "expected a list"),
        ("prompts:\n  a: [x]\n  b: [42]\n", 5, "quote"),
        ("prompts:\n  a: [x]\n  no: [y]\n", 5, "quote"),
        ("prompts: [x]\n", 3, "pairs"),
        ("prompts: {}\n", None, "no class"),
        ("prompts:\n  a: [x]\nclasses: [a, b]\n", 5, "missing: b"),
        ("prompts:\n  a: [x]\n  c: [y]\nclasses: [a]\n", 6, "not declared: c"),
        ("templates: [a face]\nclasses: [a]\n", 3, "has no"),
        ("templates: ['[CLS]']\n", 3, "needs 'classes'"),
        ("templates: ['[CLS]']\nclasses: [a, a]\n", 4, "twice"),
        ("templates: ['[CLS]']\nprompts: {a: [x]}\nclasses: [a]\n", None, "exactly one"),
        ("", None, "exactly one"),
        ("promts:\n  a: [x]\n", 3, "unknown key 'promts'"),
        ("prompts: {a: [x}\n", 3, "not YAML"),
        ("prompts: {a: [x]}\n--- \nb: 1\n", 4, "not YAML"),
    ],
)
def test_faults_name_file_and_line(file, text, line, match):
    path = file(text)
    with pytest.raises(PromptError, match=match) as caught:
        load_prompt_set(path)
    assert caught.value.path == str(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("", "empty"),
        ("provenance: {source: a, date: b, generated_by: c}\nprompts: {a: [x]}\n", "'name' is missing"),
        ("name: a\nprompts: {a: [x]}\n", "'provenance' is missing"),
        ("name: a\nprovenance: {source: a}\nprompts: {a: [x]}\n", "must have source, date, generated_by"),
        ("- a\n", "pairs"),
        ("\x00", "not YAML"),
    ],
)
def test_heads_at_fault(file, head, match):
    with pytest.raises(PromptError, match=match):
        load_prompt_set(file("", head))


def test_not_utf8(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(PromptError, match="UTF-8"):
        load_prompt_set(path)


def test_no_such_set():
    with pytest.raises(PromptError, match="none of the prompt sets basic_expressions,"):
        load_prompt_set("no_such_set")


@pytest.mark.parametrize(
    "prompts", [{}, {"a": ()}, {"a": ("",)}, {"a": ("x", "x")}, {"a": ("x",), "b": ("X",)}, {" ": ("x",)}]
)
def test_a_set_made_in_python_is_checked_too(prompts):
    with pytest.raises(PromptError, match="'mine'"):
        PromptSet(name="mine", provenance=PROVENANCE, prompts=prompts)


GENERATION = Generation(
    model="stub",
    answered_by=("stub-1.2",),
    endpoint="http://localhost:8000/v1",
    system="You describe faces: briefly.",
    instruction='The class is "[CLS]".\nAnswer with JSON: {"[CLS]": ["..."]}',
    asked_per_class=3,
    kept={"pain": 2, "no": 1},
    num_duplicates=1,
    num_surplus=0,
    temperature=0.7,
    seed=5,
)


def generated(**changes) -> PromptSet:
    generation = Generation(**vars(GENERATION) | changes)
    provenance = Provenance(source="me", date="2026-11-23", generated_by="stub", generation=generation)
    prompts = {"pain": ("a face: in pain", "# 'hurt'"), "no": ("yes",)}
    return PromptSet(name="on", provenance=provenance, prompts=prompts)


@pytest.mark.parametrize("changes", [{}, {"temperature": None, "seed": None}, {"temperature": 1.0, "answered_by": ()}])
def test_a_set_reads_back_as_it_was_written(tmp_path, changes):
    path = tmp_path / "new" / "folder" / "on.yaml"
    prompt_set = generated(**changes)
    write_prompt_file(prompt_set, path)
    assert load_prompt_set(path) == prompt_set
    assert yaml.safe_load(path.read_text())["provenance"]["generation"]["seed"] == prompt_set.provenance.generation.seed
    assert [file.name for file in path.parent.iterdir()] == ["on.yaml"]


@pytest.mark.parametrize("name", available_prompt_sets())
def test_a_set_of_the_package_reads_back_too(tmp_path, name):
    prompt_set = load_prompt_set(name)
    write_prompt_file(prompt_set, tmp_path / "copy.yaml")
    copy = load_prompt_set(tmp_path / "copy.yaml")
    assert copy == prompt_set
    assert list(copy.prompts.items()) == list(prompt_set.prompts.items()), "in the same order"


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and "[cls]" not in text.lower()
)


def without_duplicates(prompts: dict[str, tuple[str, ...]]) -> bool:
    texts = [" ".join(text.lower().split()) for group in prompts.values() for text in group]
    return len(set(texts)) == len(texts)


@given(
    prompts=st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).filter(
        without_duplicates
    )
)
def test_any_words_read_back(tmp_path_factory, prompts):
    path = tmp_path_factory.mktemp("words") / "set.yaml"
    prompt_set = PromptSet(name="x", provenance=PROVENANCE, prompts=prompts)
    write_prompt_file(prompt_set, path)
    assert load_prompt_set(path) == prompt_set


@pytest.mark.parametrize("text", [" a face", "a\x85face"])
def test_what_would_not_read_back_is_not_written(tmp_path, text):
    path = tmp_path / "set.yaml"
    path.write_text("old")
    with pytest.raises(PromptError, match="'x' cannot be written"):
        write_prompt_file(PromptSet(name="x", provenance=PROVENANCE, prompts={"a": (text,)}), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["set.yaml"]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("seed: 5", "seed: five", "whole number"),
        ("temperature: 0.7", "temperature: warm", "a number"),
        ("model: stub", "modell: stub", "'generation' must have model, .* got modell"),
        ("    kept:\n", "    kept: 3\n    x:\n", "must have"),
        ("pain: 2", "pain: two", "whole number"),
        ("num_surplus: 0", "num_surplus: 0.5", "whole number"),
    ],
)
def test_a_generation_at_fault_names_the_line(tmp_path, old, new, match):
    path = tmp_path / "set.yaml"
    write_prompt_file(generated(), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(PromptError, match=match) as caught:
        load_prompt_set(path)
    assert caught.value.line is not None


def test_a_source_knows_the_line_of_every_prompt():
    for name in available_prompt_sets():
        source = read_prompt_source(find_prompt_file(name))
        lines = source.path.read_text().splitlines()
        assert source.prompt_set() == load_prompt_set(name)
        for class_name, texts in source.prompts.items():
            assert class_name in lines[source.line_of(class_name) - 1]
            for position, text in enumerate(texts):
                written = lines[source.line_of(class_name, position) - 1].strip()
                assert written in (f"- {text}", f"- {text}".replace(class_name, "[CLS]"))
        assert lines[source.line_of(None) - 1] in ("prompts:", "templates:")
