"""Where every number of a study comes from, and what is missing."""

from __future__ import annotations

from smilevlm.reporting.run_tables import setting_leaves
from smilevlm.reporting.study_source import LoadedStudy, RunGroup
from smilevlm.reporting.table import Cell, Column, Missing, Table

_NOT_A_CHECKOUT = "not run from a git checkout"


def provenance_table(study: LoadedStudy) -> Table:
    """One row per setting and method."""
    return Table(
        name="provenance",
        title="Where the numbers come from",
        note="One row per setting and method. A pairing name says how much training was told of classes.",
        columns=(
            Column("setting", "Setting"),
            Column("method", "Method"),
            Column("data", "Data"),
            Column("recipe", "Recipe"),
            Column("protocol", "Protocol"),
            Column("pairing", "Pairing"),
            Column("seeds", "Seeds"),
            Column("folds", "Folds run"),
            Column(key="train_subjects", title="People in training, mean", kind="count"),
            Column("test_subjects", "Distinct test people", "count"),
            Column("manifest_hash", "Data hash"),
            Column("commit", "Commit"),
        ),
        rows=tuple(_provenance_row(study, group) for group in study.groups.values() if group.runs or group.missing),
    )


def _provenance_row(study: LoadedStudy, group: RunGroup) -> tuple[Cell, ...]:
    head = (study.title(group.setting), study.method(group.method).title, study.data(group.setting))
    if not group.runs:
        return (*head, *[Missing(reason=group.reason)] * 9)
    results = group.results
    folds = group.folds
    seeds = ", ".join(str(run.seed) for run in group.runs)
    missing = ", ".join(str(run.seed) for run in group.missing)
    hashes = [results[0].manifest_hash]
    if other := results[0].trained_on:
        hashes.append(f"trained on {other.manifest_hash}")
    return (
        *head,
        ", ".join(dict.fromkeys(result.recipe for result in results)),
        results[0].protocol,
        ", ".join(dict.fromkeys(result.pairing_name for result in results)),
        f"{seeds} (missing: {missing})" if missing else seeds,
        f"{len(folds)} of {len(results)} x {folds[0].num_folds}",
        round(sum(len(fold.train_subjects) for fold in folds) / len(folds)),
        len({name for fold in folds for name in fold.test_subjects}),
        ", ".join(hashes),
        ", ".join(dict.fromkeys(result.git_commit or _NOT_A_CHECKOUT for result in results)),
    )


def missing_table(study: LoadedStudy) -> Table:
    """Everything that the study was to have and has not, with its reason."""
    rows: list[tuple[Cell, ...]] = []
    for setting in study.study.settings:
        groups = [study.group(setting.name, method.name) for method in study.study.methods]
        for group in groups:
            for run in group.missing:
                what = f"{study.method(group.method).title}, seed {run.seed}"
                rows.append((setting.title, what, run.reason or "no reason is given"))
        if never := [study.method(group.method).title for group in groups if not group.runs and not group.missing]:
            rows.append((setting.title, ", ".join(never), "not part of this study"))
    for file in study.study.files:
        if file.path is None:
            what = {"tasks": "other tasks", "analysis": "analysis of embeddings"}[file.kind]
            rows.append((study.title(file.setting), what, file.reason or "no reason is given"))
    return Table(
        name="missing",
        title="What is missing, and why",
        note="In the tables these cells hold the reason.",
        columns=(
            Column("setting", "Setting"),
            Column("what", "What"),
            Column("reason", "Reason"),
        ),
        rows=tuple(rows),
    )


def settings_tables(study: LoadedStudy) -> list[Table]:
    """For each setting, the resolved settings of its full method, and what the other methods change of them."""
    tables = []
    for setting in study.study.settings:
        groups = [study.group(setting.name, method.name) for method in study.study.methods]
        there = [group for group in groups if group.runs]
        if not there:
            continue
        base = next((group for group in there if group.method == "full"), there[0])
        defaults = dict(setting_leaves(base.runs[0].result.settings))
        title = study.method(base.method).title
        rows: list[tuple[Cell, ...]] = [(title, name, value) for name, value in defaults.items()]
        for group in there:
            if group is not base:
                rows += _changes(study, group, base)
        tables.append(
            Table(
                name=f"settings_{setting.name}",
                title=f"Settings: {setting.title}",
                note=f"The resolved configuration of {title}, seed {base.runs[0].seed}, then what other methods "
                "change; data: " + study.data(setting.name) + ".",
                columns=(
                    Column("method", "Method"),
                    Column("setting", "Setting"),
                    Column("value", "Value"),
                ),
                rows=tuple(rows),
            )
        )
    return tables


def _changes(study: LoadedStudy, group: RunGroup, base: RunGroup) -> list[tuple[Cell, ...]]:
    """Compared at the same seed where both have it, so that seeds are no change."""
    seeds = {run.seed: run for run in base.runs}
    run = next((each for each in group.runs if each.seed in seeds), group.runs[0])
    defaults = dict(setting_leaves(seeds.get(run.seed, base.runs[0]).result.settings))
    own = dict(setting_leaves(run.result.settings))
    title = study.method(group.method).title
    rows: list[tuple[Cell, ...]] = [(title, name, value) for name, value in own.items() if defaults.get(name) != value]
    rows += [(title, name, Missing(reason="not set")) for name in defaults if name not in own]
    return rows
