"""Results of a model that was never trained: plausible numbers for the schema and the report, by the real scoring."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from smilevlm.evaluation import (
    ExampleSample,
    FoldEmbeddings,
    FoldSamples,
    FoldTraining,
    ProbeTrainingSet,
    ZeroShotClassifier,
    draw_examples,
    make_example,
    multi_label_score,
    score_fold,
    summarise_folds,
)
from smilevlm.models import Prototypes, class_prototypes, zero_shot_scores
from smilevlm.results import (
    ControlResult,
    ExperimentResult,
    FoldProposals,
    FoldResult,
    PairingTeacher,
    honest_pairing_name,
)

CLASSES = ("happy", "sad", "surprise", "angry", "disgust", "fear")
ANGLES = (-30.0, 0.0, 30.0)
DIM = 24
TEMPERATURE = 0.2
METHOD_NOISE = {"full": 1.0, "supervised": 0.9}
"""How hard the samples are to a method; 1.25 to all others."""


class FakeFold:
    """Embeddings around the prototypes, the frontal view the clearest."""

    def __init__(self, fold: int, *, subjects_per_fold: int, samples_per_class: int, noise: float, seed: int) -> None:
        rng = np.random.default_rng([seed, fold])
        self.prototypes = class_prototypes(np.random.default_rng(3).normal(size=(len(CLASSES), DIM)), CLASSES, CLASSES)
        self.test_subjects = [f"F{fold:02d}{i:02d}" for i in range(subjects_per_fold)]
        self.subjects = [s for s in self.test_subjects for _ in range(len(CLASSES) * samples_per_class)]
        self.truth = [c for _ in self.test_subjects for c in CLASSES for _ in range(samples_per_class)]
        centre = self.prototypes.vectors[[CLASSES.index(name) for name in self.truth]]
        levels = noise * np.array([1.25, 0.85, 1.15])
        # The six differ in how hard they are.
        hard = np.array([0.55, 0.95, 0.6, 1.0, 0.9, 1.25])[[CLASSES.index(name) for name in self.truth]]
        shape = (len(self.truth), len(ANGLES), DIM)
        scatter = rng.normal(size=shape) * hard[:, None, None] * levels[None, :, None]
        self.z_views = (centre[:, None] + scatter).astype(np.float32)
        raw = np.exp(rng.normal(size=shape[:2], scale=0.25) + np.array([0.0, 0.5, 0.1]))
        self.weights = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        self.z_fused = np.einsum("nv,nvd->nd", self.weights, self.z_views)
        self.noise, self.seed = noise, seed

    def train_side(self, train_subjects: list[str]) -> ProbeTrainingSet:
        """One sample of every class of each; the tower's features are taken to be the views' embeddings."""
        rng = np.random.default_rng([self.seed, len(train_subjects), 1])
        truth = [name for _ in train_subjects for name in CLASSES]
        centre = self.prototypes.vectors[[CLASSES.index(name) for name in truth]]
        scatter = self.noise * rng.normal(size=(len(truth), len(ANGLES), DIM))
        subjects = [subject for subject in train_subjects for _ in CLASSES]
        return ProbeTrainingSet(features=(centre[:, None] + scatter).astype(np.float32), truth=truth, subjects=subjects)


def prompts_around(prototypes: Prototypes) -> Prototypes:
    """Three prompts of each class, near its direction."""
    near = np.random.default_rng(5).normal(size=(3, *prototypes.vectors.shape), scale=0.05) + prototypes.vectors
    return class_prototypes(near.reshape(-1, DIM), CLASSES * 3, CLASSES, combine="max")


def fold_result(data: FakeFold, fold: int, num_folds: int, *, shuffled: bool = False, log: bool = True) -> FoldResult:
    prototypes = data.prototypes
    if shuffled:
        prototypes = class_prototypes(np.random.default_rng(9).normal(size=(len(CLASSES), DIM)), CLASSES, CLASSES)
    train_subjects = [f"F{other:02d}{i:02d}" for other in range(num_folds) if other != fold for i in range(1, 4)]
    return score_fold(
        FoldEmbeddings(
            z_views=data.z_views,
            z_fused=data.z_fused,
            view_weights=data.weights,
            features=data.z_views,
            view_angles_deg=ANGLES,
        ),
        FoldSamples(
            truth=data.truth, subjects=data.subjects, levels=[3 + number % 2 for number in range(len(data.truth))]
        ),
        ZeroShotClassifier(prototypes=prototypes, temperature=TEMPERATURE, nearest=prompts_around(prototypes)),
        FoldTraining(
            fold=fold,
            num_folds=num_folds,
            subjects=train_subjects,
            num_samples=900,
            validation_subjects=[f"F{other:02d}00" for other in range(num_folds) if other != fold],
            metrics_csv=f"fold_{fold}/metrics.csv" if log and not shuffled else None,
        ),
        probe_training=None if shuffled else data.train_side(train_subjects),
    )


def fake_result(
    *,
    num_folds: int = 3,
    folds_run: int | None = None,
    synthetic: bool = True,
    recipe: str = "bu3dfe_subset_1",
    method: str = "full",
    noise: float = 0.62,
    subjects_per_fold: int = 4,
    samples_per_class: int = 2,
    num_examples: int = 6,
    control: bool = True,
    log: bool = True,
    seed: int = 0,
) -> ExperimentResult:
    """A complete result; its images and logs are written by `write_companions`.

    Methods of one seed are tested on the same samples, so that they can be compared in pairs.
    """
    noise *= METHOD_NOISE.get(method, 1.25)
    mode = "labels" if method == "supervised" else "class"
    datas = [
        FakeFold(f, subjects_per_fold=subjects_per_fold, samples_per_class=samples_per_class, noise=noise, seed=seed)
        for f in range(folds_run or num_folds)
    ]
    folds = tuple(fold_result(data, f, num_folds, log=log) for f, data in enumerate(datas))
    shuffled = tuple(fold_result(data, f, num_folds, shuffled=True) for f, data in enumerate(datas))
    first = datas[0]
    scores = zero_shot_scores(first.z_fused, first.prototypes)
    examples = tuple(
        make_example(
            ExampleSample(
                sample_id=f"{first.subjects[index]}_{first.truth[index]}_{index:03d}",
                subject=first.subjects[index],
                fold=0,
                truth=first.truth[index],
                images={angle: f"examples/{number:02d}_{angle:g}.png" for angle in ANGLES},
                actions={"AU12": (0.75, 0.5), "AU6": (0.25, 0.25)} if number == 0 else None,
            ),
            scores=scores[index],
            temperature=TEMPERATURE,
            classes=CLASSES,
            view_weights=dict(zip(ANGLES, first.weights[index].tolist(), strict=True)),
        )
        for number, index in enumerate(draw_examples(first.truth, CLASSES, num_examples=num_examples))
    )
    controls = (
        ControlResult(
            name="shuffled prompts",
            description="Each sample is trained with the prompts of a random class.",
            folds=shuffled,
            summary=summarise_folds(shuffled),
        ),
    )
    return ExperimentResult(
        recipe=recipe,
        method=method,
        aligned_with_text=method != "multi_view_alone",
        settings={
            "training": {"learning_rate": 1e-4, "weight_decay": 1e-6, "num_epochs": 40, "batch_size": 64},
            "losses": {"lambd": 0.0051, "temperature": 0.07, "standardize": True},
            "views": {"kind": "geometry", "size": 96, "angles_deg": [-30.0, 0.0, 30.0]},
            "prompts": {"set": "table_1", "combine": "mean", "extra": None},
            "augmentations": [{"name": "crop", "scale": [0.7, 1.0]}, {"name": "erase", "probability": 0.3}],
        },
        layout="bu3dfe",
        manifest_hash="sha256:9f2c1a7e44b0",
        trained_on=None,
        started_from=None,
        synthetic=synthetic,
        pairing_mode=mode,
        pairing_name=honest_pairing_name(mode),
        pairing_teacher=None,
        pairing_captions=None,
        protocol="BU-3DFE Subset I, subject-independent folds",
        level="scan",
        classes=CLASSES,
        view_angles_deg=ANGLES,
        seeds={"folds": seed, "training": seed},
        package_version="0.1.0",
        git_commit="7492f2c",
        folds=folds,
        summary=summarise_folds(folds),
        controls=controls if control else (),
        examples=examples,
    )


def taught(result: ExperimentResult) -> ExperimentResult:
    """The same result, its prompts proposed by a teacher that is sure of two thirds of the samples."""
    num_classes = len(result.classes)
    proposals = tuple(
        FoldProposals(
            fold=fold.fold,
            num_samples=fold.num_train_samples,
            proposed=dict.fromkeys(result.classes, fold.num_train_samples // num_classes),
            kept=dict.fromkeys(result.classes, fold.num_train_samples * 2 // (3 * num_classes)),
        )
        for fold in result.folds
    )
    teacher = PairingTeacher(
        name="demo/fold_00", digest="0123456789abcdef", manifest_hash="5a11", synthetic=True, proposals=proposals
    )
    name = honest_pairing_name("pseudo", teacher.description)
    return replace(result, pairing_mode="pseudo", pairing_name=name, pairing_teacher=teacher)


def with_several_classes(result: ExperimentResult) -> ExperimentResult:
    """The same result, its test samples with one class joined by as many that have two."""

    def joined(fold: FoldResult, number: int) -> FoldResult:
        rng = np.random.default_rng(number)
        single = np.repeat(np.eye(len(CLASSES), dtype=bool), np.sum(fold.confusion_matrix, axis=1), axis=0)
        truth = np.concatenate([single, single | np.roll(single, 1, axis=1)])
        scores = {angle: truth * 0.5 + rng.normal(size=truth.shape, scale=0.3).clip(-0.5, 0.5) for angle in ANGLES}
        fused = np.mean(list(scores.values()), axis=0)
        score = multi_label_score(
            classes=CLASSES,
            subjects=[fold.test_subjects[i % len(fold.test_subjects)] for i in range(len(truth))],
            train_truth=truth[::2],
            train_scores=fused[::2],
            train_view_scores={angle: each[::2] for angle, each in scores.items()},
            truth=truth,
            scores=fused,
            view_scores=scores,
        )
        return replace(fold, multi_label=score)

    return replace(result, folds=tuple(joined(fold, number) for number, fold in enumerate(result.folds)))


def write_companions(folder: Path, result: ExperimentResult, *, size: int = 24, num_steps: int = 60) -> None:
    """The images and training logs that a result names."""
    for number, example in enumerate(result.examples):
        for angle, name in example.images.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(fake_face(angle, result.classes.index(example.truth), number, size)).save(path)
    for fold in result.folds:
        if fold.metrics_csv is not None:
            write_metrics(folder / fold.metrics_csv, fold.fold, num_steps)


def write_metrics(path: Path, seed: int, num_steps: int) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        losses = ["loss_total", "loss_multi_view", "loss_alignment", "loss_redundancy"]
        writer.writerow(["step", "epoch", *losses, "learning_rate", "validation_accuracy"])
        for step in range(num_steps):
            part = step / num_steps
            noise = np.exp(rng.normal(size=3, scale=0.05))
            views, alignment, redundancy = np.array([60, 2.2, 25]) * np.exp(-np.array([3, 0.8, 2.5]) * part) * noise
            epoch_end = step % 10 == 9
            validation = f"{0.2 + 0.6 * (1 - np.exp(-4 * part)) + 0.02 * rng.normal():.4f}" if epoch_end else ""
            row = [views + alignment + redundancy, views, alignment, redundancy]
            writer.writerow([step, step // 10, *(f"{value:.5f}" for value in row), 1e-4, validation])


def fake_face(angle_deg: float, mood: int, seed: int, size: int) -> np.ndarray:
    """A shaded ball with eyes and a mouth, turned; a likeness of nobody."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[1 : -1 : size * 1j, -1 : 1 : size * 1j]
    width, height = 0.66 + 0.05 * rng.normal(), 0.86
    inside = (u / width) ** 2 + (v / height) ** 2 < 1
    depth = np.sqrt(np.clip(1 - (u / width) ** 2 - (v / height) ** 2, 0, None))
    turn = np.deg2rad(angle_deg)
    x = u / width * np.cos(turn) - depth * np.sin(turn)
    light = 0.35 + 0.65 * np.clip(0.35 * u + 0.45 * v + 0.85 * depth, 0, 1)
    grey = np.where(inside, 205 * light + 25, 250)
    for side in (-0.36, 0.36):
        grey = np.where(inside & (((x - side) / 0.14) ** 2 + ((v - 0.22) / 0.07) ** 2 < 1), grey * 0.45, grey)
    bend = (0.5, -0.4, 0.0, -0.25, -0.15, -0.3)[mood]
    mouth = np.abs(v + 0.42 - bend * x**2) < (0.035 if mood != 2 else 0.13)
    grey = np.where(inside & mouth & (np.abs(x) < (0.36 if mood != 2 else 0.18)), grey * 0.4, grey)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
