"""Captions: what a face does, in a sentence made of the phrase bank."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from smilevlm.errors import SettingsError
from smilevlm.labels import FACIAL_ACTIONS, LEAST_INTENSITY, ActionIntensities, Side, side_of
from smilevlm.prompts.phrase_bank import PhraseBank, Strength, Words, phrase_bank

SLIGHT_BELOW = 0.3
STRONG_ABOVE = 0.7
_NUM_REFERENCES = 400
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How captions are drawn; all shares are probabilities.

    Args:
        most_actions: A caption mentions one action to this many.
        least_intensity: Of the stronger side, from which an action is mentioned.
        strongest_share: The strongest actions are mentioned, strongest first; otherwise any, in any order.
        combination_share: Actions that have words in common are said with them.
        strength_share: A strong action is called so. A slight one always is.
        side_share: Of an action on one side, which side it is is said, and not only that it is one.
        absent_share: Something that the face does not do is said, too.
    """

    most_actions: int = 5
    least_intensity: float = 0.1
    strongest_share: float = 0.5
    combination_share: float = 0.5
    strength_share: float = 0.75
    side_share: float = 0.7
    absent_share: float = 0.2

    def __post_init__(self) -> None:
        if self.most_actions < 1:
            raise SettingsError(f"most_actions is {self.most_actions}; expected 1 or more")
        if not LEAST_INTENSITY <= self.least_intensity <= 1:
            raise SettingsError(f"least_intensity is {self.least_intensity}; expected {LEAST_INTENSITY} to 1")
        for name in ("strongest_share", "combination_share", "strength_share", "side_share", "absent_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 0 to 1")


@dataclass(frozen=True)
class Caption:
    """A sentence, and the actions that it mentions in its order."""

    text: str
    actions: tuple[str, ...]


@dataclass(frozen=True)
class _Unit:
    """What is said in one phrase; `side` is told in the words of `one_sided` actions alone."""

    codes: tuple[str, ...]
    words: Words
    strength: Strength
    intensity: float
    side: Side = "both"


def make_caption(
    actions: ActionIntensities,
    generator: np.random.Generator,
    *,
    settings: CaptionSettings | None = None,
    bank: PhraseBank | None = None,
    coded: Collection[str] | None = None,
) -> Caption:
    """Draw a caption of a face.

    Args:
        actions: What the face does; none of it is a face at rest.
        generator: Source of chance; the same state, the same caption.
        settings: How captions are drawn.
        bank: Phrases; those of the package by default.
        coded: Actions that would be listed if they were there, where these are not all: what a caption says is absent
            is among them.

    Raises:
        SettingsError: An action is not known.
    """
    settings, bank = settings or CaptionSettings(), bank or phrase_bank()
    if unknown := [code for code in actions if code not in FACIAL_ACTIONS]:
        raise SettingsError(f"{unknown[0]!r} is no facial action; known are {', '.join(FACIAL_ACTIONS)}")
    units = _chosen(_units(actions, generator, settings, bank), generator, settings)
    mentioned = tuple(code for unit in units for code in unit.codes)
    told = set(FACIAL_ACTIONS if coded is None else coded)
    present = {code for code, sides in actions.items() if max(sides) >= LEAST_INTENSITY}
    fitting = [each for each in bank.absent if not present & set(each.actions) and told >= set(each.actions)]
    # Where only some actions were looked for, a face without these is not said to be at rest as a whole.
    if not units and not (told < set(FACIAL_ACTIONS) and fitting):
        return Caption(_pick(bank.rest, generator), ())
    if fitting and (not units or generator.random() < settings.absent_share):
        units.append(_Unit((), _pick(fitting, generator), "plain", 0.0))
    return Caption(_joined(units, generator, settings, bank), mentioned)


def caption(actions: ActionIntensities, generator: np.random.Generator) -> str:
    """The text of `make_caption` with everything as by default."""
    return make_caption(actions, generator).text


