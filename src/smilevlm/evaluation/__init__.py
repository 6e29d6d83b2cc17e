"""Zero-shot classification and the scores of one fold, on arrays; `recogniser` holds a model and its prompts."""

from smilevlm.evaluation.binary_scores import binary_counts, multi_label_score
from smilevlm.evaluation.calibration import calibration, fit_temperature
from smilevlm.evaluation.effective_rank import effective_rank
from smilevlm.evaluation.examples import draw_examples, make_example
from smilevlm.evaluation.fold_score import predict, score_fold
from smilevlm.evaluation.metrics import (
    Metrics,
    classification_metrics,
    spread,
    subject_bootstrap_interval,
    summarise_folds,
)
from smilevlm.evaluation.readouts import TrainSide, fitted_readouts, score_readouts
from smilevlm.evaluation.zero_shot import (
    Prototypes,
    class_prototypes,
    predicted_classes,
    probabilities,
    zero_shot_scores,
)

__all__ = [
    "Metrics",
    "Prototypes",
    "TrainSide",
    "binary_counts",
    "calibration",
    "class_prototypes",
    "classification_metrics",
    "draw_examples",
    "effective_rank",
    "fit_temperature",
    "fitted_readouts",
    "make_example",
    "multi_label_score",
    "predict",
    "predicted_classes",
    "probabilities",
    "score_fold",
    "score_readouts",
    "spread",
    "subject_bootstrap_interval",
    "summarise_folds",
    "zero_shot_scores",
]
