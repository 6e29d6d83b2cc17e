"""The check of prompt sets, with a tower whose directions are the words."""

from __future__ import annotations

import numpy as np
import pytest

from builders_prompts import HEAD, WordTower
from smilevlm.errors import PromptError
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.prompts import (
    MiniLmTextTower,
    available_prompt_sets,
    check_prompts,
    embed_prompts,
    find_prompt_file,
    read_prompt_source,
    sample_prompts,
)
from smilevlm.prompts.checking import SEVERITIES

TOWER = WordTower(["pain", "calm", "joy"])
SOUND = """prompts:
  pain:
    - pain on a face
    - a face in pain
  calm:
    - calm on this face
    - this calm face
"""


@pytest.fixture
def check(tmp_path):
    """Check a file; gives the report, and asserts that every finding names the file and a line of it."""

    def run(text: str, tower=TOWER, **options):
        path = tmp_path / "mine.yaml"
        path.write_text(HEAD + text)
        report = check_prompts(read_prompt_source(path), tower, **options)
        for finding in report.findings:
            assert finding.path == path
            assert 1 <= finding.line <= len((HEAD + text).splitlines())
        return report

    return run


def found(report) -> list[tuple[str, int, str | None]]:
    return [(finding.kind, finding.line, finding.class_name) for finding in report.findings]


def of_kind(report, kind: str) -> list:
    return [finding for finding in report.findings if finding.kind == kind]


def test_a_sound_set_has_no_findings(check):
    report = check(SOUND)
    assert report.faults == ()
    assert dict(report.num_prompts) == {"pain": 2, "calm": 2}
    assert (report.token_limit, report.most_tokens) == (12, 6)
    assert report.similarities.shape == (2, 2)
    np.testing.assert_allclose(np.diag(report.similarities), 1)
    assert report.similarities[0, 1] < 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompts: {}\n", ("no_class", 3, None)),
        ("prompts:\n  pain: []\n  calm: [calm]\n", ("no_prompt", 4, "pain")),
        ("prompts:\n  pain: ['', pain, in pain]\n", ("empty", 4, "pain")),
        ("prompts:\n  pain: ['[CLS]', pain, in pain]\n", ("unfilled", 4, "pain")),
        ("prompts:\n  '': [calm, in calm]\n", ("class_name", 4, "")),
    ],
)
def test_what_cannot_be_loaded_is_found(check, text, expected):
    report = check(text)
    assert [(fault.kind, fault.line, fault.class_name) for fault in report.faults] == [expected]


@pytest.mark.parametrize(
    "twin", ["pain on a face", "Pain  on a FACE", "pain, on a face!", "\"'pain' on a face...\"", "pain_on-a face"]
)
@pytest.mark.parametrize(("line", "class_name"), [(7, "pain"), (10, "calm")])
def test_duplicates_within_and_across_classes(check, twin, line, class_name):
    lines = (HEAD + SOUND).splitlines()
    lines.insert(line - 1, f"    - {twin}")
    (fault,) = of_kind(check("\n".join(lines[2:])), "duplicate")
    assert (fault.line, fault.class_name, fault.severity) == (line, class_name, "fault")
    assert "line 5, of 'pain'" in fault.message or "stands in 'pain' already" in fault.message


def test_near_duplicates_are_remarks(check):
    report = check(SOUND + "  joy:\n    - much joy\n    - great joy\n    - joy on a face like this\n")
    remarks = [remark for remark in of_kind(report, "near_duplicate") if remark.class_name == "joy"]
    assert [(remark.line, remark.text, remark.severity) for remark in remarks] == [(12, "great joy", "remark")]
    assert "nearly the same as 'much joy' of 'joy', line 11 (cosine 1.00)" in remarks[0].message


def test_missing_classes(check):
    report = check(SOUND, classes=["pain", "joy", "calm", "fear"])
    assert [(fault.kind, fault.line, fault.class_name) for fault in report.faults] == [
        ("missing_class", 3, "joy"),
        ("missing_class", 3, "fear"),
    ]
    assert report.classes == ("pain", "calm")


def test_declared_classes(check):
    report = check("prompts:\n  pain: [pain, a pain]\n  calm: [calm]\n  joy: [joy]\nclasses: [pain, joy, fear]\n")
    assert [(fault.kind, fault.line, fault.class_name) for fault in report.faults] == [
        ("undeclared_class", 5, "calm"),
        ("missing_class", 7, "fear"),
    ]


