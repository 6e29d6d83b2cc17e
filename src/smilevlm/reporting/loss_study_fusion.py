"""Learned fusion of the full method against the best single view and the plain mean of the views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.reporting.equivalence import EquivalenceTest, equivalence_test
from smilevlm.reporting.loss_study_source import LoadedLossStudy
from smilevlm.reporting.table import angle_text
from smilevlm.results import CONDITIONS, Condition, PromptScores

FUSION_MARGIN = 0.01
"""The fusion may be less than 1 point below."""


@dataclass(frozen=True, kw_only=True)
class FusionEffect:
    """Fused minus something else, under one condition of one setting.

    Attributes:
        against: The best single view or the plain mean.
        fused, other: Means over units.
        views: Which view was the best one, `0°` for instance; several where units disagree. Empty for the plain mean.
        test: Of the differences; None with one unit, or where they are all the same.
        degraded_view_weight: Mean fusion weight of a degraded view.
    """

    setting: str
    condition: Condition
    against: str
    fused: float
    other: float
    views: str
    test: EquivalenceTest | None
    degraded_view_weight: float | None

    @property
    def verdict(self) -> str:
        """By the 95 % interval."""
        if self.test is None:
            return "inconclusive"
        low, high = self.test.interval
        if low > 0:
            return "above"
        if high < 0:
            return "below"
        return f"less than {100 * FUSION_MARGIN:g} point below" if low > -FUSION_MARGIN else "inconclusive"


def fusion_effects(study: LoadedLossStudy) -> list[FusionEffect]:
    """For each setting and condition.

    The best single view of a unit is that of the other units' clean scans, so that it is not chosen on the scans it is
    scored on; it and the fused embedding are compared on the scans that have it.
    """
    found = []
    for setting in study.settings:
        clean = _prompt_scores(study, setting, "clean")
        for condition in CONDITIONS:
            scores = _prompt_scores(study, setting, condition)
            if not scores:
                continue
            best = {unit: _best_view(clean, unit) for unit in scores}
            views = ", ".join(angle_text(angle) for angle in sorted(set(best.values())))
            fused_there = {unit: each.fused_with_view[best[unit]] for unit, each in scores.items()}
            single = {unit: each.single_views[best[unit]] for unit, each in scores.items()}
            fused = {unit: each.fused for unit, each in scores.items()}
            mean = {unit: each.mean_fusion for unit, each in scores.items()}
            weights = [w for each in scores.values() if (w := each.degraded_view_weight) is not None]
            found += [
                FusionEffect(
                    setting=setting,
                    condition=condition,
                    against=against,
                    fused=float(np.mean(list(ours.values()))),
                    other=float(np.mean(list(theirs.values()))),
                    views=names,
                    test=equivalence_test(
                        [ours[unit] - theirs[unit] for unit in sorted(ours)],
                        margin=FUSION_MARGIN,
                        overlap=study.study.overlap,
                    ),
                    degraded_view_weight=float(np.mean(weights)) if weights else None,
                )
                for against, ours, theirs, names in (
                    ("best single view", fused_there, single, views),
                    ("plain mean", fused, mean, ""),
                )
            ]
    return found


def _prompt_scores(study: LoadedLossStudy, setting: str, condition: Condition) -> dict[int, PromptScores]:
    found = {}
    for unit, scores in study.scores.get((setting, "full"), {}).items():
        each = scores.robustness.conditions.get(condition)
        if each is not None and each.prompts is not None:
            found[unit] = each.prompts
    return found


def _best_view(clean: Mapping[int, PromptScores], unit: int) -> float:
    """By the other units; by the unit itself where there is no other."""
    others = [each.single_views for number, each in clean.items() if number != unit] or [clean[unit].single_views]
    return max(others[0], key=lambda angle: float(np.mean([views[angle] for views in others])))
