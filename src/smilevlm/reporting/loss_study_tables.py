"""The tables of a study of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from smilevlm.reporting.loss_study_fusion import FusionEffect
from smilevlm.reporting.loss_study_source import (
    ACCURACIES,
    CONDITION_TITLES,
    LANGUAGE,
    LEAKAGE,
    Effect,
    LoadedLossStudy,
    Outcome,
)
from smilevlm.reporting.table import Cell, Column, Missing, Table, constant_column, data_text, table_of
from smilevlm.results import RobustnessResult

_ONE_UNIT = Missing(reason="one unit, or no difference between units")


def _data_column(study: LoadedLossStudy) -> Column:
    return constant_column("data", "Data", data_text(study.study.synthetic, "measured here"))


def effects_table(study: LoadedLossStudy, effects: Sequence[Effect]) -> Table:
    """One row per contrast, setting and outcome."""
    return table_of(
        "loss_effects",
        "Effects of the losses: the method with a loss minus the one without it",
        "Percentage points, mean over units, at equal steps and batches. p: two-sided paired t-test; p of equality: "
        f"of a difference of {100 * study.study.margin:g} points or more (two one-sided tests); both corrected (Holm) "
        "over the primary tests or over all others. Detectable: what that test finds in four of five studies.",
        (
            Column("loss", "Loss", get="contrast.title"),
            Column("setting", "Setting", get=lambda each: study.settings[each.setting].title),
            Column("outcome", "Outcome", get=_outcome_title),
            _data_column(study),
            Column("family", "Test", get=lambda each: "primary" if each.is_primary else "secondary"),
            Column("difference", "Difference", "points", "test.mean"),
            Column("interval", "95 % interval", "points_interval", "test.interval"),
            Column("p_value", "p, Holm", "p_value"),
            Column("equivalence_p", "p of equality, Holm", "p_value"),
            Column("detectable", "Detectable", "points"),
            Column("units", "Units", "count", "test.num_units"),
            Column("verdict", "Verdict"),
        ),
        effects,
    )


def _outcome_title(effect: Effect) -> str:
    is_accuracy = effect.outcome in ACCURACIES[effect.contrast.reading]
    return effect.outcome.title + (f", {effect.contrast.reading.replace('_', ' ')}" if is_accuracy else "")


def scores_table(study: LoadedLossStudy) -> Table:
    """Mean of every outcome, by setting and method."""
    outcomes = (*ACCURACIES["prompts"], ACCURACIES["linear_probe"][0], *LANGUAGE, LEAKAGE)
    titles = [each.title.capitalize() for each in outcomes]
    titles[len(CONDITION_TITLES)] = "Linear probe, clean scans"
    rows: list[tuple[Cell, ...]] = []
    data = data_text(study.study.synthetic, "measured here")
    for name, setting in study.settings.items():
        for method in setting.methods:
            found = study.scores.get((name, method), {})
            cells = [_mean_cell(study, name, method, outcome) for outcome in outcomes]
            rows.append((setting.title, study.methods[method].title, data, *cells, len(found)))
    return Table(
        name="loss_scores",
        title="Accuracy with prompts, linear probe, language and identity",
        note="Per cent, mean over units. The linear probe is fitted on the labels that training had.",
        columns=(
            Column("setting", "Setting"),
            Column("method", "Method"),
            Column("data", "Data"),
            *(
                Column(f"{each.key}_{number}", title, "percent")
                for number, (each, title) in enumerate(zip(outcomes, titles, strict=True))
            ),
            Column("units", "Units", "count"),
        ),
        rows=tuple(rows),
    )


def _mean_cell(study: LoadedLossStudy, setting: str, method: str, outcome: Outcome) -> Cell:
    if values := study.values(setting, method, outcome):
        return mean(values.values())
    if not study.scores.get((setting, method)):
        return Missing(reason="not trained")
    if outcome in LANGUAGE:
        return Missing(reason="no captions")
    if outcome.key == "other_faces" and study.study.other_faces is None:
        return Missing(reason="no other faces were given")
    return Missing(reason="not aligned with text")


def fusion_table(study: LoadedLossStudy, effects: Sequence[FusionEffect]) -> Table:
    """The learned fusion of the full method."""
    return table_of(
        "loss_fusion",
        "Learned fusion of the full method against the best single view and the plain mean",
        "Accuracy with prompts in per cent, differences in percentage points. Degraded and missing views are drawn at "
        "random. The best view of a unit is that of the other units' clean scans; it and the fused embedding are "
        "scored on the scans that have it.",
        (
            Column("setting", "Setting", get=lambda each: study.settings[each.setting].title),
            Column("condition", "Condition", get=lambda each: CONDITION_TITLES[each.condition]),
            _data_column(study),
            Column("against", "Against", get=lambda each: f"{each.against}{f' ({each.views})' if each.views else ''}"),
            Column("fused", "Fused", "percent"),
            Column("other", "Against", "percent"),
            Column("difference", "Difference", "points", lambda each: each.test and each.test.mean, _ONE_UNIT.reason),
            Column(
                "interval",
                "95 % interval",
                "points_interval",
                lambda each: each.test and each.test.interval,
                _ONE_UNIT.reason,
            ),
            Column("degraded_view_weight", "Weight of the degraded view", "percent", missing="none or all degraded"),
            Column("verdict", "Verdict"),
        ),
        effects,
    )


def probes_table(study: LoadedLossStudy) -> Table:
    """Linear probes with the labels of few and of all people, on the features of methods that had all labels."""
    rows: list[tuple[Cell, ...]] = []
    data = data_text(study.study.synthetic, "measured here")
    for name, setting in study.settings.items():
        if "untrained" not in setting.methods:
            continue
        for method in setting.methods:
            for number in _numbers_of_people(study, name):
                values, fresh = (_probes(study, name, each, number) for each in (method, "untrained"))
                if not values:
                    continue
                test = study.difference(values, fresh)
                gain: tuple[Cell, ...] = (_ONE_UNIT,) * 2 if test is None else (test.mean, test.interval)
                if method == "untrained":
                    gain = (Missing(reason="itself"),) * 2
                std = stdev(values.values()) if len(values) > 1 else _ONE_UNIT
                told = study.methods[method]
                rows.append((told.title, told.supervision, data, number, mean(values.values()), std, *gain))
    return Table(
        name="loss_probes",
        title="Linear probes on frozen features",
        note="Accuracy in per cent on clean scans.",
        columns=(
            Column("method", "Features"),
            Column("supervision", "Training had"),
            Column("data", "Data"),
            Column("people", "Labels of so many people", "count"),
            Column("accuracy", "Accuracy", "percent"),
            Column("std", "Std over units", "percent"),
            Column("over_untrained", "Minus before training", "points"),
            Column("over_untrained_interval", "95 % interval", "points_interval"),
        ),
        rows=tuple(rows),
    )


def controls_table(study: LoadedLossStudy) -> Table:
    """Prompts dealt out at random beside the full method, unit by unit."""
    data = data_text(study.study.synthetic, "measured here")
    rows = [
        (study.methods[method].title, data, unit, scores.fused, scores.matched, scores.matched_chance)
        for (name, method), units in study.scores.items()
        if method in ("full", "shuffled_prompts") and "shuffled_prompts" in study.settings[name].methods
        for unit, each in sorted(units.items())
        if (scores := each.robustness.conditions["clean"].prompts) is not None
    ]
    return Table(
        name="loss_controls",
        title="Prompts dealt out at random",
        note=(
            "Accuracy in per cent on clean scans, each unit with a shuffle of its own. Matched: under the best "
            "one-to-one matching of answers to classes, which would show groups of faces told apart under other names; "
            "its chance is the mean over random orders of the true classes."
        ),
        columns=(
            Column("method", "Method"),
            Column("data", "Data"),
            Column("unit", "Unit", "count"),
            Column("accuracy", "Accuracy", "percent"),
            Column("matched", "Matched", "percent"),
            Column("matched_chance", "Matched, chance", "percent"),
        ),
        rows=tuple(rows),
    )


def _robustness(study: LoadedLossStudy, setting: str, method: str) -> dict[int, RobustnessResult]:
    return {unit: each.robustness for unit, each in study.scores.get((setting, method), {}).items()}


def _numbers_of_people(study: LoadedLossStudy, setting: str) -> list[int]:
    results = [r for m in study.settings[setting].methods for r in _robustness(study, setting, m).values()]
    return sorted({probe.num_subjects for result in results for probe in result.probes})


def _probes(study: LoadedLossStudy, setting: str, method: str, num_subjects: int) -> dict[int, float]:
    return {
        unit: probe.accuracy
        for unit, result in _robustness(study, setting, method).items()
        for probe in result.probes
        if probe.num_subjects == num_subjects
    }
