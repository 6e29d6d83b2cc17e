"""Accuracy on degraded and missing views, on other faces, and of probes with few labels; identity leakage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.augment.distortions import Distortions, DistortionSettings
from smilevlm.errors import StoreError
from smilevlm.evaluation.fold_score import predict
from smilevlm.evaluation.metrics import confusion_matrix
from smilevlm.evaluation.probes import linear_probe_predictions, side_by_side
from smilevlm.evaluation.run import is_aligned
from smilevlm.evaluation.scoring import embed, embedding_device, probe_training_set
from smilevlm.evaluation.trained_fold import TrainedFold, open_trained_fold
from smilevlm.models import Embedded, ModelBundle
from smilevlm.results import (
    ROBUSTNESS_NAME,
    Condition,
    ConditionScores,
    ProbeScore,
    PromptScores,
    RobustnessResult,
    write_record,
)
from smilevlm.store import PreparedSet, Sample, differing_settings
from smilevlm.training import HardwareConfig, check_initial_weights, split_fold
from smilevlm.training.data import which_are_dynamic
from smilevlm.views import ViewSettings

_DEGRADED, _WHICH_VIEW, _ORDERS = range(3)
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
        truth: Class index of each sample.
        present: Which views are there; None for all.
        degraded: Which view of each sample was degraded; None where none or all were.
    """

    z: Float[np.ndarray, "n view dim"]
    features: Float[np.ndarray, "n view feature"]
    truth: Int[np.ndarray, " n"]
    present: Bool[np.ndarray, "n view"] | None = None
    degraded: Int[np.ndarray, " n"] | None = None


def evaluate_robustness(
    run: Path,
    store: Path,
    *,
    fold: int | None = None,
    other_store: Path | None = None,
    few_labels: Sequence[int] = (),
    seed: int = 0,
    hardware: HardwareConfig | None = None,
) -> RobustnessResult:
    """Score a trained fold on changed views of its test people, and write `robustness.json`.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.
        other_store: A prepared set of other faces, such as of another head model or scanner.
        few_labels: Numbers of training people whose labels further probes are fitted on, the people being those of
            `labelled_subjects` with the same seed; numbers that are not below all of them are left out.
        seed: Of the degradation, and of which view it befalls.
        hardware: Where the embeddings are computed; the CPU by default.

    Raises:
        StoreError: The other set's views were made in another way.
    """
    trained = open_trained_fold(run, store, fold)
    trained.bundle.model.to(embedding_device(hardware))
    other = None if other_store is None else PreparedSet(other_store)
    views = _conditions(trained, other, seed)
    clean, split, subjects = views["clean"], trained.split, [sample.subject for sample in trained.samples]
    training = embed(trained.bundle, trained.prepared, split.train)
    # No probe where a view is missing: it is over all of them.
    probed = {name: each for name, each in views.items() if each.present is None}
    labelled = split.labelled_samples(trained.prepared.samples)
    probes = dict(zip(probed, _probe_accuracies(trained, list(probed.values()), labelled, training), strict=True))
    result = RobustnessResult(
        **trained.identity,
        fold=split.fold,
        seed=seed,
        other_manifest_hash=None if other is None else other.manifest.content_hash,
        view_angles_deg=trained.config.prepare.views.angles_deg,
        conditions={
            name: ConditionScores(
                num_samples=len(each.truth), prompts=_prompt_scores(trained, each, seed), linear_probe=probes.get(name)
            )
            for name, each in views.items()
        },
        probes=tuple(
            ProbeScore(
                num_subjects=number,
                accuracy=_probe_accuracies(trained, [clean], _labelled(trained, number), training)[0],
            )
            for number in _fitted_on(few_labels, len(split.train_subjects))
        ),
        same_person_nearest=_same_person_nearest(clean.features, subjects),
        chance_same_person=_chance_same_person(subjects),
    )
    write_record(run / ROBUSTNESS_NAME, result)
    return result


