"""Tables of the other tasks."""

from __future__ import annotations

from smilevlm.reporting.tables import Cell, Column, Missing, Table
from smilevlm.reporting.task_figures import FEATURES_TEXT, data_text
from smilevlm.results import Interval, TasksResult

_NOT_BOOTSTRAPPED = Missing(reason="one subject")


def task_tables(tasks: TasksResult, slug: str) -> list[Table]:
    """The tables of a `tasks.json` that have rows.

    Args:
        tasks: What they hold.
        slug: Begins the names of the files.
    """
    tables = [
        _verification(tasks, slug),
        _identification(tasks, slug),
        _expressions(tasks, slug),
        _anti_spoofing(tasks, slug),
    ]
    return [table for table in tables if table.rows]


def _verification(tasks: TasksResult, slug: str) -> Table:
    rates = sorted({r.false_accept_rate for v in tasks.verification for r in v.true_accept_rates}, reverse=True)
    columns = (
        Column(key="pairs", title="Pairs"),
        Column(key="features", title="Features"),
        Column(key="data", title="Data"),
        Column(key="genuine", title="Genuine", kind="count"),
        Column(key="impostor", title="Impostor", kind="count"),
        Column(key="equal_error_rate", title="EER", kind="percent"),
        Column(key="equal_error_rate_interval", title="95 % interval", kind="percent_interval"),
        Column(key="area_under_curve", title="AUC", kind="percent"),
        *(Column(key=f"tar_at_{rate:g}", title=f"TAR at {100 * rate:g} % FAR", kind="percent") for rate in rates),
    )
    rows: list[tuple[Cell, ...]] = []
    for result in tasks.verification:
        accepted = {r.false_accept_rate: r.true_accept_rate for r in result.true_accept_rates}
        rows.append(
            (
                result.name,
                FEATURES_TEXT[result.features],
                data_text(tasks),
                result.num_genuine,
                result.num_impostor,
                result.equal_error_rate,
                _interval(result.equal_error_rate_interval),
                result.area_under_curve,
                *(_or_missing(accepted.get(rate), "too few pairs") for rate in rates),
            )
        )
    return Table(
        name=f"{slug}_verification",
        title=f"Verification of unseen people, {data_text(tasks)}",
        note=f"Per cent. Fold {tasks.fold + 1}, {len(tasks.test_subjects)} test subjects, none of them in training. "
        "Intervals: bootstrap over subjects. The discriminant was fitted on training subjects.",
        columns=columns,
        rows=tuple(rows),
    )


def _identification(tasks: TasksResult, slug: str) -> Table:
    ranks = sorted({min(rank, len(i.rank_rates)) for i in tasks.identification for rank in (1, 5, 10)})
    columns = (
        Column(key="probes", title="Probes"),
        Column(key="features", title="Features"),
        Column(key="data", title="Data"),
        Column(key="num_gallery", title="Gallery", kind="count"),
        Column(key="num_probes", title="Probes", kind="count"),
        *(Column(key=f"rank_{rank}", title=f"Rank {rank}", kind="percent") for rank in ranks),
        Column(key="rank_1_interval", title="95 % interval of rank 1", kind="percent_interval"),
        Column(key="chance", title="Chance", kind="percent"),
    )
    rows = tuple(
        (
            result.name,
            FEATURES_TEXT[result.features],
            data_text(tasks),
            result.num_gallery,
            result.num_probes,
            *(
                result.rank_rates[rank - 1] if rank <= len(result.rank_rates) else Missing(reason="smaller gallery")
                for rank in ranks
            ),
            _interval(result.rank1_interval),
            1.0 / result.num_gallery,
        )
        for result in tasks.identification
    )
    return Table(
        name=f"{slug}_identification",
        title=f"Identification of unseen people, {data_text(tasks)}",
        note=f"Per cent of probes. Fold {tasks.fold + 1}; one scan per test subject is the gallery, the others are "
        "probes. Interval: bootstrap over subjects with the gallery as it is.",
        columns=columns,
        rows=rows,
    )


def _expressions(tasks: TasksResult, slug: str) -> Table:
    names = sorted({name for result in tasks.identification for name in result.rank1_by_expression})
    columns = (
        Column(key="expression", title="Expression of the probe"),
        Column(key="data", title="Data"),
        Column(key="probes", title="Probes", kind="count"),
        *(
            Column(key=result.features, title=FEATURES_TEXT[result.features], kind="percent")
            for result in tasks.identification
        ),
    )
    rows = []
    for name in names:
        counts = [result.rank1_by_expression.get(name, (0, 0)) for result in tasks.identification]
        shares = [hits / probes if probes else Missing(reason="not tested") for hits, probes in counts]
        rows.append((name, data_text(tasks), counts[0][1], *shares))
    return Table(
        name=f"{slug}_identification_by_expression",
        title=f"First rank by expression, {data_text(tasks)}",
        note="Per cent of the probes with this expression whose person is the nearest of the gallery.",
        columns=columns,
        rows=tuple(rows),
    )


def _anti_spoofing(tasks: TasksResult, slug: str) -> Table:
    columns = (
        Column(key="attack", title="Attack"),
        Column(key="classifier", title="Classifier"),
        Column(key="views", title="Views"),
        Column(key="data", title="Data"),
        Column(key="refused", title="Refused by preparation"),
        Column(key="num_attacks", title="Attacks", kind="count"),
        Column(key="num_bona_fide", title="Bona fide", kind="count"),
        Column(key="apcer", title="APCER", kind="percent"),
        Column(key="bpcer", title="BPCER", kind="percent"),
        Column(key="acer", title="ACER", kind="percent"),
        Column(key="equal_error_rate", title="EER", kind="percent"),
    )
    rows: list[tuple[Cell, ...]] = []
    for part in tasks.anti_spoofing:
        for attack in part.attacks:
            counted = part.refused.get(attack.name)
            rows.append(
                (
                    attack.name.replace("_", " "),
                    "knows the kind" if attack.known else "kind unseen",
                    part.views,
                    data_text(tasks),
                    Missing(reason="not counted") if counted is None else f"{counted[0]} of {counted[1]}",
                    attack.num_attacks,
                    attack.num_bona_fide,
                    attack.apcer,
                    attack.bpcer,
                    attack.acer,
                    attack.equal_error_rate,
                )
            )
    return Table(
        name=f"{slug}_anti_spoofing",
        title=f"Presentation attacks, {data_text(tasks)}",
        note=_attack_note(tasks),
        columns=columns,
        rows=tuple(rows),
    )


def _attack_note(tasks: TasksResult) -> str:
    if not tasks.anti_spoofing:
        return ""
    part = tasks.anti_spoofing[0]
    return (
        f"Per cent. Fitted, and the threshold taken, on {part.num_train_subjects} training subjects; tested on "
        f"{part.num_test_subjects} others. "
        f"Threshold: {part.threshold_from}. What preparation refuses would never reach the classifier; its errors are "
        "of sheets and faces that were placed by the nose tip instead."
    )


def _interval(value: Interval | None) -> Cell:
    return _NOT_BOOTSTRAPPED if value is None else value


def _or_missing(value: float | None, reason: str) -> Cell:
    return Missing(reason=reason) if value is None else value
