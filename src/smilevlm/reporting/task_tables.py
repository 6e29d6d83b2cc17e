"""Tables of the other tasks."""

from __future__ import annotations

from collections.abc import Sequence

from smilevlm.reporting.table import Column, Table, constant_column, data_text, table_of
from smilevlm.results import AntiSpoofingResult, AttackResult, IdentificationResult, TasksResult, VerificationResult

FEATURES_TEXT = {"tower": "Tower", "tower_lda": "Tower + discriminant", "fused": "Fused"}
_FEATURES = Column("features", "Features", "text", lambda result: FEATURES_TEXT[result.features])


def task_tables(tasks: TasksResult, slug: str) -> list[Table]:
    """The tables of a `tasks.json` that have rows.

    Args:
        tasks: What they hold.
        slug: Begins the names of the files.
    """
    data = data_text(tasks.synthetic, tasks.layout)
    people = f"of unseen people, {data}"
    attacks = [(part, attack) for part in tasks.anti_spoofing for attack in part.attacks]
    expressions = sorted({name for result in tasks.identification for name in result.rank1_by_expression})
    tables = [
        table_of(
            f"{slug}_verification",
            f"Verification {people}",
            f"Per cent. Fold {tasks.fold + 1}, {len(tasks.test_subjects)} test subjects, none of them in training. "
            "Intervals: bootstrap over subjects. The discriminant was fitted on training subjects.",
            _verification_columns(tasks.verification, data),
            tasks.verification,
        ),
        table_of(
            f"{slug}_identification",
            f"Identification {people}",
            f"Per cent of probes. Fold {tasks.fold + 1}; one scan per test subject is the gallery, the others are "
            "probes. Interval: bootstrap over subjects with the gallery as it is.",
            _identification_columns(tasks.identification, data),
            tasks.identification,
        ),
        table_of(
            f"{slug}_identification_by_expression",
            f"First rank by expression, {data}",
            "Per cent of the probes with this expression whose person is the nearest of the gallery.",
            _expression_columns(tasks.identification, data),
            expressions,
        ),
        table_of(
            f"{slug}_anti_spoofing",
            f"Presentation attacks, {data}",
            _attack_note(tasks.anti_spoofing),
            _attack_columns(data),
            attacks,
        ),
    ]
    return [table for table in tables if table.rows]


def _verification_columns(results: Sequence[VerificationResult], data: str) -> list[Column]:
    rates = sorted({each.false_accept_rate for result in results for each in result.true_accept_rates}, reverse=True)

    def accepted_at(rate: float) -> Column:
        def get(result: VerificationResult) -> float | None:
            found = {each.false_accept_rate: each.true_accept_rate for each in result.true_accept_rates}
            return found.get(rate)

        return Column(f"tar_at_{rate:g}", f"TAR at {100 * rate:g} % FAR", "percent", get, "too few pairs")

    return [
        Column("pairs", "Pairs", "text", "name"),
        _FEATURES,
        constant_column("data", "Data", data),
        Column("genuine", "Genuine", "count", "num_genuine"),
        Column("impostor", "Impostor", "count", "num_impostor"),
        Column("equal_error_rate", "EER", "percent"),
        Column("equal_error_rate_interval", "95 % interval", "percent_interval", missing="one subject"),
        Column("area_under_curve", "AUC", "percent"),
        *(accepted_at(rate) for rate in rates),
    ]


def _identification_columns(results: Sequence[IdentificationResult], data: str) -> list[Column]:
    ranks = sorted({min(rank, len(result.rank_rates)) for result in results for rank in (1, 5, 10)})

    def at_rank(rank: int) -> Column:
        def get(result: IdentificationResult) -> float | None:
            return result.rank_rates[rank - 1] if rank <= len(result.rank_rates) else None

        return Column(f"rank_{rank}", f"Rank {rank}", "percent", get, "smaller gallery")

    return [
        Column("probes", "Probes", "text", "name"),
        _FEATURES,
        constant_column("data", "Data", data),
        Column("num_gallery", "Gallery", "count"),
        Column("num_probes", "Probes", "count"),
        *(at_rank(rank) for rank in ranks),
        Column("rank_1_interval", "95 % interval of rank 1", "percent_interval", "rank1_interval", "one subject"),
        Column("chance", "Chance", "percent", lambda result: 1.0 / result.num_gallery),
    ]


def _expression_columns(results: Sequence[IdentificationResult], data: str) -> list[Column]:
    def with_features(result: IdentificationResult) -> Column:
        def get(name: str) -> float | None:
            hits, probes = result.rank1_by_expression.get(name, (0, 0))
            return hits / probes if probes else None

        return Column(result.features, FEATURES_TEXT[result.features], "percent", get, "not tested")

    return [
        Column("expression", "Expression of the probe", "text", str),
        constant_column("data", "Data", data),
        Column("probes", "Probes", "count", lambda name: results[0].rank1_by_expression.get(name, (0, 0))[1]),
        *(with_features(result) for result in results),
    ]


def _attack_columns(data: str) -> list[Column]:
    """Of pairs of an anti-spoofing result and one of its attacks."""

    def refused(pair: tuple[AntiSpoofingResult, AttackResult]) -> str | None:
        counted = pair[0].refused.get(pair[1].name)
        return None if counted is None else f"{counted[0]} of {counted[1]}"

    def rate(key: str, title: str) -> Column:
        return Column(key, title, "percent", lambda pair: getattr(pair[1], key))

    return [
        Column("attack", "Attack", "text", lambda pair: pair[1].name.replace("_", " ")),
        Column("classifier", "Classifier", "text", lambda pair: "knows the kind" if pair[1].known else "kind unseen"),
        Column("views", "Views", "text", lambda pair: pair[0].views),
        constant_column("data", "Data", data),
        Column("refused", "Refused by preparation", "text", refused, "not counted"),
        Column("num_attacks", "Attacks", "count", lambda pair: pair[1].num_attacks),
        Column("num_bona_fide", "Bona fide", "count", lambda pair: pair[1].num_bona_fide),
        rate("apcer", "APCER"),
        rate("bpcer", "BPCER"),
        rate("acer", "ACER"),
        rate("equal_error_rate", "EER"),
    ]


def _attack_note(parts: Sequence[AntiSpoofingResult]) -> str:
    if not parts:
        return ""
    return (
        f"Per cent. Fitted, and the threshold taken, on {parts[0].num_train_subjects} training subjects; tested on "
        f"{parts[0].num_test_subjects} others. "
        f"Threshold: {parts[0].threshold_from}. What preparation refuses would never reach the classifier; its errors "
        "are of sheets and faces that were placed by the nose tip instead."
    )
