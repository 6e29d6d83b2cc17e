"""The scores of a run: accuracy with prompts, probes, calibration, saliency, face verification, anti-spoofing.

`evaluate_run`, `analyse_run` and `run_tasks` write the result files of a run folder, `evaluate_language` scores any
model; the rest are the scores they are made of. Where a docstring says no more, the functions of this room raise:

- `LeakError`: a test subject or test sample was in training, or had a part in a choice (an epoch, the prompts).
  Nothing is scored then.
- `CheckpointError`: a fold is not trained, the fold file, its split or its model is not the recipe's, or an embedding
  is zero or not finite.
- `StoreError`: a prepared set is not the one that the run was trained on, or does not fit the protocol.
- `SettingsError`: an argument is out of range, a class is unknown, there are no samples (or too few), shapes or numbers
  of samples, views or classes differ, or the protocol needs another test store.
- `PromptError`: the prompts were changed since training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smilevlm.lazy import lazy_attributes
from smilevlm.results import spread, summarise_folds

if TYPE_CHECKING:
    from smilevlm.evaluation.analysis import analyse_run
    from smilevlm.evaluation.binary_scores import binary_counts, multi_label_score
    from smilevlm.evaluation.embedding_analysis import effective_rank
    from smilevlm.evaluation.examples import ExampleSample, draw_examples, make_example
    from smilevlm.evaluation.fold_score import (
        FoldEmbeddings,
        FoldSamples,
        FoldTraining,
        ZeroShotClassifier,
        predict,
        score_fold,
    )
    from smilevlm.evaluation.language import evaluate_language
    from smilevlm.evaluation.metrics import (
        Metrics,
        calibration,
        classification_metrics,
        subject_bootstrap_interval,
    )
    from smilevlm.evaluation.oracle import displacement_oracle, oracle_of_faces
    from smilevlm.evaluation.probes import ProbeTrainingSet, fitted_probes, score_probes
    from smilevlm.evaluation.relevance import PixelRelevance, overlay_scale, pixel_relevance, relevance_overlay
    from smilevlm.evaluation.robustness import evaluate_robustness
    from smilevlm.evaluation.run import evaluate_run
    from smilevlm.evaluation.scoring import EvaluationData, class_directions, embed
    from smilevlm.evaluation.tasks import run_tasks

_LAZY_IMPORTS = {
    "analyse_run": "analysis", "evaluate_run": "run", "run_tasks": "tasks",
    "evaluate_language": "language", "evaluate_robustness": "robustness",
    "EvaluationData": "scoring", "class_directions": "scoring", "embed": "scoring",
    "FoldEmbeddings": "fold_score", "FoldSamples": "fold_score", "FoldTraining": "fold_score",
    "ZeroShotClassifier": "fold_score", "predict": "fold_score", "score_fold": "fold_score",
    "ProbeTrainingSet": "probes", "fitted_probes": "probes", "score_probes": "probes",
    "Metrics": "metrics", "calibration": "metrics", "classification_metrics": "metrics",
    "subject_bootstrap_interval": "metrics",
    "binary_counts": "binary_scores", "multi_label_score": "binary_scores",
    "displacement_oracle": "oracle", "oracle_of_faces": "oracle",
    "effective_rank": "embedding_analysis",
    "ExampleSample": "examples", "draw_examples": "examples", "make_example": "examples",
    "PixelRelevance": "relevance", "overlay_scale": "relevance", "pixel_relevance": "relevance",
    "relevance_overlay": "relevance",
}  # fmt: skip
"""Module by name: torch and the training are loaded by what needs them."""

__all__ = [
    "EvaluationData",
    "ExampleSample",
    "FoldEmbeddings",
    "FoldSamples",
    "FoldTraining",
    "Metrics",
    "PixelRelevance",
    "ProbeTrainingSet",
    "ZeroShotClassifier",
    "analyse_run",
    "binary_counts",
    "calibration",
    "class_directions",
    "classification_metrics",
    "displacement_oracle",
    "draw_examples",
    "effective_rank",
    "embed",
    "evaluate_language",
    "evaluate_robustness",
    "evaluate_run",
    "fitted_probes",
    "make_example",
    "multi_label_score",
    "oracle_of_faces",
    "overlay_scale",
    "pixel_relevance",
    "predict",
    "relevance_overlay",
    "run_tasks",
    "score_fold",
    "score_probes",
    "spread",
    "subject_bootstrap_interval",
    "summarise_folds",
]

__getattr__ = lazy_attributes(__name__, _LAZY_IMPORTS)