def _conditions(trained: TrainedFold, other: PreparedSet | None, seed: int) -> dict[Condition, _Views]:
    """The test views under every condition."""
    settings, truth = trained.config.prepare.views, trained.truth
    images = trained.prepared.load_images(trained.indices)
    clean = _embedded(trained.bundle, images, truth)
    degraded = _embedded(trained.bundle, degrade(images, trained.samples, settings, seed=seed), truth)
    num_views = len(settings.angles_deg)
    which = np.random.default_rng([seed, _WHICH_VIEW]).integers(num_views, size=len(images))
    chosen = which[:, None] == np.arange(num_views)
    views: dict[Condition, _Views] = {
        "clean": clean,
        "all_views_degraded": degraded,
        "one_view_degraded": _Views(
            z=np.where(chosen[..., None], degraded.z, clean.z),
            features=np.where(chosen[..., None], degraded.features, clean.features),
            truth=truth,
            degraded=which,
        ),
        "one_view_missing": replace(clean, present=~chosen),
    }
    if other is not None:
        views["other_faces"] = _other_faces(trained, other)
    return views


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
    trained: TrainedFold, tested: Sequence[_Views], labelled: Sequence[int], training: Embedded
) -> list[float]:
    """Accuracy of one linear probe on several sets of views.

    Args:
        trained: The model's fold.
        tested: Features and classes.
        labelled: Training samples that it is fitted on, as indices into the store.
        training: Embeddings of all of `split.train`.
    """
    known, train = set(labelled), trained.split.train
    rows = [place for place, i in enumerate(train) if i in known]
    fitted_on = [trained.prepared.samples[train[place]] for place in rows]
    predicted = linear_probe_predictions(
        probe_training_set(trained.data, training.features[rows], fitted_on),
        np.concatenate([views.features for views in tested]),
        trained.prototypes.classes,
        trained.config.seed,
    )
    parts = np.split(predicted, np.cumsum([len(views.truth) for views in tested])[:-1])
    return [float((part == views.truth).mean()) for part, views in zip(parts, tested, strict=True)]


def _fitted_on(few_labels: Sequence[int], num_subjects: int) -> list[int]:
    return [*sorted({number for number in few_labels if number < num_subjects}), num_subjects]


def _labelled(trained: TrainedFold, num_subjects: int) -> tuple[int, ...]:
    """Training samples of so many people, those of `labelled_subjects`."""
    split = trained.split
    if num_subjects == len(split.train_subjects):
        return split.train
    config = replace(trained.config, labelled_subjects=num_subjects)
    return split_fold(config, trained.prepared, split.fold).labelled_samples(trained.prepared.samples)


def _embedded(bundle: ModelBundle, images: np.ndarray, truth: Int[np.ndarray, " n"]) -> _Views:
    embedded = bundle.embed(images)
    return _Views(z=embedded.z_views, features=embedded.features, truth=truth)


def _prompt_scores(trained: TrainedFold, views: _Views, seed: int) -> PromptScores | None:
    if not is_aligned(trained.config):
        return None
    truth, prototypes = views.truth, trained.prototypes
    present = np.ones(views.z.shape[:2], bool) if views.present is None else views.present
    z_fused, weights = trained.bundle.fuse(views.z, views.present)
    mean = (views.z.astype(np.float64) * present[..., None]).sum(axis=1) / present.sum(axis=1, keepdims=True)
    said = predict(z_fused, prototypes)
    angles = [float(angle) for angle in trained.config.prepare.views.angles_deg]
    matched, matched_chance = matched_accuracy(truth, said, prototypes.classes, seed=seed)
    return PromptScores(
        fused=float((said == truth).mean()),
        mean_fusion=float((predict(mean, prototypes) == truth).mean()),
        single_views={
            angle: float((predict(views.z[rows, number], prototypes) == truth[rows]).mean())
            for number, (angle, rows) in enumerate(zip(angles, present.T, strict=True))
        },
        fused_with_view={
            angle: float((said == truth)[rows].mean()) for angle, rows in zip(angles, present.T, strict=True)
        },
        matched=matched,
        matched_chance=matched_chance,
        degraded_view_weight=None
        if views.degraded is None
        else float(np.take_along_axis(weights, views.degraded[:, None], axis=1).mean()),
    )


def matched_accuracy(
    truth: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    classes: Sequence[str],
    *,
    seed: int,
    num_orders: int = 200,
) -> tuple[float, float]:
    """Accuracy under the best one-to-one matching of answers to classes, and its mean over random orders of the truth.

    Without knowledge of the classes the matching is found on the tested samples themselves, so that chance is above
    one of the number of classes.
    """
    from scipy.optimize import linear_sum_assignment

    def matched(order: Int[np.ndarray, " n"]) -> float:
        counts = np.array(confusion_matrix(order, predicted, classes))
        return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth))

    generator = np.random.default_rng([seed, _ORDERS])
    return matched(truth), float(np.mean([matched(generator.permutation(truth)) for _ in range(num_orders)]))


def _other_faces(trained: TrainedFold, prepared: PreparedSet) -> _Views:
    """Views of another prepared set, of those samples that have one of the classes."""
    if prepared.manifest.settings != trained.config.prepare:
        differing = differing_settings(prepared.manifest.settings, trained.config.prepare, "the run has")
        raise StoreError(f"{prepared.path} was prepared with other settings: {differing}")
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
        raise StoreError(f"{prepared.path} has no sample of {', '.join(classes)}")
    embedded = embed(trained.bundle, prepared, rows)
    truth = np.array([classes.index(samples[row].expression) for row in rows])
    return _Views(z=embedded.z_views, features=embedded.features, truth=truth)


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
