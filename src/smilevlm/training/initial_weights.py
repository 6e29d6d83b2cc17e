"""Models that were trained before and take part in a training: a teacher, or weights to begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.folds import first_few
from smilevlm.errors import CheckpointError, LeakError, StoreError
from smilevlm.models import ModelBundle, first_fold, load_bundle, short_digests
from smilevlm.store import Manifest, differing_settings


def load_initial_weights(
    given: str, setting: str, manifest: Manifest, *, other_spans: bool = False
) -> tuple[Path, ModelBundle]:
    """Load a trained model that a recipe names; `check_initial_weights` then says whether a fold may use it.

    Args:
        given: Run folder, whose first trained fold is used, or fold folder.
        setting: That names it, for messages.
        manifest: Of the set that is trained on now.
        other_spans: Whether its dynamic images may cover another stretch of a sequence than those of the set.

    Returns:
        The fold's folder, and the model.

    Raises:
        CheckpointError: There is no trained model, or it does not say what it was trained on.
        StoreError: It was trained on views made in another way.
    """
    folder = Path(given)
    if not folder.is_dir():
        raise CheckpointError(f"{setting} {folder} is no folder; expected a run folder or the folder of one fold")
    folder = first_fold(folder)
    bundle = load_bundle(folder)
    if bundle.trained_on is None:
        raise CheckpointError(
            f"{folder} does not say whom it was trained on (an older version of smilevlm made it), so it cannot be "
            f"{setting}: test subjects could be among them; train it again"
        )
    wanted, made = manifest.settings, bundle.prepare
    if other_spans:
        spans = {"span": wanted.dynamics.span, "apex": wanted.dynamics.apex}
        made = replace(made, dynamics=replace(made.dynamics, **spans))
    if made != wanted:
        differing = differing_settings(wanted, made, "there it was")
        raise StoreError(f"{setting} {folder} was trained on views made in another way: {differing}")
    return folder, bundle


def check_initial_weights(
    bundle: ModelBundle,
    setting: str,
    manifest: Manifest,
    test_subjects: Sequence[str],
    *,
    test_digests: Sequence[str] = (),
) -> None:
    """Stop when a model has seen people that are to be tested.

    Looked for are subjects of the same prepared set, subjects of the same name where both sets are scans of people in
    one data set's layout, or where the model's dynamic images cover another span, and scans of the same bytes under
    whatever name.

    Args:
        bundle: As `load_initial_weights` gives it.
        setting: That names it, for messages.
        manifest: Of the set that is trained on now.
        test_subjects: Of the fold that is trained now.
        test_digests: Of its test samples, so that people are known under other names as well.

    Raises:
        LeakError: Lists what was found.
    """
    known = bundle.trained_on
    assert known is not None
    same_set = known.manifest_hash == manifest.content_hash
    of_people = not (bundle.synthetic or manifest.synthetic) and known.layout != "folder"
    # Another span of the same recordings has other digests and another manifest: names are all that is left to tell.
    other_views = bundle.prepare != manifest.settings
    same_data_set = (of_people or other_views) and known.layout == manifest.layout
    shared = sorted(set(known.subjects) & set(test_subjects)) if same_set or same_data_set else []
    if shared:
        raise LeakError(f"{setting} was trained on test subjects: {first_few(shared)}")
    if same := set(known.digests) & set(short_digests(test_digests)):
        raise LeakError(f"{setting} was trained on the scans of {len(same)} test samples, under other names")


@contextmanager
def working_on(bundle: ModelBundle, device: str, threads: int) -> Iterator[ModelBundle]:
    """The bundle on a device, and on so many CPU threads, inside the block; its model is on the CPU after it."""
    bundle.model.to(device)
    try:
        yield replace(bundle, threads=threads)
    finally:
        bundle.model.cpu()
