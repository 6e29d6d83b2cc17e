"""Accuracy and calibration of the bundled weights on the synthetic people that their training left for the test.

The people are those of seed 41 (docs/model_card.md) that the weights were neither trained on nor chosen by. They are
made and prepared in `--folder`, which a second call goes on with; a model that knows one of their scans is refused.
Scored as `smilevlm evaluate` scores a fold, at the model's own temperature and, for comparison, at the recipe's.

Command: python benchmarks/bundled_weights.py --folder FOLDER --jobs 2
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from smilevlm.datasets import index_data_set
from smilevlm.evaluation import (
    FoldEmbeddings,
    FoldSamples,
    FoldTraining,
    ZeroShotClassifier,
    calibration,
    embed,
    score_fold,
)
from smilevlm.models import (
    ModelBundle,
    class_prototypes,
    load_bundle,
    predicted_classes,
    probabilities,
    short_digests,
    zero_shot_scores,
)
from smilevlm.predict import bundled_folder
from smilevlm.recipes import find_recipe
from smilevlm.results import FoldResult, Interval
from smilevlm.store import PreparedSet, Sample, prepare
from smilevlm.synthesis.data_set import SubjectFolder, claim_folder, settings_record
from smilevlm.synthesis.varied import LAYOUT, VariedSettings, plan_varied

SETTINGS = VariedSettings(num_subjects=2000, seed=41, filmed_share=0.05)
"""Those of the training set: `smilevlm synthesize folder --subjects 2000 --seed 41 --filmed 0.05`."""
NUM_RESAMPLES = 2000


def test_people(bundle: ModelBundle) -> list[SubjectFolder]:
    """Everybody that the model does not know."""
    assert bundle.trained_on is not None
    known = set(bundle.trained_on.subjects)
    return [person for person in plan_varied(SETTINGS) if person.path not in known]


def prepared_faces(folder: Path, people: list[SubjectFolder], jobs: int) -> PreparedSet:
    """The people's scans and sequences, made and prepared as those of the training set."""
    faces, store = folder / "faces", folder / "store"
    claim_folder(faces, LAYOUT.name, settings_record(SETTINGS))
    LAYOUT.write_parts(faces, SETTINGS, people, jobs=jobs)
    index = index_data_set(LAYOUT.name, faces)
    prepare(
        index.recordings,
        store,
        find_recipe("bundled").prepare,
        layout=index.layout,
        synthetic=index.synthetic,
        jobs=jobs,
    )
    return PreparedSet(store)


def scored(bundle: ModelBundle, prepared: PreparedSet) -> tuple[FoldResult, np.ndarray, np.ndarray]:
    """The fold's result, the cosines with the classes and whether each sample is right."""
    assert bundle.trained_on is not None
    samples = prepared.samples
    if same := set(bundle.trained_on.digests) & set(short_digests(sample.digest for sample in samples)):
        raise SystemExit(f"the model was trained on {len(same)} of these scans")
    embedded = embed(bundle, prepared, range(len(samples)))
    prompts = bundle.prompts
    truth = [sample.expression for sample in samples]
    result = score_fold(
        FoldEmbeddings(**vars(embedded), view_angles_deg=bundle.prepare.views.angles_deg),
        FoldSamples(
            truth=truth,
            subjects=[sample.subject for sample in samples],
            levels=[sample.level for sample in samples],
        ),
        ZeroShotClassifier(
            prototypes=bundle.prototypes,
            temperature=bundle.temperature,
            nearest=class_prototypes(prompts.centred, prompts.classes, bundle.classes, "max"),
        ),
        FoldTraining(
            fold=0,
            num_folds=10,
            subjects=bundle.trained_on.subjects,
            num_samples=len(bundle.trained_on.digests),
        ),
    )
    scores = zero_shot_scores(embedded.z_fused, bundle.prototypes)
    index = np.array([bundle.classes.index(name) for name in truth])
    return result, scores, predicted_classes(scores) == index


def error_interval(shares: np.ndarray, correct: np.ndarray, samples: tuple[Sample, ...]) -> Interval:
    """95 % percentile interval of the calibration error when the people are drawn anew."""
    _, person = np.unique([sample.subject for sample in samples], return_inverse=True)
    rows = [np.flatnonzero(person == number) for number in range(person.max() + 1)]
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.concatenate([rows[number] for number in rng.integers(len(rows), size=len(rows))])
        errors.append(calibration(shares[drawn], correct[drawn], 1.0).expected_calibration_error)
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for faces and store")
    parser.add_argument("--model", type=Path, default=bundled_folder(), help="folder of a trained fold")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model)
    prepared = prepared_faces(arguments.folder, test_people(bundle), arguments.jobs)
    result, scores, correct = scored(bundle, prepared)
    moving = Counter(sample.last_frame > sample.first_frame for sample in prepared.samples)
    print(
        f"{len(result.test_subjects)} synthetic people, {result.num_test_samples} samples ({moving[True]} dynamic "
        f"images), {len(prepared.manifest.skipped)} refused as no face"
    )
    low, high = result.accuracy_interval or (np.nan, np.nan)
    print(f"zero-shot, fused {result.accuracy:.1%} (95 % over people {low:.1%} to {high:.1%})")
    views = ", ".join(f"{angle:+g}: {accuracy:.1%}" for angle, accuracy in result.single_view_accuracy.items())
    print(f"views alone {views}; plain mean {result.mean_fusion_accuracy:.1%}")
    for name, temperature in (
        ("the model's own", bundle.temperature),
        ("the recipe's", find_recipe("bundled").score_temperature),
    ):
        shares = probabilities(scores, temperature)
        error = calibration(shares, correct, temperature).expected_calibration_error
        low, high = error_interval(shares, correct, prepared.samples)
        print(
            f"expected calibration error at {name} temperature {temperature:.4f}: {error:.1%} "
            f"(95 % over people {low:.1%} to {high:.1%}); mean confidence {shares.max(axis=1).mean():.1%}"
        )
    print(f"\n| true \\ said | {' | '.join(bundle.classes)} |\n|---|{'---:|' * len(bundle.classes)}")
    for name, row in zip(bundle.classes, result.confusion_matrix, strict=True):
        print(f"| {name} | {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
