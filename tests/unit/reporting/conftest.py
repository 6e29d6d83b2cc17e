"""A study that was never run: random predictions, scored by counting, so that every count agrees with every other."""

from dataclasses import dataclass

import numpy as np
import pytest

from smilevlm.evaluation import summarise_folds
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS
from smilevlm.results import (
    BinaryCounts,
    Calibration,
    CalibrationBin,
    ExperimentResult,
    FoldResult,
    MultiLabelScore,
    OtherTrainingData,
    Readout,
    Study,
    StudyMethod,
    StudyRun,
    StudySetting,
    class_f1,
    class_recall,
    honest_pairing_name,
    write_record,
    write_results,
)

ANGLES = (-30.0, 0.0, 30.0)
SKILL = {"full": 0.8, "without_alignment": 0.55, "supervised": 0.86, "shuffled_prompts": 0.0, "untrained": 0.05}
METHODS = (
    "full", "without_multi_view", "without_alignment", "without_redundancy", "multi_view_alone", "alignment_alone",
    "supervised", "shuffled_prompts", "untrained", "raw_clip",
)  # fmt: skip


def predictions(truth, num_classes, skill, rng):
    """Right with probability `skill`, otherwise any class."""
    guess = rng.integers(num_classes, size=len(truth))
    return np.where(rng.random(len(truth)) < skill, truth, guess)


def confusion(truth, said, num_classes):
    counts = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(counts, (truth, said), 1)
    return tuple(tuple(int(n) for n in row) for row in counts)


def by_subject(correct, subjects):
    return {
        name: (int(correct[subjects == name].sum()), int((subjects == name).sum())) for name in sorted(set(subjects))
    }


def readout(truth, said, subjects, num_classes, supervision="labels"):
    matrix = confusion(truth, said, num_classes)
    return Readout(
        supervision=supervision,
        accuracy=float((truth == said).mean()),
        macro_f1=float(class_f1(matrix).mean()),
        unweighted_average_recall=float(class_recall(matrix).mean()),
        confusion_matrix=matrix,
        subject_counts=by_subject(truth == said, subjects),
    )


def binary(there, said):
    return BinaryCounts(
        true_positive=int((there & said).sum()),
        false_positive=int((~there & said).sum()),
        false_negative=int((there & ~said).sum()),
        true_negative=int((~there & ~said).sum()),
    )


def multi_label(classes, rng):
    there = rng.random((30, len(classes))) < 0.4
    counts = [
        {name: binary(there[:, i], said & ((rng.random(30) < 0.75) == there[:, i])) for i, name in enumerate(classes)}
        for said in (True, True, True, True, False)
    ]
    return MultiLabelScore(
        subjects=tuple(f"P{number:02d}" for number in range(10)),
        num_samples=30,
        thresholds=dict.fromkeys(classes, 0.1),
        fused=counts[0],
        by_view=dict(zip(ANGLES, counts[1:4], strict=True)),
        always_no=counts[4],
        num_exact=7,
    )


def calibration(correct, rng):
    confidence = np.clip(0.3 + 0.6 * correct + rng.normal(size=len(correct), scale=0.15), 0.2, 0.99)
    bins, error = [], 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if count else (0.0, 0.0)
        error += count / len(correct) * abs(means[0] - means[1])
        bins.append(CalibrationBin(low=float(low), count=count, confidence=means[0], accuracy=means[1]))
    return Calibration(expected_calibration_error=error, temperature=0.05, bins=tuple(bins))


def fake_fold(classes, method, seed, fold, num_folds, *, levels=(3, 4), multi=False, num_subjects=6):
    """Test people and truth depend on seed and fold alone, so that methods can be compared in pairs."""
    people = [f"P{number:02d}" for number in np.random.default_rng(seed).permutation(30)]
    tested = sorted(people[fold * num_subjects : (fold + 1) * num_subjects])
    others = sorted(set(people) - set(tested))
    subjects = np.repeat(tested, len(classes) * len(levels))
    truth = np.tile(np.arange(len(classes)), len(tested) * len(levels))
    level = np.tile(np.repeat(levels, len(classes)), len(tested))
    skill = SKILL.get(method, 0.7)
    rng = np.random.default_rng([seed, fold, int(1000 * skill), len(method)])
    num_classes = len(classes)
    said = predictions(truth, num_classes, skill, rng)
    views = {angle: predictions(truth, num_classes, 0.85 * skill, rng) for angle in ANGLES}
    matrix = confusion(truth, said, num_classes)
    weights = rng.dirichlet([20, 40, 22], size=num_classes)
    correct = truth == said
    mean = predictions(truth, num_classes, 0.95 * skill, rng)
    reads = {name: predictions(truth, num_classes, min(1.0, skill + 0.05), rng) for name in ("linear_probe", "knn")}
    return FoldResult(
        fold=fold,
        num_folds=num_folds,
        train_subjects=tuple(others[2:]),
        validation_subjects=tuple(others[:2]),
        test_subjects=tuple(tested),
        num_train_samples=len(others[2:]) * num_classes * len(levels),
        num_test_samples=len(truth),
        accuracy=float(correct.mean()),
        accuracy_interval=(max(0.0, float(correct.mean()) - 0.1), min(1.0, float(correct.mean()) + 0.1)),
        macro_f1=float(class_f1(matrix).mean()),
        per_class_f1={name: float(v) for name, v in zip(classes, class_f1(matrix), strict=True)},
        unweighted_average_recall=float(class_recall(matrix).mean()),
        confusion_matrix=matrix,
        subject_counts=by_subject(correct, subjects),
        subject_confusion={
            name: confusion(truth[subjects == name], said[subjects == name], num_classes) for name in tested
        },
        view_weights={angle: float(weights[:, i].mean()) for i, angle in enumerate(ANGLES)},
        view_weights_by_class={
            name: {angle: float(weights[row, i]) for i, angle in enumerate(ANGLES)} for row, name in enumerate(classes)
        },
        single_view_accuracy={angle: float((view == truth).mean()) for angle, view in views.items()},
        single_view_confusion={angle: confusion(truth, view, num_classes) for angle, view in views.items()},
        single_view_subject_counts={angle: by_subject(truth == view, subjects) for angle, view in views.items()},
        mean_fusion_accuracy=float((mean == truth).mean()),
        mean_fusion_subject_counts=by_subject(truth == mean, subjects),
        readouts={
            **{name: readout(truth, values, subjects, num_classes) for name, values in reads.items()},
            "late_fusion": readout(truth, views[0.0], subjects, num_classes, "none"),
            "nearest_prompt": readout(truth, said, subjects, num_classes, "none"),
            "majority": readout(truth, np.zeros_like(truth), subjects, num_classes),
        },
        calibration=calibration(correct, rng),
        by_level={int(each): (int(correct[level == each].sum()), int((level == each).sum())) for each in levels},
        multi_label=multi_label(classes, rng) if multi else None,
        epoch_choice=None,
        metrics_csv=None,
    )


