"""How a model understands sentences about faces it never saw, on any set whose facial actions are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smilevlm.errors import CheckpointError, SettingsError, StoreError
from smilevlm.evaluation.language_scores import (
    ComparedFaces,
    first_places,
    order_intensities,
    retrieval_captions,
    retrieve,
    tell_classes_apart,
    tell_opposites_apart,
    tell_statements_apart,
)
from smilevlm.evaluation.resampled import People
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import StepCounter, open_fold_people, samples_of_subjects
from smilevlm.models import ModelBundle, bundle_digest, description_path
from smilevlm.parallel import ProgressCallback
from smilevlm.prompts import PromptEmbeddings, TextTower, language_statements, load_text_tower
from smilevlm.results import LanguageResult
from smilevlm.store import PreparedSet
from smilevlm.training import check_initial_weights, config_from, fold_jobs, load_initial_weights, read_run_config
from smilevlm.version import __version__

NUM_RETRIEVED = 200


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """A model, and the rows of the store that it is tested on."""

    bundle: ModelBundle
    rows: tuple[int, ...]


def evaluate_language(
    model: Path,
    store: Path,
    *,
    name: str | None = None,
    num_retrieved: int = NUM_RETRIEVED,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> LanguageResult:
    """Score how similarities of faces and held-out sentences follow what the faces do.

    Args:
        model: A bundle, which is tested on the whole store, or a run folder, each of whose trained folds is tested on
            the people that it held back.
        store: A prepared set with facial actions; for a run the one that it was trained on.
        name: Of the model in the result; its folder's by default.
        num_retrieved: Scans that are searched, each with a caption.
        seed: Of the drawn scans and captions, and of the intervals.
        progress: Called after each model.

    Raises:
        SettingsError: The seed is negative.
        StoreError: The store has no facial actions, or its views were made in another way than the model's.
        LeakError: The model knows people of the store that it is to be tested on.
        CheckpointError: There is no trained model, or another text tower is installed than it was trained with.
    """
    if seed < 0:
        raise SettingsError(f"seed is {seed}; expected 0 or more")
    prepared = PreparedSet(store)
    if all(sample.actions is None for sample in prepared.samples):
        raise StoreError(f"{store} has no facial actions, which the sentences are about; see docs/datasets/README.md")
    is_bundle = description_path(model).is_file()
    folds = () if is_bundle else _trained_folds(model)
    tested = _bundle_tests(model, prepared) if is_bundle else _run_tests(model, store, folds)
    faces, captions, known = _compare(
        prepared, tested, num_retrieved=num_retrieved, seed=seed, steps=StepCounter(len(folds) or 1, progress)
    )
    return _result(
        faces,
        captions,
        prepared,
        name=name or model.resolve().name,
        model_digest=bundle_digest(model) if is_bundle else None,
        folds=folds,
        seed=seed,
        known=known,
    )


def _compare(
    prepared: PreparedSet, tested: Iterable[_Tested], *, num_retrieved: int, seed: int, steps: StepCounter
) -> tuple[ComparedFaces, dict[int, str], frozenset[str]]:
    """The faces that are tested and have actions, captions of some of them by row, and the models' classes."""
    known: set[str] = set()
    rows: list[int] = []
    embedded: list[tuple[Float[np.ndarray, "sample dim"], PromptEmbeddings]] = []
    tower: TextTower | None = None
    for each in tested:
        mine = [row for row in each.rows if prepared.samples[row].actions is not None]
        if mine:
            tower = tower or load_text_tower(each.bundle.text_tower)
            embedded.append((_embed_faces(each.bundle, prepared, mine, tower), each.bundle.prompts))
            known |= {*each.bundle.classes, *each.bundle.prompts.classes}
            rows += mine
        steps.step()
    if tower is None:
        raise StoreError(f"{prepared.path}: no sample that is tested has facial actions")
    statements = language_statements()
    place = {row: number for number, row in enumerate(rows)}
    drawn = retrieval_captions(prepared.samples, statements, num_scans=len(prepared), seed=seed)
    captions = dict([(place[row], text) for row, text in drawn.items() if row in place][:num_retrieved])
    texts = tuple(dict.fromkeys((*statements.texts, *captions.values())))
    samples = tuple(prepared.samples[row] for row in rows)
    faces = ComparedFaces(
        samples=samples,
        texts={text: column for column, text in enumerate(texts)},
        similarity=np.concatenate([z @ prompts.embed(texts, tower).T for z, prompts in embedded]),
        people=People([sample.subject for sample in samples], seed=seed),
    )
    return faces, captions, frozenset(known)


