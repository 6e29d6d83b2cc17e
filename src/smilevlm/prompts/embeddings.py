"""The embeddings of a prompt set, centred: sentences about faces share most of their direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import PromptError
from smilevlm.prompts.prompt_set import PromptSet
from smilevlm.prompts.text_tower import TextTower

_SMALLEST_NORM = 1e-4


def centre_and_normalise(
    embeddings: Float32[np.ndarray, "text dim"], mean: Float32[np.ndarray, " dim"]
) -> Float32[np.ndarray, "text dim"]:
    """Subtract the mean and scale each row to unit length.

    Args:
        embeddings: Raw embeddings of a text tower, unit length.
        mean: The mean over all prompts of the set that training used, for prompts typed later too.
    """
    centred = embeddings.astype(np.float64) - mean
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if np.any(lengths < _SMALLEST_NORM):
        row = int(np.argmin(lengths))
        raise PromptError(f"prompt {row} equals the mean of the prompts, so nothing tells it apart; add other prompts")
    return (centred / lengths).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class PromptEmbeddings:
    """The embedded prompts of a set.

    Args:
        texts: The prompts, in the order of `PromptSet.texts`.
        classes: The class of each prompt.
        raw: The text tower's embeddings, unit length.
        mean: Mean of `raw` over all prompts; kept with the model, so that other prompts are centred alike.
    """

    texts: tuple[str, ...]
    classes: tuple[str, ...]
    raw: Float32[np.ndarray, "text dim"]
    mean: Float32[np.ndarray, " dim"]

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.classes) == len(self.raw):
            raise PromptError(
                f"{len(self.texts)} prompts, {len(self.classes)} classes of prompts and {len(self.raw)} embeddings"
            )

    @cached_property
    def centred(self) -> Float32[np.ndarray, "text dim"]:
        """The embeddings minus their mean, unit length."""
        return centre_and_normalise(self.raw, self.mean)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Each class once, in the order of the prompts."""
        return tuple(dict.fromkeys(self.classes))

    def embed(self, texts: Sequence[str], tower: TextTower) -> Float32[np.ndarray, "text dim"]:
        """Other texts, centred on this set's mean, unit length; for prompts typed later and for the generic prompt."""
        if tower.dim != self.raw.shape[1]:
            raise PromptError(f"the text tower is {tower.dim} wide, the prompts' embeddings {self.raw.shape[1]}")
        return centre_and_normalise(tower.encode(list(texts)), self.mean)


def embed_prompts(
    prompt_set: PromptSet,
    tower: TextTower,
    *,
    centred: bool = True,
    other_mean: Float32[np.ndarray, " dim"] | None = None,
    other_share: float = 1.0,
) -> PromptEmbeddings:
    """Embed every prompt of a set.

    Args:
        prompt_set: The prompts.
        tower: Embeds them.
        centred: Take out the mean over all of them, each prompt counting once; otherwise the mean is kept as zero and
            the embeddings stay as the tower gives them. Assumption A5.
        other_mean: Of texts that training uses beside the prompts, or in their place.
        other_share: Weight of that mean in the one that is taken out, in [0, 1].
    """
    raw = tower.encode(prompt_set.texts)
    mean = raw.mean(axis=0, dtype=np.float64).astype(np.float32) if centred else np.zeros(tower.dim, np.float32)
    if centred and other_mean is not None:
        mean = ((1 - other_share) * mean + other_share * other_mean).astype(np.float32)
    return PromptEmbeddings(texts=prompt_set.texts, classes=prompt_set.text_classes, raw=raw, mean=mean)
