"""The scores of a run: zero-shot accuracy, probes, calibration, verification, saliency, anti-spoofing."""

from smilevlm.evaluation.binary_scores import binary_counts, multi_label_score
from smilevlm.evaluation.calibration import calibration
from smilevlm.evaluation.effective_rank import effective_rank
from smilevlm.evaluation.examples import draw_examples, make_example
from smilevlm.evaluation.fold_score import predict, score_fold
from smilevlm.evaluation.metrics import (
    Metrics,
    classification_metrics,
    subject_bootstrap_interval,
)
from smilevlm.evaluation.probes import ProbeTrainingSet, fitted_probes, score_probes
from smilevlm.results import spread, summarise_folds

__all__ = [
    "Metrics",
    "ProbeTrainingSet",
    "binary_counts",
    "calibration",
    "classification_metrics",
    "draw_examples",
    "effective_rank",
    "fitted_probes",
    "make_example",
    "multi_label_score",
    "predict",
    "score_fold",
    "score_probes",
    "spread",
    "subject_bootstrap_interval",
    "summarise_folds",
]