def fake_run(setting, method, seed, *, folds=(0,), num_folds=5, synthetic=True):
    micro = setting.startswith("4dme")
    classes = ("happy", "disgust") if setting == "bp4d_cross" else MICRO_EXPRESSIONS if micro else BASIC_EXPRESSIONS
    results = tuple(
        fake_fold(
            classes, method, seed, fold, num_folds,
            levels={"bu3dfe_subset1": (3, 4), "bu3dfe_subset2": (1, 2, 3, 4)}.get(setting, (0,)),
            multi=setting == "4dme_multi_label",
        )
        for fold in folds
    )  # fmt: skip
    mode = "labels" if method == "supervised" else "class"
    layout = setting.split("_")[0]
    cross = OtherTrainingData(layout="bu4dfe", manifest_hash="sha256:0dd1", synthetic=synthetic)
    return ExperimentResult(
        recipe=f"tiny_{setting}",
        method=method,
        aligned_with_text=method != "multi_view_alone",
        settings={"loss": {"alpha": 0.0 if method == "without_multi_view" else 1.0}, "seed": seed, "tags": []},
        layout=layout,
        manifest_hash=f"sha256:{layout}",
        trained_on=cross if setting == "bp4d_cross" else None,
        started_from=None,
        synthetic=synthetic,
        pairing_mode=mode,
        pairing_name=honest_pairing_name(mode),
        pairing_teacher=None,
        pairing_captions=None,
        protocol=setting.replace("4dme", "fourdme"),
        level="sequence" if micro or layout in ("bu4dfe", "bp4d") else "scan",
        classes=classes,
        view_angles_deg=ANGLES,
        seeds={"folds": seed, "training": seed},
        package_version="0.1.0",
        git_commit="1ac3ba6",
        folds=results,
        summary=summarise_folds(results),
        controls=(),
        examples=(),
    )


@dataclass
class FakeStudy:
    """Writes studies into a folder."""

    folder: object

    def write(
        self, settings, *, methods=METHODS, seeds=(0, 1, 2), missing=(), synthetic=True, profile="tiny", targets=None,
        folds=(0,), num_folds=5, change=lambda result: result, files=(),
    ):  # fmt: skip
        """`missing`: (setting, method, seed or None for all). Methods are left out of the 4dme settings but `full`."""
        runs = []
        for setting in settings:
            for method in methods:
                if setting.startswith("4dme") and method != "full":
                    continue
                for seed in seeds:
                    if (setting, method, seed) in missing or (setting, method, None) in missing:
                        runs.append(
                            StudyRun(setting=setting, method=method, seed=seed, results=None, reason="no CLIP given")
                        )
                        continue
                    name = f"runs/{setting}/{method}/seed_{seed}/results.json"
                    result = change(
                        fake_run(setting, method, seed, folds=folds, num_folds=num_folds, synthetic=synthetic)
                    )
                    write_results(self.folder / name, result)
                    runs.append(StudyRun(setting=setting, method=method, seed=seed, results=name))
        study = Study(
            profile=profile,
            targets=targets or ("table2", "table3", "table4", "table5", "fig2", "fig3"),
            synthetic=synthetic,
            data={"bu3dfe": "70 synthetic people, smilevlm synthesize bu3dfe" if synthetic else "licensed scans"},
            settings=tuple(
                StudySetting(name=name, title=f"Title of {name}", protocol=f"Protocol of {name}") for name in settings
            ),
            methods=tuple(
                StudyMethod(name=name, title=f"Method {name}", supervision=f"told to {name}") for name in methods
            ),
            runs=tuple(runs),
            files=tuple(files),
            package_version="0.1.0",
            git_commit="1ac3ba6",
        )
        path = self.folder / "study.json"
        write_record(path, study)
        return path


@pytest.fixture
def fake_study(tmp_path):
    return FakeStudy(tmp_path)


@pytest.fixture(scope="module")
def fake_study_once(tmp_path_factory):
    return FakeStudy(tmp_path_factory.mktemp("study"))