def draw_captions(
    actions: ActionIntensities,
    generator: np.random.Generator,
    number: int,
    *,
    settings: CaptionSettings | None = None,
    coded: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Captions of one face, each drawn for itself; see `make_caption`."""
    return tuple(make_caption(actions, generator, settings=settings, coded=coded).text for _ in range(number))


def reference_captions() -> tuple[str, ...]:
    """Captions of faces with one action to four, always the same: their mean is what captions have in common."""
    generator = np.random.default_rng(0)
    captions = []
    for number in range(_NUM_REFERENCES):
        codes = generator.choice(list(FACIAL_ACTIONS), 1 + number % 4, replace=False).tolist()
        intensities = generator.uniform(LEAST_INTENSITY, 1, len(codes)).tolist()
        face = {code: (intensity, intensity) for code, intensity in zip(codes, intensities, strict=True)}
        captions.append(make_caption(face, generator).text)
    return tuple(captions)


def strength_of(intensity: float) -> Strength:
    """How an intensity is called."""
    if intensity < SLIGHT_BELOW:
        return "slight"
    return "strong" if intensity > STRONG_ABOVE else "plain"


def _units(
    actions: ActionIntensities, generator: np.random.Generator, settings: CaptionSettings, bank: PhraseBank
) -> list[_Unit]:
    """Everything that could be said, strongest first."""
    left = {code: sides for code in bank.actions
            if max(sides := actions.get(code, (0.0, 0.0))) >= settings.least_intensity}  # fmt: skip
    for code, others in bank.implied.items():
        if code in left and len(together := [each for each in (code, *others) if each in left]) > 1:
            # Any of them: what is never said of an open mouth would come to mean a closed one.
            said = _pick(together, generator)
            left = {each: sides for each, sides in left.items() if each == said or each not in together}
    units = []
    if generator.random() < settings.combination_share:
        both = {code for code, sides in left.items() if side_of(*sides) == "both" and max(sides) >= SLIGHT_BELOW}
        fitting = [joint for joint in bank.combinations
                   if both >= set(joint.actions) and len(joint.actions) <= settings.most_actions]  # fmt: skip
        if fitting:
            joint = _pick(fitting, generator)
            weakest = min(max(left.pop(code)) for code in joint.actions)
            units.append(_Unit(joint.actions, joint, strength_of(weakest), weakest))
    for code, sides in left.items():
        side, words = side_of(*sides), bank.actions[code]
        # The plain words of a movement to one side are true whichever side it is.
        may_be_plain = FACIAL_ACTIONS[code].toward and generator.random() >= settings.side_share
        one_sided = side != "both" and bool(words.one_sided.phrases) and not may_be_plain
        strength = strength_of(max(sides))
        units.append(
            _Unit((code,), words.one_sided, strength, max(sides), side)
            if one_sided
            else _Unit((code,), words, strength, max(sides))
        )
    return sorted(units, key=lambda unit: -unit.intensity)


def _chosen(units: list[_Unit], generator: np.random.Generator, settings: CaptionSettings) -> list[_Unit]:
    """Those that are said, in their order."""
    if not units:
        return []
    if generator.random() >= settings.strongest_share:
        units = [units[int(index)] for index in generator.permutation(len(units))]
    number = int(generator.integers(1, min(len(units), settings.most_actions) + 1))
    chosen: list[_Unit] = []
    for unit in units[:number]:
        if sum(len(each.codes) for each in (*chosen, unit)) <= settings.most_actions:
            chosen.append(unit)
    return chosen


def _joined(units: Sequence[_Unit], generator: np.random.Generator, settings: CaptionSettings, bank: PhraseBank) -> str:
    """The phrases of the units in a template."""
    kinds: tuple[Literal["nouns", "clauses", "both"], ...] = ("nouns", "clauses", "both")
    kind = kinds[int(generator.integers(3 if len(units) > 1 else 2))]
    template = _pick(getattr(bank.templates, kind), generator)
    split = {"nouns": len(units), "clauses": 0, "both": int(generator.integers(1, max(len(units), 2)))}[kind]
    said = [
        _said(unit, unit.words.nouns if place < split else unit.words.clauses, generator, settings, bank)
        for place, unit in enumerate(units)
    ]
    return template.format(nouns=_listed(said[:split]), clauses=_listed(said[split:]))


def _said(
    unit: _Unit,
    phrases: Sequence[str],
    generator: np.random.Generator,
    settings: CaptionSettings,
    bank: PhraseBank,
) -> str:
    strength = unit.strength
    if strength == "slight":
        # Without a word of strength a phrase such as "closed eyes" would be wrong.
        phrases = [phrase for phrase in phrases if bank.has_degree(phrase)]
    phrase = _pick(phrases, generator)
    degree = None
    if strength == "slight" or (strength == "strong" and generator.random() < settings.strength_share):
        words = {slot: getattr(degrees, strength) for slot, degrees in bank.degrees.items()}
        degree = {slot: _pick(each, generator) for slot, each in words.items()}
    names_side = generator.random() < settings.side_share
    return bank.fill(phrase, degree, unit.side if names_side or unit.side == "both" else "one")


def _listed(phrases: Sequence[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _pick(items: Sequence[_Item], generator: np.random.Generator) -> _Item:
    return items[int(generator.integers(len(items)))]
