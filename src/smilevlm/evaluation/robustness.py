"""Accuracy on degraded and missing views, on another head model, and of probes with few labels; identity leakage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.augment.distortions import Distortions, DistortionSettings
from smilevlm.errors import StoreError
from smilevlm.evaluation.fold_score import predict
from smilevlm.evaluation.probes import ProbeTrainingSet, linear_probe_predictions, side_by_side
from smilevlm.evaluation.run import is_aligned
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import TrainedFold, open_trained_fold
from smilevlm.models import Embedded, ModelBundle
from smilevlm.results import Condition, ConditionScores, ProbeScore, RobustnessResult, write_record
from smilevlm.store import PreparedSet, Sample, differing_settings
from smilevlm.training import ROBUSTNESS_NAME, check_initial_weights, split_fold
from smilevlm.training.data import which_are_dynamic
from smilevlm.views import ViewSettings

_DEGRADED, _WHICH_VIEW = range(2)
_DEGRADATION = {
    "noise": 0.12, "hole": 0.4, "num_holes": 2, "hole_probability": 0.7, "dropout": 0.25, "lighting": 0.4,
    "downsample_probability": 0.5, "blur": 0.5, "pitch_mm": 2.0,
}  # fmt: skip
"""`DistortionSettings` of degraded test views: stronger than any recipe trains with, and a lighting that none has."""


@dataclass(frozen=True, kw_only=True)
class _Views:
    """Embedded views of test samples.

    Attributes:
        z: Of each view.
        features: The tower's.
        present: Which views are there; None for all.
        changed: Which view of each sample was degraded; None where none or all were.
    """

    z: Float[np.ndarray, "n view dim"]
    features: Float[np.ndarray, "n view feature"]
    present: Bool[np.ndarray, "n view"] | None = None
    changed: Int[np.ndarray, " n"] | None = None


def evaluate_robustness(
    run: Path,
    store: Path,
    *,
    fold: int | None = None,
    other_head_model: Path | None = None,
    few_labels: Sequence[int] = (),
    seed: int = 0,
) -> RobustnessResult:
    """Score a trained fold on changed views of its test people, and write `robustness.json`.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.
        other_head_model: A prepared set of faces of a head model or scanner that the run was not trained on.
        few_labels: Numbers of training people whose labels further probes are fitted on, the people being those of
            `labelled_subjects` with the same seed; numbers that are not below all of them are left out.
        seed: Of the degradation, and of which view it befalls.

    Raises:
        StoreError: The other set's views were made in another way.
    """
    trained = open_trained_fold(run, store, fold)
    split, views, truth = trained.split, trained.config.prepare.views, trained.truth
    images = trained.prepared.load_images(trained.indices)
    clean = _embedded(trained.bundle, images)
    degraded = _embedded(trained.bundle, degrade(images, trained.samples, views, seed=seed))
    num_views = len(views.angles_deg)
    which = np.random.default_rng([seed, _WHICH_VIEW]).integers(num_views, size=len(images))
    chosen = which[:, None] == np.arange(num_views)
    changed: dict[Condition, _Views] = {
        "clean": clean,
        "all_views_degraded": degraded,
        "one_view_degraded": _Views(
            z=np.where(chosen[..., None], degraded.z, clean.z),
            features=np.where(chosen[..., None], degraded.features, clean.features),
            changed=which,
        ),
        "one_view_missing": replace(clean, present=~chosen),
    }
    truths: dict[Condition, Int[np.ndarray, " n"]] = dict.fromkeys(changed, truth)
    if other_head_model is not None:
        changed["other_head_model"], truths["other_head_model"] = _other_faces(trained, other_head_model)
    training = embed(trained.bundle, trained.prepared, split.train)
    # No probe where a view is missing: it is over all of them.
    probed = {name: (each.features, truths[name]) for name, each in changed.items() if each.present is None}
    labelled = split.labelled_samples(trained.prepared.samples)
    probes = dict(zip(probed, _probe_accuracies(trained, list(probed.values()), labelled, training), strict=True))
    subjects = [sample.subject for sample in trained.samples]
    result = RobustnessResult(
        **trained.identity,
        fold=split.fold,
        view_angles_deg=views.angles_deg,
        conditions={name: _scores(trained, each, truths[name], probes.get(name)) for name, each in changed.items()},
        probes=tuple(
            ProbeScore(
                num_subjects=number,
                accuracy=_probe_accuracies(trained, [(clean.features, truth)], _labelled(trained, number), training)[0],
            )
            for number in _fitted_on(few_labels, len(split.train_subjects))
        ),
        same_person_nearest=_same_person_nearest(clean.features, subjects),
        chance_same_person=_chance_same_person(subjects),
    )
    write_record(run / ROBUSTNESS_NAME, result)
    return result


def degrade(images: np.ndarray, samples: Sequence[Sample], views: ViewSettings, *, seed: int) -> np.ndarray:
    """Every view with noise, holes, missing patches, lost detail and one-sided light, as from a bad scan.

    Args:
        images: (sample, view, height, width, 3), uint8.
        samples: Of the images; dynamic images are blanked to mid-grey.
        views: How they were made.
        seed: Of everything that is drawn.
    """
    import torch

    settings = DistortionSettings(**_DEGRADATION, mirror=0.0, weak_strength=0.0, weak_degraded_share=1.0)
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, _DEGRADED]).generate_state(1)[0]))
    changed, _ = Distortions.for_views(settings, views).views_and_pairs(
        torch.from_numpy(np.ascontiguousarray(images.transpose(0, 1, 4, 2, 3))),
        generator,
        with_pairs=False,
        is_dynamic=which_are_dynamic(samples),
    )
    return changed.mul(255).round().to(torch.uint8).numpy().transpose(0, 1, 3, 4, 2)


def _probe_accuracies(
    trained: TrainedFold,
    tested: Sequence[tuple[np.ndarray, Int[np.ndarray, " n"]]],
    labelled: Sequence[int],
    training: Embedded,
) -> list[float]:
    """Accuracy of one linear probe on several sets of features and classes.

    Args:
        trained: The model's fold.
        tested: Features and class indices.
        labelled: Training samples that it is fitted on, as indices into the store.
        training: Embeddings of all of `split.train`.
    """
    samples, classes = trained.prepared.samples, trained.prototypes.classes
    known = set(labelled)
    rows = [place for place, i in enumerate(trained.split.train) if i in known and samples[i].expression in classes]
    fitted_on = [samples[trained.split.train[place]] for place in rows]
    predicted = linear_probe_predictions(
        ProbeTrainingSet(
            features=training.features[rows],
            truth=[sample.expression for sample in fitted_on],
            subjects=[sample.subject for sample in fitted_on],
        ),
        np.concatenate([features for features, _ in tested]),
        classes,
        trained.config.seed,
    )
    parts = np.split(predicted, np.cumsum([len(truth) for _, truth in tested])[:-1])
    return [float((part == truth).mean()) for part, (_, truth) in zip(parts, tested, strict=True)]


def _embedded(bundle: ModelBundle, images: np.ndarray) -> _Views:
    embedded = bundle.embed(images)
    return _Views(z=embedded.z_views, features=embedded.features)


def _fitted_on(few_labels: Sequence[int], num_subjects: int) -> list[int]:
    return [*sorted({number for number in few_labels if number < num_subjects}), num_subjects]


def _labelled(trained: TrainedFold, num_subjects: int) -> tuple[int, ...]:
    """Training samples of so many people, those of `labelled_subjects`."""
    split = trained.split
    if num_subjects == len(split.train_subjects):
        return split.train
    config = replace(trained.config, labelled_subjects=num_subjects)
    return split_fold(config, trained.prepared, split.fold).labelled_samples(trained.prepared.samples)


def _scores(
    trained: TrainedFold, views: _Views, truth: Int[np.ndarray, " n"], linear_probe: float | None
) -> ConditionScores:
    if not is_aligned(trained.config):
        return ConditionScores(
            num_samples=len(truth),
            fused=None,
            mean_fusion=None,
            single_views=None,
            matched=None,
            linear_probe=linear_probe,
        )
    present = np.ones(views.z.shape[:2], bool) if views.present is None else views.present
    z_fused, weights = trained.bundle.fuse(views.z, views.present)
    mean = (views.z.astype(np.float64) * present[..., None]).sum(axis=1) / present.sum(axis=1, keepdims=True)

    def accuracy(embeddings: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        return float((predict(embeddings[rows], trained.prototypes) == truth[rows]).mean())

    angles = trained.config.prepare.views.angles_deg
    return ConditionScores(
        num_samples=len(truth),
        fused=accuracy(z_fused),
        mean_fusion=accuracy(mean),
        single_views={float(a): accuracy(views.z[:, v], present[:, v]) for v, a in enumerate(angles)},
        matched=_matched_accuracy(truth, predict(z_fused, trained.prototypes), len(trained.prototypes.classes)),
        linear_probe=linear_probe,
        changed_view_weight=None
        if views.changed is None
        else float(np.take_along_axis(weights, views.changed[:, None], axis=1).mean()),
    )


def _matched_accuracy(truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], num_classes: int) -> float:
    """Accuracy under the best one-to-one renaming of the answers (Hungarian algorithm)."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth))


