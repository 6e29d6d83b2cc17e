"""From parsed JSON to the schema's dataclasses: types, ranges, sizes and names, field by field."""

from __future__ import annotations

from dataclasses import fields

from smilevlm.results.node import Node
from smilevlm.results.schema import (
    LEVELS,
    MAX_EXAMPLES,
    MONITORS,
    READOUT_SUPERVISIONS,
    REPORTED_PAIRINGS,
    SCHEMA_VERSION,
    BinaryCounts,
    Calibration,
    CalibrationBin,
    ConfusionMatrix,
    ControlResult,
    EpochChoice,
    Example,
    ExperimentResult,
    FoldProposals,
    FoldResult,
    FoldsSummary,
    Interval,
    Monitor,
    MultiLabelScore,
    OtherTrainingData,
    PairingTeacher,
    Readout,
    Spread,
)


def decode_result(root: Node) -> ExperimentResult:
    """Read a whole result; what its numbers say of each other is checked by `check_result`.

    Raises:
        ResultError: A field is missing, unknown, of the wrong type or size, or out of range.
    """
    if isinstance(root.value, dict) and "schema_version" in root.value:
        version = root.members()["schema_version"]
        if version.integer(1) != SCHEMA_VERSION:
            version.fail(
                f"this program reads version {SCHEMA_VERSION}, found {version.value}; run `smilevlm evaluate` again"
            )
    f = root.fields(field.name for field in fields(ExperimentResult))
    classes = f["classes"].texts()
    if len(classes) < 2:
        f["classes"].fail(f"expected at least two classes, found {len(classes)}")
    angles_deg = _angles(f["view_angles_deg"])
    f["settings"].members()
    settings = f["settings"].plain()
    assert isinstance(settings, dict)
    examples = f["examples"].items()
    if len(examples) > MAX_EXAMPLES:
        f["examples"].fail(f"expected at most {MAX_EXAMPLES} examples, found {len(examples)}")
    return ExperimentResult(
        schema_version=SCHEMA_VERSION,
        recipe=f["recipe"].text(),
        method=f["method"].text(),
        aligned_with_text=f["aligned_with_text"].boolean(),
        settings=settings,
        layout=f["layout"].text(),
        manifest_hash=f["manifest_hash"].text(),
        trained_on=_other_training_data(f["trained_on"]),
        started_from=_other_training_data(f["started_from"]),
        synthetic=f["synthetic"].boolean(),
        pairing_mode=f["pairing_mode"].choice(REPORTED_PAIRINGS),
        pairing_name=f["pairing_name"].text(),
        pairing_teacher=_teacher(f["pairing_teacher"], classes),
        protocol=f["protocol"].text(),
        level=f["level"].choice(LEVELS),
        classes=classes,
        view_angles_deg=angles_deg,
        seeds={name: node.integer() for name, node in f["seeds"].members().items()},
        package_version=f["package_version"].text(),
        git_commit=f["git_commit"].optional_text(),
        folds=_folds(f["folds"], classes, angles_deg),
        summary=_summary(f["summary"], classes, angles_deg),
        controls=tuple(_control(node, classes, angles_deg) for node in f["controls"].items()),
        examples=tuple(_example(node, classes, angles_deg) for node in examples),
    )


def _other_training_data(node: Node) -> OtherTrainingData | None:
    if node.value is None:
        return None
    f = node.fields(field.name for field in fields(OtherTrainingData))
    return OtherTrainingData(
        layout=f["layout"].text(), manifest_hash=f["manifest_hash"].text(), synthetic=f["synthetic"].boolean()
    )


def _teacher(node: Node, classes: tuple[str, ...]) -> PairingTeacher | None:
    if node.value is None:
        return None
    f = node.fields(field.name for field in fields(PairingTeacher))
    return PairingTeacher(
        name=f["name"].text(),
        digest=f["digest"].text(),
        manifest_hash=f["manifest_hash"].text(),
        synthetic=f["synthetic"].boolean(),
        proposals=tuple(_proposals(item, classes) for item in f["proposals"].items()),
    )


def _proposals(node: Node, classes: tuple[str, ...]) -> FoldProposals:
    f = node.fields(field.name for field in fields(FoldProposals))
    return FoldProposals(
        fold=f["fold"].integer(),
        num_samples=f["num_samples"].integer(1),
        proposed={name: n.integer() for name, n in f["proposed"].by_class(classes).items()},
        kept={name: n.integer() for name, n in f["kept"].by_class(classes).items()},
    )


def _angles(node: Node) -> tuple[float, ...]:
    angles = tuple(item.number(-180.0, 180.0) for item in node.items())
    if not angles:
        node.fail("expected at least one view angle")
    if len(set(angles)) != len(angles):
        node.fail(f"an angle is there twice: {list(angles)}")
    return angles


