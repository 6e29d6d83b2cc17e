"""Robustness to head pose: accuracy against yaw, from a second store with more view angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets.folds import first_few
from smilevlm.errors import StoreError
from smilevlm.evaluation.fold_score import predict
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import TrainedFold
from smilevlm.models import Prototypes
from smilevlm.results import YawPoint
from smilevlm.store import PreparedSet, differing_settings


@dataclass(frozen=True, kw_only=True)
class YawSet:
    """A store of the run's data set with more angles.

    Args:
        prepared: The store.
        index_by_id: Sample id of a test sample to its index there; may lack some.
    """

    prepared: PreparedSet
    index_by_id: dict[str, int]


def open_yaw_set(fold: TrainedFold, store: Path) -> YawSet:
    """Open the store with more angles.

    Raises:
        StoreError: It was made otherwise, from other scans, or holds none of the test samples.
    """
    prepared, manifest = PreparedSet(store), fold.prepared.manifest
    theirs = prepared.manifest
    if (theirs.layout, theirs.synthetic) != (manifest.layout, manifest.synthetic):
        found, own = (f"{'synthetic' if m.synthetic else 'real'} {m.layout}" for m in (theirs, manifest))
        raise StoreError(f"{store} holds {found}, the run was trained on {own}")
    views = replace(manifest.settings.views, angles_deg=theirs.settings.views.angles_deg)
    wanted = replace(manifest.settings, views=views)
    if theirs.settings != wanted:
        differing = differing_settings(theirs.settings, wanted, "the run has")
        raise StoreError(f"{store} was prepared with other settings: {differing}")
    every = {sample.sample_id: index for index, sample in enumerate(prepared.samples)}
    index_by_id = {sample.sample_id: every[sample.sample_id] for sample in fold.samples if sample.sample_id in every}
    other = [
        sample.sample_id
        for sample in fold.samples
        if sample.sample_id in index_by_id and prepared.samples[index_by_id[sample.sample_id]].digest != sample.digest
    ]
    if other:
        raise StoreError(f"{store} was made from other files than the run's store: {first_few(other)}")
    if not index_by_id:
        raise StoreError(f"{store} holds none of the {len(fold.indices)} test samples of fold {fold.split.fold}")
    return YawSet(prepared=prepared, index_by_id=index_by_id)


def yaw_accuracies(fold: TrainedFold, yaw_set: YawSet, notes: list[str]) -> tuple[YawPoint, ...]:
    """Score the test samples at every yaw at which all nominal angles have a view.

    The view of angle a of a head that is turned by yaw psi is the view of angle a + psi of the head that is not
    turned, as if the normalisation had missed the turn.

    Args:
        fold: What is scored.
        yaw_set: Where the turned views are.
        notes: Gets a sentence where samples or all points are left out.
    """
    prepared, nominal = yaw_set.prepared, fold.config.prepare.views.angles_deg
    columns = yaw_columns(nominal, prepared.manifest.settings.views.angles_deg)
    if len(columns) < 2:
        notes.append("Accuracy against yaw was left out: the store that was given for it holds too few angles.")
        return ()
    kept = [row for row, sample in enumerate(fold.samples) if sample.sample_id in yaw_set.index_by_id]
    if missing := [sample.sample_id for sample in fold.samples if sample.sample_id not in yaw_set.index_by_id]:
        notes.append(
            f"{len(missing)} of {len(fold.indices)} test samples are not in the store with more angles and are left "
            f"out of the accuracy against yaw: {first_few(missing)}."
        )
    # Every view goes through the tower once, whatever the number of yaws that it has a part in.
    embedded = embed(fold.bundle, prepared, [yaw_set.index_by_id[fold.samples[row].sample_id] for row in kept])
    points = []
    for yaw, chosen in columns.items():
        z_views = embedded.z_views[:, chosen]
        z_fused, weights = fold.bundle.fuse(z_views)
        points.append(
            yaw_point(
                yaw_deg=yaw,
                z_views=z_views,
                z_fused=z_fused,
                view_weights=weights,
                truth=fold.truth[kept],
                prototypes=fold.prototypes,
                nominal_deg=nominal,
            )
        )
    return tuple(points)


def yaw_columns(nominal_deg: Sequence[float], prepared_deg: Sequence[float]) -> dict[float, list[int]]:
    """The yaws at which every nominal angle has a prepared view, and those views.

    Args:
        nominal_deg: Angles that the model was trained with, in its order.
        prepared_deg: Angles that there are.

    Returns:
        Yaw, rising, to indices into `prepared_deg`, one per nominal angle.
    """
    places = {round(angle, 6): index for index, angle in enumerate(prepared_deg)}
    turns = sorted({round(angle - nominal_deg[0], 6) + 0.0 for angle in prepared_deg})
    found = {}
    for yaw in turns:
        turned = [round(angle + yaw, 6) for angle in nominal_deg]
        if all(angle in places for angle in turned):
            found[yaw] = [places[angle] for angle in turned]
    return found


def yaw_point(
    *,
    yaw_deg: float,
    z_views: Float[np.ndarray, "n view dim"],
    z_fused: Float[np.ndarray, "n dim"],
    view_weights: Float[np.ndarray, "n view"],
    truth: Int[np.ndarray, " n"],
    prototypes: Prototypes,
    nominal_deg: Sequence[float],
) -> YawPoint:
    """Accuracy on the views of turned heads, under the angles that the views would have had without the turn."""

    def accuracy(embeddings: np.ndarray) -> float:
        return float((predict(embeddings, prototypes) == truth).mean())

    weights = np.asarray(view_weights, dtype=np.float64).mean(axis=0)
    return YawPoint(
        yaw_deg=yaw_deg,
        num_samples=len(truth),
        accuracy=accuracy(z_fused),
        mean_fusion_accuracy=accuracy(np.asarray(z_views, dtype=np.float64).mean(axis=1)),
        single_view_accuracy={float(angle): accuracy(z_views[:, view]) for view, angle in enumerate(nominal_deg)},
        view_weights={
            float(angle): float(weight / weights.sum()) for angle, weight in zip(nominal_deg, weights, strict=True)
        },
    )
