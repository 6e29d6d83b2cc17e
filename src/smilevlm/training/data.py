"""Training batches: images in memory, prompts drawn anew for every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch.utils.data import DataLoader, IterableDataset

from smilevlm.errors import SettingsError
from smilevlm.prompts import PairingMode, PromptSet, sample_prompts
from smilevlm.training.task import Batch


class PromptedBatches(IterableDataset[Batch]):
    """Shuffled batches of (images, prompt rows).

    An epoch's order and prompts follow from the seed and its number alone, so that it can be repeated.

    Args:
        images: All training samples.
        classes: Of each sample; only their prompts reach the loss.
        prompt_set: Where prompts are drawn from.
        pairing: How a sample gets its prompt.
        batch_size: Samples per batch; an incomplete last batch is left out, since correlations depend on the size.
        seed: Of order and prompts.
        epoch: Tells the number of the epoch about to begin.
    """

    def __init__(
        self,
        *,
        images: UInt8[torch.Tensor, "sample view 3 height width"],
        classes: Sequence[str],
        prompt_set: PromptSet,
        pairing: PairingMode,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        if len(images) < batch_size:
            raise SettingsError(f"{len(images)} training samples do not fill one batch of {batch_size}")
        self._images = images
        self._classes = tuple(classes)
        self._prompt_set = prompt_set
        self._pairing: PairingMode = pairing
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._images) // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng([self._seed, self._epoch()])
        order = generator.permutation(len(self._images))
        prompts = sample_prompts(self._classes, self._prompt_set, mode=self._pairing, generator=generator)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            chosen = torch.from_numpy(order[start : start + self._batch_size])
            yield self._images[chosen], torch.from_numpy(prompts)[chosen]


def as_loader(batches: PromptedBatches) -> DataLoader[Batch]:
    """The batches as Lightning wants them; they are batches already and lie in memory."""
    return DataLoader(batches, batch_size=None)


def to_channels_first(
    images: UInt8[np.ndarray, "sample view height width 3"],
) -> UInt8[torch.Tensor, "sample view 3 height width"]:
    """Stored views as the model takes them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 1, 4, 2, 3)))
