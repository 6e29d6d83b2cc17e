"""Test samples to show in a report: drawn at random, so that the gallery is no better than the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilevlm.errors import SettingsError
from smilevlm.labels import ActionIntensities
from smilevlm.models import predicted_classes, probabilities
from smilevlm.results import MAX_EXAMPLES, Example


@dataclass(frozen=True, kw_only=True)
class ExampleSample:
    """A test sample to show.

    Attributes:
        sample_id: Unique in the data set.
        subject: A test subject of the fold.
        fold: Index from zero.
        truth: The true class.
        images: View angle to the PNG's path relative to the result file.
        actions: What the face does; None where that is not recorded.
    """

    sample_id: str
    subject: str
    fold: int
    truth: str
    images: Mapping[float, str]
    actions: ActionIntensities | None = None


def draw_examples(truth: Sequence[str], classes: Sequence[str], *, num_examples: int = 12, seed: int = 0) -> list[int]:
    """Indexes of samples, the true classes taking turns, at random within a class and blind to the prediction."""
    if not 0 <= num_examples <= MAX_EXAMPLES:
        raise SettingsError(f"num_examples={num_examples}, expected 0 to {MAX_EXAMPLES}")
    if unknown := sorted(set(truth) - set(classes)):
        raise SettingsError(f"{', '.join(unknown)} are none of the classes {', '.join(classes)}")
    order = np.random.default_rng(seed).permutation(len(truth)).tolist()
    queues = [[index for index in order if truth[index] == name] for name in classes]
    # Round after round one of each class, then brought back to class order for the reader.
    rounds = [(turn, number, index) for number, queue in enumerate(queues) for turn, index in enumerate(queue)]
    drawn = sorted(rounds)[:num_examples]
    return [index for _, _, index in sorted(drawn, key=lambda entry: (entry[1], entry[0]))]


def make_example(
    sample: ExampleSample,
    *,
    scores: Float[np.ndarray, " class"],
    temperature: float,
    classes: Sequence[str],
    view_weights: Mapping[float, float],
) -> Example:
    """One example from its cosines.

    Args:
        sample: What is shown.
        scores: Cosine with each class.
        temperature: Of the softmax.
        classes: In the order of the scores.
        view_weights: View angle to fusion weight.
    """
    predicted = int(predicted_classes(scores[None])[0])
    shares = probabilities(scores[None], temperature)[0]
    total = sum(view_weights.values())
    return Example(
        sample_id=sample.sample_id,
        subject=sample.subject,
        fold=sample.fold,
        truth=sample.truth,
        predicted=classes[predicted],
        probabilities={name: float(share) for name, share in zip(classes, shares, strict=True)},
        view_weights={float(angle): float(weight / total) for angle, weight in view_weights.items()},
        images={float(angle): path for angle, path in sample.images.items()},
        actions=sample.actions,
    )
