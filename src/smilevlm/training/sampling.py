"""Which samples make a batch, where labels are few: a share of each batch has prompts, their classes balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

from smilevlm.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """Which samples make a batch.

    An epoch of either kind has as many steps as whole batches fit into the training samples. `shuffled` sees a sample
    at most once in it. `stratified` sees few labelled samples several times in one epoch, each time with a prompt drawn
    anew, and in turn not all of the others. Assumption A62.

    Args:
        name: `shuffled`, a random order of all samples; `stratified`, a share of each batch has prompts.
        paired_share: Of a batch of `stratified`, rounded, that has prompts, their classes as equally frequent as their
            numbers of samples allow. A batch has no sample twice: where one side has too few, the other fills it.
    """

    name: Literal["shuffled", "stratified"] = "shuffled"
    paired_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.paired_share <= 1:
            raise SettingsError(f"sampler.paired_share is {self.paired_share}; expected above 0, to 1")


def stratified_order(
    strata: Sequence[str | None],
    *,
    num_batches: int,
    batch_size: int,
    paired_share: float,
    generator: np.random.Generator,
) -> Int64[np.ndarray, "batch sample"]:
    """The samples of each batch of an epoch.

    The samples of a stratum come in turn, in a random order that is drawn anew each time all of them have come.

    Args:
        strata: The class of each sample that has a prompt, None for one without.
        num_batches: Batches of the epoch.
        batch_size: At most the number of samples.
        paired_share: See `SamplerSettings`.
        generator: Source of chance.
    """
    members = {name: np.flatnonzero([each == name for each in strata]) for name in dict.fromkeys(strata)}
    unpaired = members.pop(None, np.zeros(0, np.int64))
    num_samples = sum(map(len, members.values()))
    wanted = min(round(paired_share * batch_size), num_samples)
    num_paired = max(wanted, batch_size - len(unpaired))
    decks = {name: _Deck(samples, generator) for name, samples in [*members.items(), (None, unpaired)]}
    batches = np.empty((num_batches, batch_size), np.int64)
    for batch in batches:
        quotas = _equal_quotas([len(samples) for samples in members.values()], num_paired, generator)
        drawn = [decks[name].deal(quota) for name, quota in zip(members, quotas, strict=True)]
        # Mixed, so that each process has some of both.
        batch[:] = generator.permutation(np.concatenate([*drawn, decks[None].deal(batch_size - num_paired)]))
    return batches


class _Deck:
    """Samples that are dealt in turn, shuffled anew when all of them have been."""

    def __init__(self, samples: Int64[np.ndarray, " sample"], generator: np.random.Generator) -> None:
        self._samples, self._generator = samples, generator
        self._left = samples[:0]

    def deal(self, number: int) -> Int64[np.ndarray, " number"]:
        """So many, none of them twice; at most as many as there are."""
        dealt, self._left = self._left[:number], self._left[number:]
        missing = number - len(dealt)
        if missing:
            shuffled = self._generator.permutation(self._samples)
            again = np.isin(shuffled, dealt)
            shuffled = np.concatenate([shuffled[~again], shuffled[again]])
            dealt, self._left = np.concatenate([dealt, shuffled[:missing]]), shuffled[missing:]
        return dealt


def _equal_quotas(sizes: Sequence[int], total: int, generator: np.random.Generator) -> list[int]:
    """How many of each stratum, as equal as the sizes allow; who gets one more is drawn."""
    quotas = np.zeros(len(sizes), np.int64)
    while (missing := total - int(quotas.sum())) > 0:
        open_strata = generator.permutation(np.flatnonzero(quotas < sizes))
        each = missing // len(open_strata)
        if each == 0:
            quotas[open_strata[:missing]] += 1
        else:
            quotas[open_strata] = np.minimum(quotas[open_strata] + each, np.asarray(sizes)[open_strata])
    return quotas.tolist()
