"""Whether a text tower tells apart what the phrases of captions say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from smilevlm.prompts.checking import Severity
from smilevlm.prompts.embeddings import centre_and_normalise
from smilevlm.prompts.phrase_bank import PhraseBank
from smilevlm.prompts.statements import LanguageStatements
from smilevlm.prompts.text_tower import TextTower

HARDLY_SEPARATED = 0.5
"""Cosine of two centred texts that contradict each other from which they are remarked on: paraphrases of one action lie
at 0.3 to 0.7 in MiniLM."""
PhraseFindingKind = Literal["nearer_to_another", "hardly_separated", "too_long"]


@dataclass(frozen=True, kw_only=True)
class PhraseFinding:
    """One thing that the check found.

    Args:
        kind: `nearer_to_another`: a text is nearer to the mean of another action's phrases than to that of its own, the
            text itself left out. `hardly_separated`: a text and its contrary have a cosine of `HARDLY_SEPARATED` or
            more. `too_long`: the tower does not read it to its end.
        text: The phrase or statement.
        held_out: Whether captions never have it.
        action: That it is about.
        other: The other action, or the contrary text; empty for `too_long`.
        cosine: With `other`; tokens for `too_long`.
        own_cosine: With the phrases of its own action; None where it was not asked for.
    """

    kind: PhraseFindingKind
    text: str
    held_out: bool
    action: str
    other: str = ""
    cosine: float = 0.0
    own_cosine: float | None = None

    @property
    def severity(self) -> Severity:
        return "fault" if self.kind == "too_long" else "remark"

    @property
    def message(self) -> str:
        """For people."""
        quoted = f"{'held-out ' * self.held_out}{self.text!r} of {self.action}"
        if self.kind == "too_long":
            return f"{quoted} has {self.cosine:.0f} tokens, more than the tower reads"
        if self.kind == "hardly_separated":
            return f"{quoted} is hardly separated from {self.other!r} (cosine {self.cosine:.2f})"
        return f"{quoted} is nearer to {self.other} (cosine {self.cosine:.2f}) than to its own ({self.own_cosine:.2f})"


@dataclass(frozen=True, kw_only=True)
class PhraseReport:
    """What the check of the phrases came to.

    Args:
        num_phrases: Phrases that were looked at.
        num_statements: Held-out statements that were looked at.
        num_opposites: Pairs of texts that contradict each other.
        num_sides: Pairs of texts that differ in left and right alone.
        side_cosine: Mean cosine of these; near 1 where the tower does not tell left from right.
        findings: In the order of the actions.
        bound: Cosine of opposites from which they are remarked on.
    """

    num_phrases: int
    num_statements: int
    num_opposites: int
    num_sides: int
    side_cosine: float
    findings: tuple[PhraseFinding, ...]
    bound: float = HARDLY_SEPARATED

    @property
    def faults(self) -> tuple[PhraseFinding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    def count(self, kind: PhraseFindingKind, *, held_out: bool | None = None) -> int:
        """Findings of a kind, about all texts or about held-out or other ones alone."""
        return sum(each.kind == kind and held_out in (None, each.held_out) for each in self.findings)


@dataclass(frozen=True)
class _Text:
    text: str
    action: str
    held_out: bool


def check_phrases(bank: PhraseBank, statements: LanguageStatements, tower: TextTower) -> PhraseReport:
    """Hold phrases and held-out statements against the means of all actions' phrases, and opposites against each other.

    All are centred on the mean over the phrases, each action counting once.

    Args:
        bank: The phrases of captions, looked at without words of strength and side.
        statements: In held-out wordings.
        tower: Embeds them.
    """
    phrases = [_Text(text, code, False) for code in bank.actions for text in bank.written_out(code)]
    sentences = [_Text(text, code, True) for code, texts in statements.actions.items() for text in texts]
    codes = list(bank.actions)
    owners = np.array([codes.index(each.action) for each in phrases])
    raw = tower.encode([each.text for each in phrases])
    mean = np.mean([raw[owners == row].mean(axis=0) for row in range(len(codes))], axis=0)

    def embedded(texts: Sequence[str]) -> Float64[np.ndarray, "text dim"]:
        return centre_and_normalise(tower.encode(list(texts)), mean).astype(np.float64)

    def cosines_of(pairs: Sequence[tuple[_Text, str]]) -> Float64[np.ndarray, " pair"]:
        return (embedded([each.text for each, _ in pairs]) * embedded([other for _, other in pairs])).sum(axis=1)

    texts = [*phrases, *sentences]
    findings = [
        PhraseFinding(kind="too_long", cosine=number, **vars(each))
        for each in texts
        if (number := tower.count_tokens(each.text)) > tower.token_limit
    ]
    directions = embedded([each.text for each in texts])
    sums = np.stack([directions[: len(phrases)][owners == row].sum(axis=0) for row in range(len(codes))])
    findings += [*_misplaced(texts, directions, sums, codes)]
    pairs, sides = list(_opposites(bank, statements)), list(_sides(bank, statements))
    findings += [
        PhraseFinding(kind="hardly_separated", other=other, cosine=float(cosine), **vars(each))
        for (each, other), cosine in zip(pairs, cosines_of(pairs), strict=True)
        if cosine >= HARDLY_SEPARATED
    ]
    return PhraseReport(
        num_phrases=len(phrases),
        num_statements=len(sentences),
        num_opposites=len(pairs),
        num_sides=len(sides),
        side_cosine=float(cosines_of(sides).mean()),
        findings=tuple(sorted(findings, key=lambda finding: codes.index(finding.action))),
    )


def _misplaced(
    texts: Sequence[_Text],
    directions: Float64[np.ndarray, "text dim"],
    sums: Float64[np.ndarray, "action dim"],
    codes: Sequence[str],
) -> Iterator[PhraseFinding]:
    for each, direction in zip(texts, directions, strict=True):
        row = codes.index(each.action)
        others = sums.copy()
        if not each.held_out:
            others[row] -= direction
        cosines = others @ direction / np.linalg.norm(others, axis=1)
        best = int(cosines.argmax())
        if best != row:
            near, own = float(cosines[best]), float(cosines[row])
            yield PhraseFinding(kind="nearer_to_another", other=codes[best], cosine=near, own_cosine=own, **vars(each))


def _opposites(bank: PhraseBank, statements: LanguageStatements) -> Iterator[tuple[_Text, str]]:
    """Texts that contradict each other: held-out pairs, and phrases of opposite actions in turn."""
    for pair in statements.opposites:
        yield _Text(pair.text, pair.action, True), pair.opposite
        if pair.opposite_action is not None:
            written = (bank.written_out(pair.action), bank.written_out(pair.opposite_action))
            yield from ((_Text(text, pair.action, False), other) for text, other in zip(*written, strict=False))


def _sides(bank: PhraseBank, statements: LanguageStatements) -> Iterator[tuple[_Text, str]]:
    for code, (left, right) in statements.one_sided.items():
        yield _Text(left, code, True), right
    for code, words in bank.actions.items():
        for phrase in words.one_sided.phrases:
            left, right = (bank.fill(phrase, side=side) for side in ("left", "right"))
            yield _Text(left, code, False), right
