"""Classes from words: an embedding belongs to the class whose prompts it is nearest to by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilevlm.errors import CheckpointError, PromptError, SettingsError

COMBINATIONS = ("mean", "max")
_TIE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Prototypes:
    """What stands for the classes in the embedding space.

    Attributes:
        classes: In the order of the scores.
        vectors: Unit length. One per class, or one per prompt where every prompt counts for itself.
        class_index: The class of each vector; every class has at least one.
    """

    classes: tuple[str, ...]
    vectors: Float[np.ndarray, "prototype dim"]
    class_index: Int[np.ndarray, " prototype"]


def class_prototypes(
    prompt_embeddings: Float[np.ndarray, "prompt dim"],
    prompt_classes: Sequence[str],
    classes: Sequence[str],
    combine: str = "mean",
) -> Prototypes:
    """Combine the prompts of each class.

    Args:
        prompt_embeddings: Of any length; only the direction counts.
        prompt_classes: The class of each prompt.
        classes: Every class, in the order that scores are wanted.
        combine: `mean`: the mean of the unit prompts, made unit again. `max`: each prompt stays, and the nearest
            one speaks for its class.

    Raises:
        PromptError: A class has no prompt, a prompt belongs to no class, or a class's prompts cancel out.
        CheckpointError: A prompt's embedding is zero or not finite.
        SettingsError: `combine` is unknown, a class is listed twice, or the numbers of prompts differ.

    Source: SMILE-VLM, section III-D. Assumption A6: the paper does not say how several prompts of a class are combined;
    the mean is the common practice of CLIP.
    """
    if combine not in COMBINATIONS:
        raise SettingsError(f"combine={combine!r} is unknown; known are {', '.join(COMBINATIONS)}")
    if len(set(classes)) != len(classes) or not classes:
        raise SettingsError(f"expected distinct classes, at least one, found {list(classes)}")
    if len(prompt_classes) != len(prompt_embeddings):
        raise SettingsError(f"{len(prompt_embeddings)} prompt embeddings, but {len(prompt_classes)} prompt classes")
    if strangers := sorted(set(prompt_classes) - set(classes)):
        raise PromptError(f"prompts for {', '.join(strangers)}, which are none of the classes {', '.join(classes)}")
    if missing := [name for name in classes if name not in set(prompt_classes)]:
        raise PromptError(f"no prompt for {', '.join(missing)}")
    unit = unit_rows(prompt_embeddings, "prompt")
    index = np.array([list(classes).index(name) for name in prompt_classes], dtype=np.int64)
    if combine == "max":
        return Prototypes(classes=tuple(classes), vectors=unit, class_index=index)
    means = np.stack([unit[index == number].mean(axis=0) for number in range(len(classes))])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    for name, length in zip(classes, lengths[:, 0], strict=True):
        if length < 1e-6:
            raise PromptError(f"the prompts of {name} point in opposite directions; their mean has none")
    return Prototypes(classes=tuple(classes), vectors=means / lengths, class_index=np.arange(len(classes)))


def zero_shot_scores(embeddings: Float[np.ndarray, "n dim"], prototypes: Prototypes) -> Float[np.ndarray, "n class"]:
    """Cosine of each embedding with each class, in [-1, 1].

    Raises:
        CheckpointError: An embedding is zero or not finite.
        SettingsError: The widths differ.
    """
    if embeddings.shape[1] != prototypes.vectors.shape[1]:
        widths = f"{embeddings.shape[1]} wide, the prototypes {prototypes.vectors.shape[1]}"
        raise SettingsError(f"the embeddings are {widths}")
    cosines = np.clip(unit_rows(embeddings, "image") @ prototypes.vectors.T, -1.0, 1.0)
    columns = [cosines[:, prototypes.class_index == number].max(axis=1) for number in range(len(prototypes.classes))]
    return np.stack(columns, axis=1)


def predicted_classes(scores: Float[np.ndarray, "n class"]) -> Int[np.ndarray, " n"]:
    """The class of the highest score; among equals the first.

    Scores within 1e-10 are equal: a matrix product may round the same cosine differently in two columns.
    """
    return np.argmax(scores >= scores.max(axis=1, keepdims=True) - _TIE, axis=1)


def probabilities(scores: Float[np.ndarray, "n class"], temperature: float) -> Float[np.ndarray, "n class"]:
    """Softmax of the scores over the temperature; each row sums to one.

    Raises:
        SettingsError: The temperature is not positive and finite.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise SettingsError(f"temperature={temperature!r}, expected a positive number")
    logits = np.asarray(scores, dtype=np.float64) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def unit_rows(embeddings: Float[np.ndarray, "n dim"], what: str) -> Float[np.ndarray, "n dim"]:
    """Rows made unit length, in double precision.

    Raises:
        CheckpointError: A row is zero or not finite, so that it has no direction.
    """
    double = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(double, axis=1, keepdims=True)
    bad = ~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise CheckpointError(
            f"{int(bad.sum())} of {len(double)} {what} embeddings are zero or not finite, the first is number {first}; "
            "the model has diverged or its weights are damaged"
        )
    return double / lengths
