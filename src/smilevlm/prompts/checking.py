"""Whether a prompt set is sound: complete, no duplicates, short enough, each prompt nearest to its own class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from smilevlm.errors import PromptError
from smilevlm.prompts.embeddings import centre_and_normalise
from smilevlm.prompts.prompt_set import CLASS_SLOT, find_faults, wording
from smilevlm.prompts.text_tower import TextTower
from smilevlm.prompts.yaml_file import PromptSource

NEAR_DUPLICATE = 0.9
"""Cosine of two centred prompts from which they say the same. Paraphrases of one class lie at 0.4 to 0.7 in MiniLM."""
CLOSE_CLASSES = 0.3
"""Cosine of two class prototypes from which they are remarked on; those of the paper's Table I stay below 0.05."""

Severity = Literal["fault", "remark"]
SEVERITIES: Mapping[str, Severity] = {
    "no_class": "fault",
    "class_name": "fault",
    "no_prompt": "fault",
    "empty": "fault",
    "unfilled": "fault",
    "missing_class": "fault",
    "undeclared_class": "fault",
    "duplicate": "fault",
    "too_long": "fault",
    "no_direction": "fault",
    "nearer_to_another": "fault",
    "left_out": "remark",
    "near_duplicate": "remark",
    "single_prompt": "remark",
    "close_classes": "remark",
}
"""Every kind of finding. A fault is wrong for any use of the set, a remark is for a person to judge."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the check found.

    Args:
        kind: One of `SEVERITIES`.
        message: What is wrong, with the figures it rests on.
        path: The prompt file.
        line: 1-based.
        class_name: The class it is about, None where it is about the whole set.
        text: The prompt it is about, None where it is about a class.
    """

    kind: str
    message: str
    path: Path
    line: int
    class_name: str | None = None
    text: str | None = None

    @property
    def severity(self) -> Severity:
        return SEVERITIES[self.kind]


@dataclass(frozen=True, kw_only=True)
class PromptReport:
    """What the check of a set came to.

    Args:
        path: The prompt file.
        name: What the file calls the set.
        num_prompts: Per class that was looked at; with `classes` given, of these alone.
        token_limit: Of the text tower, its own marks included.
        most_tokens: Of the longest prompt; 0 where there is none.
        similarities: Cosine of each class's prototype with each other's, in the order of `num_prompts`; None where
            the prompts have no directions to compare.
        findings: In the order of their lines.
    """

    path: Path
    name: str
    num_prompts: Mapping[str, int]
    token_limit: int
    most_tokens: int
    similarities: Float64[np.ndarray, "class class"] | None
    findings: tuple[Finding, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.num_prompts)

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    @property
    def remarks(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "remark")


class _Prompt(NamedTuple):
    class_name: str
    position: int
    text: str


def check_prompts(source: PromptSource, tower: TextTower, *, classes: Sequence[str] | None = None) -> PromptReport:
    """Check a prompt file for a text tower.

    Embeddings are compared as training compares them: centred on the mean over the prompts of the chosen classes.

    Args:
        source: The file.
        tower: Gives the token limit and the embeddings.
        classes: The classes that are needed; only their prompts are embedded. None for those that the file declares,
            or else all it has.

    Raises:
        PromptError: A class is asked for twice.
    """
    if classes is not None and len(set(classes)) != len(classes):
        raise PromptError(f"a class is asked for twice: {', '.join(classes)}")
    wanted = source.declared if classes is None else classes
    chosen = [name for name in (source.prompts if wanted is None else wanted) if source.prompts.get(name)]
    prompts = [prompt for prompt in _prompts(source) if prompt.class_name in chosen]
    prompts.sort(key=lambda prompt: chosen.index(prompt.class_name))
    findings: list[Finding] = [*_coverage(source, classes), *_form(source), *_lengths(source, prompts, tower)]
    similarities = None
    if len(prompts) > 1:
        try:
            directions = _directions(prompts, tower)
        except PromptError as error:
            findings.append(Finding(kind="no_direction", message=error.message, path=source.path, line=source.line))
        else:
            findings += [*_near_duplicates(source, prompts, directions), *_misplaced(source, prompts, directions)]
            similarities = _similarities(prompts, directions, chosen)
            findings += _close_classes(source, chosen, similarities)
    return PromptReport(
        path=source.path,
        name=source.name,
        num_prompts={name: sum(prompt.class_name == name for prompt in prompts) for name in chosen},
        token_limit=tower.token_limit,
        most_tokens=max((tower.count_tokens(prompt.text) for prompt in prompts), default=0),
        similarities=similarities,
        findings=tuple(sorted(findings, key=lambda finding: finding.line)),
    )


def _prompts(source: PromptSource) -> Iterator[_Prompt]:
    """Every prompt that can be embedded."""
    for class_name, texts in source.prompts.items():
        for position, text in enumerate(texts):
            if text and CLASS_SLOT.lower() not in text.lower():
                yield _Prompt(class_name, position, text)


def _finding(source: PromptSource, kind: str, message: str, prompt: _Prompt) -> Finding:
    return Finding(
        kind=kind,
        message=message,
        path=source.path,
        line=source.line_of(prompt.class_name, prompt.position),
        class_name=prompt.class_name,
        text=prompt.text,
    )


