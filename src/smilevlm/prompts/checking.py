"""Whether a prompt set is sound: complete, no duplicates, short enough, each prompt nearest to its own class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from smilevlm.errors import PromptError
from smilevlm.prompts.embeddings import centre_and_normalise
from smilevlm.prompts.prompt_set import CLASS_SLOT, find_faults, wording
from smilevlm.prompts.text_tower import TextTower
from smilevlm.prompts.yaml_file import PromptSource

NEAR_DUPLICATE = 0.9
"""Cosine of two centred prompts from which they say the same. Paraphrases of one class lie at 0.4 to 0.7 in MiniLM."""
CLOSE_CLASSES = 0.3
"""Cosine of two class prototypes from which they are remarked on; those of the paper's Table I stay below 0.05."""
_SMALLEST_NORM = 1e-6

Severity = Literal["fault", "remark"]
_FAULTS = (
    "no_class", "class_name", "no_prompt", "empty", "unfilled", "missing_class", "undeclared_class", "duplicate",
    "too_long", "no_direction", "nearer_to_another",
)  # fmt: skip
_REMARKS = ("left_out", "near_duplicate", "single_prompt", "close_classes")
SEVERITIES: Mapping[str, Severity] = {**dict.fromkeys(_FAULTS, "fault"), **dict.fromkeys(_REMARKS, "remark")}
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
    """
    if classes is not None and len(set(classes)) != len(classes):
        raise PromptError(f"a class is asked for twice: {', '.join(classes)}")
    wanted = source.declared if classes is None else classes
    chosen = [name for name in (source.prompts if wanted is None else wanted) if source.prompts.get(name)]
    prompts = [prompt for prompt in _usable_prompts(source) if prompt.class_name in chosen]
    prompts.sort(key=lambda prompt: chosen.index(prompt.class_name))
    num_tokens = [tower.count_tokens(prompt.text) for prompt in prompts]
    check = _Check(source)
    check.coverage(classes)
    check.form()
    check.lengths(prompts, num_tokens, tower.token_limit)
    similarities = None
    if len(prompts) > 1:
        try:
            directions = _directions(prompts, tower)
        except PromptError as error:
            check.add("no_direction", error.message)
        else:
            similarities = check.directions(prompts, directions, chosen)
    return PromptReport(
        path=source.path,
        name=source.name,
        num_prompts={name: sum(prompt.class_name == name for prompt in prompts) for name in chosen},
        token_limit=tower.token_limit,
        most_tokens=max(num_tokens, default=0),
        similarities=similarities,
        findings=tuple(sorted(check.findings, key=lambda finding: finding.line)),
    )


class _Check:
    """Collects the findings on one file."""

    def __init__(self, source: PromptSource) -> None:
        self.findings: list[Finding] = []
        self._source = source

    def add(
        self,
        kind: str,
        message: str,
        class_name: str | None = None,
        position: int | None = None,
        *,
        line: int | None = None,
    ) -> None:
        """Add a finding on the set, on a class, or on the prompt at a position of it."""
        text = None
        if class_name is not None and position is not None:
            text = self._source.prompts[class_name][position]
        self.findings.append(
            Finding(
                kind=kind,
                message=message,
                path=self._source.path,
                line=self._source.line_of(class_name, position) if line is None else line,
                class_name=class_name,
                text=text,
            )
        )

    def coverage(self, classes: Sequence[str] | None) -> None:
        """Classes that are missing, not declared, or not asked for."""
        source = self._source
        for wanted, line in ((classes, None), (source.declared, source.declared_line)):
            for name in wanted or ():
                if name not in source.prompts:
                    message = f"class {name!r} has no prompts; the set has {', '.join(source.prompts) or 'none'}"
                    self.add("missing_class", message, name, line=line or source.line_of())
        for name in source.prompts:
            if source.declared is not None and name not in source.declared:
                self.add("undeclared_class", f"class {name!r} is not among the file's 'classes'", name)
            elif classes is not None and name not in classes:
                self.add("left_out", f"class {name!r} was not asked for; its prompts were not embedded", name)

    def form(self) -> None:
        """What keeps the file from being loaded, then the duplicates that loading lets pass."""
        faults = list(find_faults(self._source.prompts))
        for fault in faults:
            self.add(fault.kind, fault.message, fault.class_name, fault.position)
        reported = {(fault.class_name, fault.position) for fault in faults}
        first_of: dict[str, _Prompt] = {}
        for prompt in _usable_prompts(self._source):
            first = first_of.setdefault(wording(prompt.text), prompt)
            if first is not prompt and (prompt.class_name, prompt.position) not in reported:
                where = self._source.line_of(first.class_name, first.position)
                message = f"{prompt.text!r} differs in punctuation alone from line {where}, of {first.class_name!r}"
                self.add("duplicate", message, prompt.class_name, prompt.position)

    def lengths(self, prompts: Sequence[_Prompt], num_tokens: Sequence[int], limit: int) -> None:
        """Prompts that the tower does not read to their end."""
        for prompt, number in zip(prompts, num_tokens, strict=True):
            if number > limit:
                message = f"{prompt.text!r} has {number} tokens, the tower reads {limit}"
                self.add("too_long", message, prompt.class_name, prompt.position)

    def directions(
        self, prompts: Sequence[_Prompt], directions: Float64[np.ndarray, "prompt dim"], classes: Sequence[str]
    ) -> Float64[np.ndarray, "class class"]:
        """What the embeddings tell; gives the cosines between the prototypes of the classes."""
        owners = np.array([classes.index(prompt.class_name) for prompt in prompts])
        # The sum of a class's prompts has the direction of its prototype.
        sums = np.stack([directions[owners == index].sum(axis=0) for index in range(len(classes))])
        self._near_duplicates(prompts, directions @ directions.T)
        self._misplaced(prompts, directions, owners, sums, classes)
        prototypes = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _SMALLEST_NORM)
        similarities = prototypes @ prototypes.T
        for later, earlier in np.argwhere(np.tril(similarities, -1) >= CLOSE_CLASSES).tolist():
            name, other = classes[later], classes[earlier]
            message = f"classes {other!r} and {name!r} are close (cosine {similarities[later, earlier]:.2f})"
            self.add("close_classes", message, name)
        return similarities

    def _near_duplicates(self, prompts: Sequence[_Prompt], cosines: Float64[np.ndarray, "prompt prompt"]) -> None:
        for later, earlier in np.argwhere(np.tril(cosines, -1) >= NEAR_DUPLICATE).tolist():
            prompt, other = prompts[later], prompts[earlier]
            if wording(prompt.text) != wording(other.text):
                where = self._source.line_of(other.class_name, other.position)
                message = (
                    f"{prompt.text!r} says nearly the same as {other.text!r} of {other.class_name!r}, line {where} "
                    f"(cosine {cosines[later, earlier]:.2f})"
                )
                self.add("near_duplicate", message, prompt.class_name, prompt.position)

    def _misplaced(
        self,
        prompts: Sequence[_Prompt],
        directions: Float64[np.ndarray, "prompt dim"],
        owners: Int64[np.ndarray, " prompt"],
        sums: Float64[np.ndarray, "class dim"],
        classes: Sequence[str],
    ) -> None:
        """Prompts nearer to another class than to the others of their own."""
        for prompt, direction, owner in zip(prompts, directions, owners.tolist(), strict=True):
            name = prompt.class_name
            if np.count_nonzero(owners == owner) == 1:
                message = f"class {name!r} has one prompt, so whether it is nearest to its own cannot be said"
                self.add("single_prompt", message, name, prompt.position)
                continue
            own = _cosine(direction, sums[owner] - direction)
            others = {other: _cosine(direction, sums[k]) for k, other in enumerate(classes) if k != owner}
            nearest = max(others, key=others.__getitem__, default=None)
            if nearest is not None and others[nearest] > own:
                message = (
                    f"{prompt.text!r} is nearer to {nearest!r} (cosine {others[nearest]:.2f}) than to the other "
                    f"prompts of its own class {name!r} ({own:.2f})"
                )
                self.add("nearer_to_another", message, name, prompt.position)


def _usable_prompts(source: PromptSource) -> Iterator[_Prompt]:
    """Every prompt that can be embedded."""
    for class_name, texts in source.prompts.items():
        for position, text in enumerate(texts):
            if text and CLASS_SLOT.lower() not in text.lower():
                yield _Prompt(class_name, position, text)


def _directions(prompts: Sequence[_Prompt], tower: TextTower) -> Float64[np.ndarray, "prompt dim"]:
    raw = tower.encode([prompt.text for prompt in prompts])
    mean = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centre_and_normalise(raw, mean).astype(np.float64)


def _cosine(direction: Float64[np.ndarray, " dim"], total: Float64[np.ndarray, " dim"]) -> float:
    """With the direction of a sum of prompts; 0 where they cancel out."""
    length = float(np.linalg.norm(total))
    return float(direction @ total) / length if length > _SMALLEST_NORM else 0.0