def _folds(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> tuple[FoldResult, ...]:
    folds = tuple(_fold(item, classes, angles_deg) for item in node.items())
    if not folds:
        node.fail("expected at least one fold")
    return folds


def _fold(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> FoldResult:
    f = node.fields(field.name for field in fields(FoldResult))
    by_class = f["view_weights_by_class"].members()
    for name, member in by_class.items():
        if name not in classes:
            member.fail(f"{name!r} is none of the classes")
    log = f["metrics_csv"]
    return FoldResult(
        fold=f["fold"].integer(),
        num_folds=f["num_folds"].integer(1),
        train_subjects=f["train_subjects"].texts(),
        validation_subjects=f["validation_subjects"].texts(),
        test_subjects=f["test_subjects"].texts(),
        num_train_samples=f["num_train_samples"].integer(),
        num_test_samples=f["num_test_samples"].integer(1),
        accuracy=f["accuracy"].number(0.0, 1.0),
        accuracy_interval=_interval(f["accuracy_interval"], 0.0),
        macro_f1=f["macro_f1"].number(0.0, 1.0),
        per_class_f1={name: n.number(0.0, 1.0) for name, n in f["per_class_f1"].by_class(classes).items()},
        unweighted_average_recall=f["unweighted_average_recall"].number(0.0, 1.0),
        confusion_matrix=_confusion(f["confusion_matrix"], len(classes)),
        subject_counts=_subject_counts(f["subject_counts"]),
        view_weights=_weights(f["view_weights"], angles_deg),
        view_weights_by_class={name: _weights(by_class[name], angles_deg) for name in classes if name in by_class},
        single_view_accuracy={
            angle: n.number(0.0, 1.0) for angle, n in f["single_view_accuracy"].by_angle(angles_deg).items()
        },
        single_view_confusion={
            angle: _confusion(n, len(classes)) for angle, n in f["single_view_confusion"].by_angle(angles_deg).items()
        },
        single_view_subject_counts={
            angle: _subject_counts(n) for angle, n in f["single_view_subject_counts"].by_angle(angles_deg).items()
        },
        mean_fusion_accuracy=f["mean_fusion_accuracy"].number(0.0, 1.0),
        mean_fusion_subject_counts=_subject_counts(f["mean_fusion_subject_counts"]),
        readouts={name: _readout(n, classes) for name, n in f["readouts"].members().items()},
        calibration=_calibration(f["calibration"]),
        by_level={n.integer_key(name): _count(n) for name, n in f["by_level"].members().items()},
        multi_label=_multi_label(f["multi_label"], classes, angles_deg),
        epoch_choice=_epoch_choice(f["epoch_choice"]),
        metrics_csv=None if log.value is None else log.relative_path(),
    )


def _epoch_choice(node: Node) -> EpochChoice | None:
    if node.value is None:
        return None
    f = node.fields(field.name for field in fields(EpochChoice))
    monitor: Monitor = f["monitor"].choice(MONITORS)
    return EpochChoice(
        epoch=f["epoch"].integer(),
        num_epochs=f["num_epochs"].integer(1),
        monitor=monitor,
        value=f["value"].number(0.0, 1.0) if monitor == "accuracy" else f["value"].number(-1e12, 1e12),
    )


def _readout(node: Node, classes: tuple[str, ...]) -> Readout:
    f = node.fields(field.name for field in fields(Readout))
    return Readout(
        supervision=f["supervision"].choice(READOUT_SUPERVISIONS),
        accuracy=f["accuracy"].number(0.0, 1.0),
        macro_f1=f["macro_f1"].number(0.0, 1.0),
        unweighted_average_recall=f["unweighted_average_recall"].number(0.0, 1.0),
        confusion_matrix=_confusion(f["confusion_matrix"], len(classes)),
        subject_counts=_subject_counts(f["subject_counts"]),
    )


def _calibration(node: Node) -> Calibration:
    f = node.fields(field.name for field in fields(Calibration))
    return Calibration(
        expected_calibration_error=f["expected_calibration_error"].number(0.0, 1.0),
        temperature=f["temperature"].number(0.0, 1e6),
        bins=tuple(_bin(item) for item in f["bins"].items()),
    )


def _bin(node: Node) -> CalibrationBin:
    f = node.fields(field.name for field in fields(CalibrationBin))
    return CalibrationBin(
        low=f["low"].number(0.0, 1.0),
        count=f["count"].integer(),
        confidence=f["confidence"].number(0.0, 1.0),
        accuracy=f["accuracy"].number(0.0, 1.0),
    )


def _multi_label(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> MultiLabelScore | None:
    if node.value is None:
        return None
    f = node.fields(field.name for field in fields(MultiLabelScore))
    return MultiLabelScore(
        subjects=f["subjects"].texts(),
        num_samples=f["num_samples"].integer(1),
        thresholds={name: n.number(-2.0, 2.0) for name, n in f["thresholds"].by_class(classes).items()},
        fused=_binary(f["fused"], classes),
        by_view={angle: _binary(n, classes) for angle, n in f["by_view"].by_angle(angles_deg).items()},
        always_no=_binary(f["always_no"], classes),
        num_exact=f["num_exact"].integer(),
    )


def _binary(node: Node, classes: tuple[str, ...]) -> dict[str, BinaryCounts]:
    names = [field.name for field in fields(BinaryCounts)]
    return {
        name: BinaryCounts(**{key: n.integer() for key, n in counts.fields(names).items()})
        for name, counts in node.by_class(classes).items()
    }


def _interval(node: Node, low: float) -> Interval | None:
    if node.value is None:
        return None
    items = node.items()
    if len(items) != 2:
        node.fail(f"expected [low, high] or null, found {len(items)} numbers")
    lower, upper = (item.number(low, 1.0) for item in items)
    if lower > upper:
        node.fail(f"the lower end {lower!r} is above the upper end {upper!r}")
    return lower, upper


def _confusion(node: Node, num_classes: int) -> ConfusionMatrix:
    rows = node.items()
    if len(rows) != num_classes:
        node.fail(f"expected {num_classes} rows, one per class, found {len(rows)}")
    for row in rows:
        if len(row.items()) != num_classes:
            row.fail(f"expected {num_classes} counts, one per class, found {len(row.items())}")
    return tuple(tuple(item.integer() for item in row.items()) for row in rows)


def _subject_counts(node: Node) -> dict[str, tuple[int, int]]:
    return {name: _count(member) for name, member in node.members().items()}


def _count(node: Node) -> tuple[int, int]:
    items = node.items()
    if len(items) != 2:
        node.fail(f"expected [correct, tested], found {len(items)} numbers")
    correct, tested = items[0].integer(), items[1].integer(1)
    if correct > tested:
        node.fail(f"{correct} correct of {tested} tested")
    return correct, tested


def _weights(node: Node, angles_deg: tuple[float, ...]) -> dict[float, float]:
    weights = {angle: member.number(0.0, 1.0) for angle, member in node.by_angle(angles_deg).items()}
    if abs(sum(weights.values()) - 1.0) > 1e-4:
        node.fail(f"the weights sum to {sum(weights.values())!r}, expected 1")
    return weights


def _spread(node: Node, low: float = 0.0) -> Spread:
    f = node.fields(field.name for field in fields(Spread))
    std = None if f["std"].value is None else f["std"].number(0.0, 2.0)
    return Spread(mean=f["mean"].number(low, 1.0), std=std, interval=_interval(f["interval"], low))


def _summary(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> FoldsSummary:
    f = node.fields(field.name for field in fields(FoldsSummary))
    return FoldsSummary(
        num_folds_run=f["num_folds_run"].integer(1),
        accuracy=_spread(f["accuracy"]),
        macro_f1=_spread(f["macro_f1"]),
        unweighted_average_recall=_spread(f["unweighted_average_recall"]),
        per_class_f1={name: _spread(n) for name, n in f["per_class_f1"].by_class(classes).items()},
        mean_fusion_accuracy=_spread(f["mean_fusion_accuracy"]),
        gain_over_mean_fusion=_spread(f["gain_over_mean_fusion"], -1.0),
        single_view_accuracy={a: _spread(n) for a, n in f["single_view_accuracy"].by_angle(angles_deg).items()},
        gain_over_single_view={a: _spread(n, -1.0) for a, n in f["gain_over_single_view"].by_angle(angles_deg).items()},
        view_weights=_weights(f["view_weights"], angles_deg),
        confusion_matrix=_confusion(f["confusion_matrix"], len(classes)),
    )


def _control(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> ControlResult:
    f = node.fields(field.name for field in fields(ControlResult))
    return ControlResult(
        name=f["name"].text(),
        description=f["description"].text(),
        folds=_folds(f["folds"], classes, angles_deg),
        summary=_summary(f["summary"], classes, angles_deg),
    )


def _example(node: Node, classes: tuple[str, ...], angles_deg: tuple[float, ...]) -> Example:
    f = node.fields(field.name for field in fields(Example))
    probabilities = {name: n.number(0.0, 1.0) for name, n in f["probabilities"].by_class(classes).items()}
    if abs(sum(probabilities.values()) - 1.0) > 1e-4:
        f["probabilities"].fail(f"the probabilities sum to {sum(probabilities.values())!r}, expected 1")
    return Example(
        sample_id=f["sample_id"].text(),
        subject=f["subject"].text(),
        fold=f["fold"].integer(),
        truth=f["truth"].choice(classes),
        predicted=f["predicted"].choice(classes),
        probabilities=probabilities,
        view_weights=_weights(f["view_weights"], angles_deg),
        images={angle: n.relative_path() for angle, n in f["images"].by_angle(angles_deg).items()},
    )