def test_classes_that_were_not_asked_for_are_not_compared(check):
    text = SOUND + "  joy:\n    - pain in a face\n    - this is a calm face\n"
    assert {fault.class_name for fault in check(text).faults} >= {"joy"}
    report = check(text, classes=["calm", "pain"])
    assert report.faults == ()
    assert ("left_out", 10, "joy") in found(report)
    assert report.classes == ("calm", "pain")


def test_a_class_asked_for_twice(check):
    with pytest.raises(PromptError, match="twice"):
        check(SOUND, classes=["pain", "pain"])


def test_prompts_past_the_token_limit(check):
    report = check(SOUND + "    - calm" + " so" * 9 + "\n    - calm" + " so" * 10 + "\n")
    (fault,) = of_kind(report, "too_long")
    assert fault.line == 11
    assert "has 13 tokens, the tower reads 12" in fault.message
    assert report.most_tokens == 13


def test_a_prompt_nearer_to_another_class(check):
    report = check(SOUND + "    - a face in great pain\n")
    (fault,) = [fault for fault in report.faults if fault.line == 10]
    assert (fault.kind, fault.class_name) == ("nearer_to_another", "calm")
    assert fault.message.startswith("'a face in great pain' is nearer to 'pain' (cosine ")


def test_a_prompt_does_not_speak_for_itself(check):
    # Counted in its own class's mean, 'joy joy joy' would be nearest to it.
    text = "prompts:\n  calm:\n    - joy joy joy\n    - calm\n  joy:\n    - joy calm\n    - joy\n"
    assert ("nearer_to_another", 5, "calm") in found(check(text))


def test_a_single_prompt_cannot_be_placed(check):
    report = check("prompts:\n  pain: [pain, a pain]\n  calm:\n    - calm\n")
    assert ("single_prompt", 6, "calm") in found(report)
    assert report.faults == ()


def test_close_classes_are_remarks(check):
    text = "prompts:\n  pain: [pain, a pain]\n  calm: [calm joy, a calm joy]\n  joy: [joy calm joy, a joy calm joy]\n"
    (remark,) = of_kind(check(text), "close_classes")
    assert (remark.line, remark.class_name, remark.severity) == (6, "joy", "remark")
    assert "'calm' and 'joy' are close (cosine " in remark.message


def test_prompts_without_a_direction(check):
    report = check("prompts:\n  a: [on a face]\n  b: [in a face]\n")
    assert found(report) == [("no_direction", 3, None)]
    assert report.similarities is None


def test_a_set_of_one_prompt_is_not_compared(check):
    report = check("prompts:\n  pain: [pain]\n")
    assert report.similarities is None
    assert report.findings == ()


def test_templates_go_the_whole_way(check):
    text = "templates:\n  - a [CLS] face\n  - this face, [CLS]\nclasses:\n  - pain\n  - calm\n"
    report = check(text)
    assert report.faults == ()
    assert dict(report.num_prompts) == {"pain": 2, "calm": 2}
    long = of_kind(check(text.replace("this face", "so " * 12)), "too_long")
    assert [(fault.line, fault.class_name) for fault in long] == [(5, "pain"), (5, "calm")]


def test_micro_expressions_go_the_whole_way():
    source = read_prompt_source(find_prompt_file("micro_expressions"))
    prompt_set, tower = source.prompt_set(), WordTower(MICRO_EXPRESSIONS)
    drawn = sample_prompts(MICRO_EXPRESSIONS, prompt_set, mode="class", generator=np.random.default_rng(0))
    assert [prompt_set.texts[index] for index in drawn] == [
        f"a face with {name} micro expression" for name in MICRO_EXPRESSIONS
    ]
    cosines = embed_prompts(prompt_set, tower).centred @ embed_prompts(prompt_set, tower).centred.T
    np.testing.assert_allclose(check_prompts(source, tower).similarities, cosines, atol=1e-6)
    assert check_prompts(source, tower, classes=MICRO_EXPRESSIONS).faults == ()


def test_every_kind_is_a_fault_or_a_remark():
    assert set(SEVERITIES.values()) == {"fault", "remark"}


@pytest.mark.parametrize("name", available_prompt_sets())
def test_the_sets_of_the_package_are_sound(name):
    report = check_prompts(read_prompt_source(find_prompt_file(name)), MiniLmTextTower())
    assert report.faults == ()
    assert {finding.kind for finding in report.remarks} <= {"single_prompt", "close_classes"}
