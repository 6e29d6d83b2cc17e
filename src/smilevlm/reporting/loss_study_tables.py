"""The tables of a study of the losses."""

from __future__ import annotations

from collections.abc import Sequence

from smilevlm.reporting.loss_study_source import (
    ACCURACIES,
    CONDITION_TITLES,
    LANGUAGE,
    LEAKAGE,
    Effect,
    LoadedLossStudy,
    Outcome,
    mean_and_std,
)
from smilevlm.reporting.table import Cell, Column, Missing, Table, data_text
from smilevlm.results import CONDITIONS, Condition, RobustnessResult

_NOT_TRAINED = Missing(reason="not trained")
_TOO_FEW = Missing(reason="one unit, or units that do not differ")
_NOT_ALIGNED = Missing(reason="not aligned with text")


def _data_column(study: LoadedLossStudy) -> tuple[Column, str]:
    return Column("data", "Data"), data_text(study.study.synthetic, "measured here")


def effects_table(study: LoadedLossStudy, effects: Sequence[Effect]) -> Table:
    """One row per contrast, setting and outcome."""
    column, data = _data_column(study)
    rows = [
        (
            each.contrast.title,
            study.settings[each.setting].title,
            f"{each.outcome.title}, {each.contrast.reading.replace('_', ' ')}"
            if each.outcome in ACCURACIES[each.contrast.reading]
            else each.outcome.title,
            data,
            each.test.mean,
            each.test.interval,
            each.test.p_value,
            each.holm_p,
            each.test.equivalence_p,
            each.test.detectable,
            each.test.num_units,
            each.verdict,
        )
        for each in effects
    ]
    return Table(
        name="loss_effects",
        title="The method with a loss minus the one without it",
        note=(
            "Percentage points, mean over units, at equal steps and batches. p: two-sided paired t-test; Holm: "
            "corrected for all tests of this table; equal: of a difference of "
            f"{100 * study.study.margin:g} points or more (two one-sided tests). Detectable: the difference that such "
            "a test finds in four of five studies, by the spread that was met."
        ),
        columns=(
            Column("loss", "Loss"),
            Column("setting", "Setting"),
            Column("outcome", "Measured"),
            column,
            Column("difference", "With minus without", "points"),
            Column("interval", "95 % interval", "points_interval"),
            Column("p_value", "p", "p_value"),
            Column("holm_p_value", "p, Holm", "p_value"),
            Column("equivalence_p_value", "p, equal", "p_value"),
            Column("detectable", "Detectable", "points"),
            Column("units", "Units", "count"),
            Column("verdict", "Verdict"),
        ),
        rows=tuple(rows),
    )


def scores_table(study: LoadedLossStudy) -> Table:
    """Mean of every outcome, by setting and method."""
    column, data = _data_column(study)
    outcomes = (*ACCURACIES["prompts"], *LANGUAGE, LEAKAGE)
    probe = ACCURACIES["linear_probe"][0]

    def cell(setting: str, method: str, outcome: Outcome, reason: Missing) -> Cell:
        values = study.values(setting, method, outcome)
        return mean_and_std(list(values.values()))[0] if values else reason

    rows = []
    for setting, values in study.settings.items():
        for method in values.methods:
            found = study.scores.get((setting, method), {})
            reason = _NOT_ALIGNED if found else _NOT_TRAINED
            cells = [cell(setting, method, outcome, reason) for outcome in ACCURACIES["prompts"]]
            if study.study.other_head_model is None:
                cells[-1] = Missing(reason="no other faces were given")
            no_captions = _NOT_TRAINED if not found else Missing(reason="no captions")
            more = [cell(setting, method, outcome, no_captions) for outcome in LANGUAGE]
            last = [cell(setting, method, outcome, _NOT_TRAINED) for outcome in (probe, LEAKAGE)]
            rows.append((values.title, study.methods[method].title, data, *cells, *more, *last, len(found)))
    return Table(
        name="loss_scores",
        title="Accuracy with prompts, language and identity",
        note="Per cent, mean over units. The linear probe is fitted on the labels that training had.",
        columns=(
            Column("setting", "Setting"),
            Column("method", "Method"),
            column,
            *(Column(each.key, each.title.capitalize(), "percent") for each in outcomes[:-1]),
            Column("linear_probe", "Linear probe, clean", "percent"),
            Column(LEAKAGE.key, LEAKAGE.title.capitalize(), "percent"),
            Column("units", "Units", "count"),
        ),
        rows=tuple(rows),
    )


def _by_unit(study: LoadedLossStudy, setting: str, condition: Condition) -> dict[str, dict[int, float]]:
    """Fused, plain mean and every single view of the full method, by unit."""
    found: dict[str, dict[int, float]] = {}
    for unit, scores in study.scores.get((setting, "full"), {}).items():
        each = scores.robustness.conditions.get(condition)
        if each is None or each.fused is None or each.mean_fusion is None or each.single_views is None:
            continue
        named = {"fused": each.fused, "mean": each.mean_fusion}
        named |= {f"{angle:+g}°": value for angle, value in each.single_views.items()}
        for name, value in named.items():
            found.setdefault(name, {})[unit] = value
    return found