def _result(
    faces: ComparedFaces,
    captions: Mapping[int, str],
    prepared: PreparedSet,
    *,
    name: str,
    model_digest: str | None,
    folds: tuple[int, ...],
    seed: int,
    known: frozenset[str],
) -> LanguageResult:
    statements, manifest = language_statements(), prepared.manifest
    areas, mean_area, mean_shape_area = tell_statements_apart(faces, statements)
    opposites, mean_opposites = tell_opposites_apart(faces, statements)
    intensity, mean_intensity = order_intensities(faces, statements)
    unseen = {name: rule for name, rule in statements.unseen_classes.items() if name not in known}
    classes = tell_classes_apart(faces, unseen)
    missing = sorted(unseen.keys() - {each.name for each in classes})
    assert manifest.action_source is not None
    return LanguageResult(
        model=name,
        model_digest=model_digest,
        folds=folds,
        layout=manifest.layout,
        manifest_hash=manifest.content_hash,
        actions_digest=manifest.actions_digest,
        action_source=manifest.action_source,
        synthetic=manifest.synthetic,
        num_samples=len(faces.samples),
        num_subjects=len({sample.subject for sample in faces.samples}),
        seed=seed,
        package_version=__version__,
        statements=areas,
        mean_area=mean_area,
        mean_shape_area=mean_shape_area,
        first_place=first_places(faces, statements),
        retrieval=retrieve(faces, captions),
        unseen_classes=classes,
        opposites=opposites,
        mean_opposites=mean_opposites,
        intensity=intensity,
        mean_intensity=mean_intensity,
        notes=(
            *_notes(prepared, len(faces.samples), folds, missing),
            *(f"The model was trained with prompts of {name}." for name in statements.unseen_classes if name in known),
        ),
    )


def _trained_folds(run: Path) -> tuple[int, ...]:
    config = config_from(read_run_config(run)["settings"])
    folds = tuple(job.fold for job in fold_jobs(config, None) if not job.shuffled and job.is_trained(run))
    if not folds:
        raise CheckpointError(f"{run} has no trained fold; run `smilevlm train` first")
    return folds


def _bundle_tests(folder: Path, prepared: PreparedSet) -> Iterator[_Tested]:
    samples, manifest = prepared.samples, prepared.manifest
    _, bundle = load_initial_weights(str(folder), "the model", manifest)
    people = sorted({sample.subject for sample in samples})
    check_initial_weights(bundle, "the model", manifest, people, test_digests=[sample.digest for sample in samples])
    yield _Tested(bundle=bundle, rows=tuple(range(len(samples))))


def _run_tests(run: Path, store: Path, folds: Sequence[int]) -> Iterator[_Tested]:
    for fold in folds:
        trained = open_fold_people(run, store, fold)
        rows = samples_of_subjects(trained.prepared.samples, trained.split.test_subjects)
        yield _Tested(bundle=trained.bundle, rows=tuple(rows))


def _embed_faces(
    bundle: ModelBundle, prepared: PreparedSet, rows: Sequence[int], tower: TextTower
) -> Float[np.ndarray, "sample dim"]:
    """Fused embeddings of unit length."""
    if tower.digest != bundle.text_digest:
        raise CheckpointError("the model was trained with another text tower than the one installed")
    # Fusion that looks at texts gets the same ones on every set and with every seed.
    fixed = bundle.prompts.embed(language_statements().texts, tower)
    faces = embed(bundle, prepared, rows, candidates=fixed).z_fused
    lengths = np.linalg.norm(faces, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise CheckpointError("the model gives embeddings that are zero or not finite")
    return faces / lengths


def _notes(prepared: PreparedSet, num_tested: int, folds: Sequence[int], missing: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if left_out := len(prepared.samples) - num_tested:
        notes.append(
            f"{left_out} of {len(prepared.samples)} samples were left out: no recorded actions, or not held back."
        )
    if missing:
        notes.append(f"Too few faces of {', '.join(missing)} to say anything of these classes.")
    if len(folds) > 1:
        notes.append(f"Similarities of the {len(folds)} folds' models to their own test people are scored together.")
    return tuple(notes)
