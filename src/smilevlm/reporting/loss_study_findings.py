"""What a study of the losses says, in sentences that follow from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from smilevlm.reporting.loss_study_source import ACCURACIES, LANGUAGE, LEAKAGE, Effect, LoadedLossStudy
from smilevlm.reporting.table import cell_text


def what_was_trained(study: LoadedLossStudy) -> list[str]:
    """Whose faces, how many trainings, and what the study can detect."""
    values = study.study
    sentences = []
    if values.synthetic:
        sentences.append(
            "All numbers here are from synthetic faces: scans of people who do not exist, made by a program. They say "
            "what the losses do on such faces, and nothing of people."
        )
    people = "people of its own" if values.independent_units else "a fold of one set"
    other = f" Another head model: {values.other_head_model}." if values.other_head_model else ""
    done = sum(run.folder is not None for run in values.runs)
    sentences.append(
        f"{len(study.units)} units, each with {people}; {done} trainings of {values.num_steps} steps of "
        f"{values.batch_size} samples. {values.data['faces']}.{other}"
    )
    titles = ", ".join(
        f"{contrast.title} (read by {contrast.reading.replace('_', ' ')})" for contrast in values.contrasts
    )
    sentences.append(
        f"Named before any training: the contrasts {titles}, each the method with it minus the one without it, and "
        f"that differences below {100 * study.study.margin:g} points count as equal."
    )
    return sentences


def loss_findings(study: LoadedLossStudy, effects: Sequence[Effect]) -> list[str]:
    """For each loss where it helps, where it hurts, where it is equal, and where the study cannot tell."""
    return [sentence for contrast in study.study.contrasts for sentence in _of_contrast(study, effects, contrast.title)]


def _of_contrast(study: LoadedLossStudy, effects: Sequence[Effect], title: str) -> list[str]:
    mine = [each for each in effects if each.contrast.title == title]
    if not mine:
        return []
    accuracies = [each for each in mine if each.outcome in ACCURACIES[each.contrast.reading]]
    leakage = [each for each in mine if each.outcome is LEAKAGE]
    language = [each for each in mine if each.outcome in LANGUAGE]
    sentences = []
    for what, group in (("accuracy", accuracies), ("language", language), ("identity leakage", leakage)):
        if group:
            sentences.append(f"{title[:1].upper()}{title[1:]}, {what}: {_told(study, group)}")
    return sentences


def _told(study: LoadedLossStudy, group: Sequence[Effect]) -> str:
    kinds = {
        "more with it": [e for e in group if e.is_told and e.test.mean > 0],
        "less with it": [e for e in group if e.is_told and e.test.mean < 0],
        f"equal within {100 * study.study.margin:g} points": [e for e in group if e.test.is_equal and not e.is_told],
    }
    texts = [
        f"{kind} in {len(found)} of {len(group)} ({'; '.join(_one(study, each) for each in found)})"
        for kind, found in kinds.items()
        if found
    ]
    rest = [e for e in group if not e.is_told and not e.test.is_equal]
    if rest:
        largest = max(each.test.detectable for each in rest)
        texts.append(
            f"not told in {len(rest)} of {len(group)}, where up to {cell_text(largest, 'points').lstrip('+')} points "
            "would have been needed"
        )
    return "; ".join(texts) + "."


def _one(study: LoadedLossStudy, each: Effect) -> str:
    low, high = (cell_text(end, "points") for end in each.test.interval)
    mean = cell_text(each.test.mean, "points")
    return f"{study.settings[each.setting].title}, {each.outcome.title}: {mean} points, {low} to {high}"
