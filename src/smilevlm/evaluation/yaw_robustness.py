"""Accuracy of heads that are turned before the views are taken, from a second store with more angles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smilevlm.datasets.folds import first_few
from smilevlm.errors import StoreError
from smilevlm.evaluation.embedding_analysis import yaw_columns, yaw_point
from smilevlm.evaluation.fold_analysis import AnalysedFold
from smilevlm.evaluation.scoring import embed
from smilevlm.models import ModelBundle
from smilevlm.results import YawPoint
from smilevlm.store import PreparedSet, differing_settings
from smilevlm.threads import one_thread


@dataclass(frozen=True, kw_only=True)
class YawSet:
    """A store of the run's data set with more angles.

    Args:
        prepared: The store.
        places: Sample id of a test sample to its index there; may lack some.
    """

    prepared: PreparedSet
    places: dict[str, int]


def open_yaw_set(fold: AnalysedFold, store: Path) -> YawSet:
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
    places = {sample.sample_id: every[sample.sample_id] for sample in fold.samples if sample.sample_id in every}
    other = [
        sample.sample_id
        for sample in fold.samples
        if sample.sample_id in places and prepared.samples[places[sample.sample_id]].digest != sample.digest
    ]
    if other:
        raise StoreError(f"{store} was made from other files than the run's store: {first_few(other)}")
    if not places:
        raise StoreError(f"{store} holds none of the {len(fold.indices)} test samples of fold {fold.split.fold}")
    return YawSet(prepared=prepared, places=places)


def score_turned_heads(fold: AnalysedFold, yaw_set: YawSet, notes: list[str]) -> tuple[YawPoint, ...]:
    """Score the test samples at every yaw at which all nominal angles have a view.

    A head turned by psi shows a view of angle a what angle a + psi shows of the head that is not turned: it is as if
    the normalisation had missed the turn.

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
    kept = [row for row, sample in enumerate(fold.samples) if sample.sample_id in yaw_set.places]
    if missing := [sample.sample_id for sample in fold.samples if sample.sample_id not in yaw_set.places]:
        notes.append(
            f"{len(missing)} of {len(fold.indices)} test samples are not in the store with more angles and are left "
            f"out of the accuracy against yaw: {first_few(missing)}."
        )
    # Every view goes through the tower once, whatever the number of yaws that it has a part in.
    embedded = embed(fold.bundle, prepared, [yaw_set.places[fold.samples[row].sample_id] for row in kept])
    points = []
    for yaw, chosen in columns.items():
        z_views = embedded.z_views[:, chosen]
        z_fused, weights = _fused(fold.bundle, z_views)
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


def _fused(
    bundle: ModelBundle, z_views: Float[np.ndarray, "n view dim"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n view"]]:
    import torch

    model = bundle.model
    device = model.image_mean.device
    text = torch.from_numpy(bundle.prompts.centred).to(device)
    with torch.inference_mode(), one_thread():
        z_fused, weights = model.fuse(torch.from_numpy(np.ascontiguousarray(z_views)).to(device), text=text)
    return z_fused.cpu().numpy(), weights.cpu().numpy()