def fusion_table(study: LoadedLossStudy) -> Table:
    """The learned fusion of the full method against the view that is best on average and against the plain mean."""
    column, data = _data_column(study)
    rows: list[tuple[Cell, ...]] = []
    for setting, values in study.settings.items():
        for condition in CONDITIONS:
            by_unit = _by_unit(study, setting, condition)
            if not by_unit:
                continue
            fused, mean = by_unit.pop("fused"), by_unit.pop("mean")
            best = max(by_unit, key=lambda name: mean_and_std(list(by_unit[name].values()))[0])
            weights = [
                weight
                for scores in study.scores[setting, "full"].values()
                if (weight := scores.robustness.conditions[condition].changed_view_weight) is not None
            ]
            cells: list[Cell] = [values.title, CONDITION_TITLES[condition], data]
            cells += [mean_and_std(list(each.values()))[0] for each in (fused, mean, by_unit[best])]
            cells.append(best)
            for other in (by_unit[best], mean):
                test = study.difference(fused, other)
                cells += [_TOO_FEW, _TOO_FEW] if test is None else [test.mean, test.interval]
            cells.append(mean_and_std(weights)[0] if weights else Missing(reason="no single view was damaged"))
            rows.append(tuple(cells))
    return Table(
        name="loss_fusion",
        title="Learned fusion, plain mean, and the best single view of the full method",
        note=(
            "Accuracy with prompts in per cent, differences in percentage points with 95 % intervals. Damaged and "
            "missing views are drawn at random; a single view is scored on the scans that have it."
        ),
        columns=(
            Column("setting", "Setting"),
            Column("condition", "Condition"),
            column,
            Column("fused", "Fused", "percent"),
            Column("mean_fusion", "Plain mean", "percent"),
            Column("best_view", "Best view", "percent"),
            Column("which_view", "Which"),
            Column("over_view", "Fused minus best view", "points"),
            Column("over_view_interval", "95 % interval", "points_interval"),
            Column("over_mean", "Fused minus mean", "points"),
            Column("over_mean_interval", "95 % interval", "points_interval"),
            Column("damaged_weight", "Weight of the damaged view", "percent"),
        ),
        rows=tuple(rows),
    )


def probes_table(study: LoadedLossStudy) -> Table:
    """Linear probes with the labels of few and of all people, on features of every method of the first setting."""
    column, data = _data_column(study)
    setting = next(iter(study.settings))
    rows: list[tuple[Cell, ...]] = []
    numbers = sorted({p.num_subjects for r in _robustness(study, setting) for p in r.probes})
    for method in study.settings[setting].methods:
        for number in numbers:
            values, fresh = (_probes(study, setting, each, number) for each in (method, "untrained"))
            if not values:
                continue
            test = study.difference(values, fresh) if method != "untrained" else None
            differences: tuple[Cell, ...] = (_TOO_FEW,) * 2 if test is None else (test.mean, test.interval)
            if method == "untrained":
                differences = (Missing(reason="itself"),) * 2
            mean, std = mean_and_std(list(values.values()))
            rows.append(
                (study.methods[method].title, study.methods[method].supervision, data, number, mean,
                 _TOO_FEW if std is None else std, *differences)
            )  # fmt: skip
    return Table(
        name="loss_probes",
        title="Linear probes on frozen features",
        note=f"Accuracy in per cent on clean scans; models of “{study.settings[setting].title}”.",
        columns=(
            Column("method", "Features"),
            Column("supervision", "Training was told"),
            column,
            Column("people", "Labels of so many people", "count"),
            Column("accuracy", "Accuracy", "percent"),
            Column("std", "Std over units", "percent"),
            Column("over_untrained", "Minus before training", "points"),
            Column("over_untrained_interval", "95 % interval", "points_interval"),
        ),
        rows=tuple(rows),
    )


def controls_table(study: LoadedLossStudy) -> Table:
    """The full method and prompts dealt out at random, as they are and with the answers renamed as suits best."""
    column, data = _data_column(study)
    setting = next(iter(study.settings))
    rows = []
    for method in ("full", "shuffled_prompts"):
        for unit, scores in sorted(study.scores.get((setting, method), {}).items()):
            clean = scores.robustness.conditions["clean"]
            if clean.fused is not None and clean.matched is not None:
                rows.append((study.methods[method].title, data, unit, clean.fused, clean.matched))
    return Table(
        name="loss_controls",
        title="Prompts dealt out at random",
        note=(
            "Accuracy in per cent, each unit with a shuffle of its own. Renamed: the answers are matched one to one to "
            "the classes as suits them best, so that groups of faces told apart under other names would show."
        ),
        columns=(
            Column("method", "Method"),
            column,
            Column("unit", "Unit", "count"),
            Column("accuracy", "Accuracy", "percent"),
            Column("renamed", "Renamed", "percent"),
        ),
        rows=tuple(rows),
    )


def _robustness(study: LoadedLossStudy, setting: str) -> list[RobustnessResult]:
    return [s.robustness for (name, _), units in study.scores.items() if name == setting for s in units.values()]


def _probes(study: LoadedLossStudy, setting: str, method: str, num_subjects: int) -> dict[int, float]:
    return {
        unit: probe.accuracy
        for unit, scores in study.scores.get((setting, method), {}).items()
        for probe in scores.robustness.probes
        if probe.num_subjects == num_subjects
    }