def _coverage(source: PromptSource, classes: Sequence[str] | None) -> Iterator[Finding]:
    for wanted, line in ((classes, source.line), (source.declared, source.declared_line)):
        for name in wanted or ():
            if name not in source.prompts:
                message = f"class {name!r} has no prompts; the set has {', '.join(source.prompts) or 'none'}"
                yield Finding(
                    kind="missing_class", message=message, path=source.path, line=line or source.line, class_name=name
                )
    for name, line in source.class_lines.items():
        if source.declared is not None and name not in source.declared:
            message = f"class {name!r} is not among the file's 'classes'"
            yield Finding(kind="undeclared_class", message=message, path=source.path, line=line, class_name=name)
        elif classes is not None and name not in classes:
            message = f"class {name!r} was not asked for; its prompts were not embedded"
            yield Finding(kind="left_out", message=message, path=source.path, line=line, class_name=name)


def _form(source: PromptSource) -> Iterator[Finding]:
    """What keeps the file from being loaded, then the duplicates that loading lets pass."""
    found: set[tuple[str, int]] = set()
    for fault in find_faults(source.prompts):
        text = None
        if fault.class_name is not None and fault.position is not None:
            found.add((fault.class_name, fault.position))
            text = source.prompts[fault.class_name][fault.position]
        line = source.line_of(fault.class_name, fault.position)
        yield Finding(
            kind=fault.kind,
            message=fault.message,
            path=source.path,
            line=line,
            class_name=fault.class_name,
            text=text,
        )
    seen: dict[str, _Prompt] = {}
    for prompt in _prompts(source):
        first = seen.setdefault(wording(prompt.text), prompt)
        if first is not prompt and (prompt.class_name, prompt.position) not in found:
            where = source.line_of(first.class_name, first.position)
            message = f"{prompt.text!r} differs in punctuation alone from line {where}, of {first.class_name!r}"
            yield _finding(source, "duplicate", message, prompt)


def _lengths(source: PromptSource, prompts: Sequence[_Prompt], tower: TextTower) -> Iterator[Finding]:
    for prompt in prompts:
        number = tower.count_tokens(prompt.text)
        if number > tower.token_limit:
            message = f"{prompt.text!r} has {number} tokens, the tower reads {tower.token_limit}"
            yield _finding(source, "too_long", message, prompt)


def _directions(prompts: Sequence[_Prompt], tower: TextTower) -> Float64[np.ndarray, "prompt dim"]:
    raw = tower.encode([prompt.text for prompt in prompts])
    mean = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centre_and_normalise(raw, mean).astype(np.float64)


def _near_duplicates(
    source: PromptSource, prompts: Sequence[_Prompt], directions: Float64[np.ndarray, "prompt dim"]
) -> Iterator[Finding]:
    cosines = directions @ directions.T
    for later, earlier in np.argwhere(np.tril(cosines, -1) >= NEAR_DUPLICATE).tolist():
        prompt, other = prompts[later], prompts[earlier]
        if wording(prompt.text) == wording(other.text):
            continue
        where = source.line_of(other.class_name, other.position)
        message = (
            f"{prompt.text!r} says nearly the same as {other.text!r} of {other.class_name!r}, line {where} "
            f"(cosine {cosines[later, earlier]:.2f})"
        )
        yield _finding(source, "near_duplicate", message, prompt)


def _misplaced(
    source: PromptSource, prompts: Sequence[_Prompt], directions: Float64[np.ndarray, "prompt dim"]
) -> Iterator[Finding]:
    """Prompts nearer to another class than to the others of their own."""
    owners = np.array([prompt.class_name for prompt in prompts])
    names = list(dict.fromkeys(owners.tolist()))
    sums = {name: directions[owners == name].sum(axis=0) for name in names}
    for prompt, direction in zip(prompts, directions, strict=True):
        if np.count_nonzero(owners == prompt.class_name) == 1:
            message = f"class {prompt.class_name!r} has one prompt, so whether it is nearest to its own cannot be said"
            yield _finding(source, "single_prompt", message, prompt)
            continue
        own = _cosine(direction, sums[prompt.class_name] - direction)
        others = {name: _cosine(direction, sums[name]) for name in names if name != prompt.class_name}
        nearest = max(others, key=others.__getitem__, default=None)
        if nearest is not None and others[nearest] > own:
            message = (
                f"{prompt.text!r} is nearer to {nearest!r} (cosine {others[nearest]:.2f}) than to the other prompts of "
                f"its own class {prompt.class_name!r} ({own:.2f})"
            )
            yield _finding(source, "nearer_to_another", message, prompt)


def _cosine(direction: Float64[np.ndarray, " dim"], total: Float64[np.ndarray, " dim"]) -> float:
    """With the prototype of a class, of which the sum of its prompts has the direction; 0 where they cancel out."""
    length = float(np.linalg.norm(total))
    return float(direction @ total) / length if length > 1e-6 else 0.0


def _similarities(
    prompts: Sequence[_Prompt], directions: Float64[np.ndarray, "prompt dim"], classes: Sequence[str]
) -> Float64[np.ndarray, "class class"]:
    owners = np.array([prompt.class_name for prompt in prompts])
    prototypes = np.stack([directions[owners == name].sum(axis=0) for name in classes])
    lengths = np.linalg.norm(prototypes, axis=1, keepdims=True)
    prototypes = prototypes / np.maximum(lengths, 1e-6)
    return prototypes @ prototypes.T


def _close_classes(
    source: PromptSource, classes: Sequence[str], similarities: Float64[np.ndarray, "class class"]
) -> Iterator[Finding]:
    for later, earlier in np.argwhere(np.tril(similarities, -1) >= CLOSE_CLASSES).tolist():
        name, other = classes[later], classes[earlier]
        message = f"classes {other!r} and {name!r} are close (cosine {similarities[later, earlier]:.2f})"
        line = source.line_of(name)
        yield Finding(kind="close_classes", message=message, path=source.path, line=line, class_name=name)
