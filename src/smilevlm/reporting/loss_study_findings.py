"""What a study of the losses says, in sentences that follow from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from smilevlm.reporting.loss_study_fusion import FUSION_MARGIN, FusionEffect
from smilevlm.reporting.loss_study_source import (
    ACCURACIES,
    CONDITION_TITLES,
    LANGUAGE,
    LEAKAGE,
    VERDICTS,
    Effect,
    LoadedLossStudy,
)
from smilevlm.reporting.table import cell_text

_IN_WORDS = {"higher": "higher with it", "lower": "lower with it", "equal": "equal", "inconclusive": "inconclusive"}


def what_was_trained(study: LoadedLossStudy) -> list[str]:
    """Whose faces, how many trainings, and what was decided beforehand."""
    values = study.study
    sentences = []
    if values.synthetic:
        sentences.append(
            "All numbers here are from synthetic faces: scans of people who do not exist, made by a program. They say "
            "what the losses do on such faces, and nothing of people."
        )
    people = "a fold of one set" if values.overlap else "people of its own"
    other = f" Other faces: {values.other_faces}." if values.other_faces else ""
    done = sum(run.folder is not None for run in values.runs)
    sentences.append(
        f"{_counted(len(study.units), 'unit')}, each with {people}; {done} trainings of about {values.num_steps} steps "
        f"of {values.batch_size} samples. {values.data}.{other}"
    )
    primary = "; ".join(
        f"{each.contrast} in {study.settings[each.setting].title}"
        for each in values.primary
        if each.setting in study.settings
    )
    sentences.append(
        f"Named before any training: differences below {100 * values.margin:g} points count as equal, and the primary "
        f"tests on clean scans: {primary}. All other tests are secondary."
    )
    return sentences


def loss_findings(study: LoadedLossStudy, effects: Sequence[Effect], fusion: Sequence[FusionEffect] = ()) -> list[str]:
    """The primary tests, then each loss in all settings, then fusion, label-free features and controls."""
    sentences = [
        f"Primary test, {each.contrast.title}, {_one(study, each)}: {_IN_WORDS[each.verdict]}"
        f"{_needed([each]) if each.verdict == 'inconclusive' else ''}."
        for each in effects
        if each.is_primary
    ]
    for contrast in study.study.contrasts:
        mine = [each for each in effects if each.contrast == contrast and not each.is_primary]
        groups = {
            "accuracy": [each for each in mine if each.outcome in ACCURACIES[contrast.reading]],
            "language": [each for each in mine if each.outcome in LANGUAGE],
            "identity leakage": [each for each in mine if each.outcome is LEAKAGE],
        }
        title = f"{contrast.title[:1].upper()}{contrast.title[1:]}"
        sentences += [f"{title}, {what}: {_by_verdict(study, group)}" for what, group in groups.items() if group]
    return [*sentences, *_fusion(fusion), *_control(study)]


def _by_verdict(study: LoadedLossStudy, group: Sequence[Effect]) -> str:
    texts = []
    for verdict in VERDICTS:
        found = [each for each in group if each.verdict == verdict]
        if not found:
            continue
        text = f"{_IN_WORDS[verdict]} in {len(found)} of {len(group)}"
        if verdict == "inconclusive":
            texts.append(text + _needed(found))
        else:
            texts.append(f"{text} ({'; '.join(_one(study, each) for each in found)})")
    return "; ".join(texts) + "."


def _needed(effects: Sequence[Effect]) -> str:
    largest = cell_text(max(each.detectable for each in effects), "points").lstrip("+")
    return f" (a difference of {largest} points would be found in four of five such studies)"


def _one(study: LoadedLossStudy, each: Effect) -> str:
    low, high = (cell_text(end, "points") for end in each.test.interval)
    difference = cell_text(each.test.mean, "points")
    return f"{study.settings[each.setting].title}, {each.outcome.title}: {difference} points, {low} to {high}"


def _fusion(effects: Sequence[FusionEffect]) -> list[str]:
    """One sentence per condition, over all settings."""
    sentences = []
    for condition, title in CONDITION_TITLES.items():
        mine = [each for each in effects if each.condition == condition and each.test is not None]
        if not mine:
            continue
        counts = []
        for against in dict.fromkeys(each.against for each in mine):
            group = [each for each in mine if each.against == against]
            verdicts = dict.fromkeys(each.verdict for each in group)
            told = ", ".join(f"{v} in {sum(each.verdict == v for each in group)}" for v in verdicts)
            gain = cell_text(mean(each.test.mean for each in group if each.test), "points")
            counts.append(f"against the {against} {gain} points on average ({told} of {len(group)} settings)")
        sentences.append(f"Learned fusion, {title}: {'; '.join(counts)}.")
    if sentences:
        sentences[-1] += f" Above or below: by the 95 % interval; the margin is {100 * FUSION_MARGIN:g} point."
    return sentences


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _control(study: LoadedLossStudy) -> list[str]:
    found = [
        scores
        for (_, method), units in study.scores.items()
        if method == "shuffled_prompts"
        for each in units.values()
        if (scores := each.robustness.conditions["clean"].prompts) is not None
    ]
    if not found:
        return []
    shares = [mean(getattr(each, name) for each in found) for name in ("fused", "matched", "matched_chance")]
    fused, matched, chance = (cell_text(share, "percent") for share in shares)
    return [
        f"Prompts dealt out at random, {_counted(len(found), 'shuffle')}: {fused} % right, {matched} % under the best "
        f"matching of answers to classes, where chance is {chance} %."
    ]
