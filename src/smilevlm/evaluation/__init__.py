"""Zero-shot classification and the scores of one fold, on arrays; `recogniser` holds a model and its prompts."""

from smilevlm.evaluation.examples import draw_examples, make_example
from smilevlm.evaluation.fold_score import predict, score_fold
from smilevlm.evaluation.metrics import (
    Metrics,
    classification_metrics,
    spread,
    subject_bootstrap_interval,
    summarise_folds,
)
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
    "class_prototypes",
    "classification_metrics",
    "draw_examples",
    "make_example",
    "predict",
    "predicted_classes",
    "probabilities",
    "score_fold",
    "spread",
    "subject_bootstrap_interval",
    "summarise_folds",
    "zero_shot_scores",
]