def _other_faces(trained: TrainedFold, store: Path) -> tuple[_Views, Int[np.ndarray, " n"]]:
    """Embedded views and class indices of another prepared set, of those samples that have one of the classes."""
    prepared = PreparedSet(store)
    if prepared.manifest.settings != trained.config.prepare:
        differing = differing_settings(prepared.manifest.settings, trained.config.prepare, "the run has")
        raise StoreError(f"{store} was prepared with other settings: {differing}")
    samples = prepared.samples
    check_initial_weights(
        trained.bundle,
        str(trained.folder),
        prepared.manifest,
        sorted({sample.subject for sample in samples}),
        test_digests=[sample.digest for sample in samples],
    )
    classes = trained.prototypes.classes
    rows = [i for i, sample in enumerate(samples) if len(sample.classes) == 1 and sample.expression in classes]
    if not rows:
        raise StoreError(f"{store} has no sample of {', '.join(classes)}")
    embedded = embed(trained.bundle, prepared, rows)
    truth = np.array([classes.index(samples[row].expression) for row in rows])
    return _Views(z=embedded.z_views, features=embedded.features), truth


def _same_person_nearest(features: Float[np.ndarray, "n view feature"], subjects: Sequence[str]) -> float:
    rows = side_by_side(features)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    names = np.asarray(subjects)
    return float((names[cosines.argmax(axis=1)] == names).mean())


def _chance_same_person(subjects: Sequence[str]) -> float:
    _, counts = np.unique(np.asarray(subjects), return_counts=True)
    others = max(1, len(subjects) - 1)
    return float((counts * (counts - 1)).sum() / (len(subjects) * others))
