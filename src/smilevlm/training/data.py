"""Training and validation batches: images in memory, prompts drawn anew each epoch, a shard of rows per process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch.utils.data import DataLoader, IterableDataset

from smilevlm.errors import SettingsError
from smilevlm.prompts import NO_PROMPT, PairingMode, PromptSet, mix_captions, sample_prompts
from smilevlm.store import Sample
from smilevlm.training.sampling import SamplerSettings, stratified_order

_VALIDATION = 1
"""Apart from the epochs of training, whose streams are numbered by epoch alone."""


class Batch(NamedTuple):
    """This process's rows of a global batch.

    Args:
        images: uint8 RGB.
        prompts: Row of the prompt table, -1 for a sample without a prompt.
        truth: Index of the class, -1 where it is not told: in training, and in label-free validation.
        total: Rows of the global batch.
        start: First of its rows that this process has.
        is_dynamic: Which are dynamic images; None where all are renderings of one scan.
        subjects: Whose each is, a number per person; None where nobody asks.
    """

    images: UInt8[torch.Tensor, "batch view 3 height width"]
    prompts: Int64[torch.Tensor, " batch"]
    truth: Int64[torch.Tensor, " batch"]
    total: int
    start: int
    is_dynamic: Bool[torch.Tensor, " batch"] | None = None
    subjects: Int64[torch.Tensor, " batch"] | None = None

    @property
    def rows(self) -> slice:
        """Where this process's rows stand in the global batch."""
        return slice(self.start, self.start + len(self.images))


@dataclass(frozen=True, kw_only=True)
class SampleCaptions:
    """Captions beside the prompts of classes, or in their place.

    Args:
        rows: Rows of the prompt table with each sample's captions; `NO_PROMPT` for a sample without any.
        share: Probability of a caption for a sample that has a class as well.
    """

    rows: Int64[np.ndarray, "sample caption"]
    share: float


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Training or validation samples.

    Args:
        images: All of them, in memory or on a GPU; batches come from where they are.
        classes: That each sample's prompt is drawn from; None for a sample without a prompt. They reach the loss in no
            other way.
        truth: Index of each sample's class, -1 in pairings that read no label; empty for training samples, whose loop
            is not told.
        is_dynamic: Which are dynamic images; None where none is.
        captions: In pairings `actions` and `mixed`.
        subjects: Whose each is, a number per person.
    """

    images: UInt8[torch.Tensor, "sample view 3 height width"]
    classes: tuple[str | None, ...]
    truth: tuple[int, ...] = ()
    is_dynamic: Bool[torch.Tensor, " sample"] | None = None
    captions: SampleCaptions | None = None
    subjects: Int64[torch.Tensor, " sample"] | None = None

    @property
    def strata(self) -> tuple[str | None, ...]:
        """The class of each sample that has a prompt, one name for all that have captions alone, None for the rest."""
        if self.captions is None:
            return self.classes
        has_caption = (self.captions.rows != NO_PROMPT).any(axis=1).tolist()
        return tuple(
            "captions alone" if name is None and has else name
            for name, has in zip(self.classes, has_caption, strict=True)
        )

    def at(self, rows: Int64[np.ndarray, " row"]) -> Samples:
        """Some of these training samples, in the order given."""
        assert not self.truth, "training samples do not tell it"
        captions = self.captions
        return Samples(
            images=self.images[torch.from_numpy(rows)],
            classes=tuple(self.classes[row] for row in rows.tolist()),
            is_dynamic=None if self.is_dynamic is None else self.is_dynamic[torch.from_numpy(rows)],
            captions=None if captions is None else replace(captions, rows=captions.rows[rows]),
            subjects=None if self.subjects is None else self.subjects[torch.from_numpy(rows)],
        )

    def to(self, device: str | torch.device) -> Samples:
        """The same with what batches are made of on a device."""
        moved = {
            name: tensor.to(device)
            for name in ("images", "is_dynamic", "subjects")
            if (tensor := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    def paired(self) -> Samples:
        """Those that have a prompt."""
        return self.at(np.flatnonzero([stratum is not None for stratum in self.strata]))


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """Which process this is of how many."""

    rank: int = 0
    num_processes: int = 1

    def of(self, total: int) -> slice:
        """This process's rows: neighbours, as many as the other processes have, or one more."""
        each, more = divmod(total, self.num_processes)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def sizes(self, total: int) -> list[int]:
        """How many rows each process has, in the order of rank."""
        each, more = divmod(total, self.num_processes)
        return [each + (rank < more) for rank in range(self.num_processes)]


class TrainingBatches(IterableDataset[Batch]):
    """Batches of images and prompts, shuffled or stratified.

    An epoch's order and prompts follow from the seed and its number alone, so that it can be repeated, by every process
    for itself.

    Args:
        samples: All training samples.
        prompt_set: Where prompts are drawn from.
        pairing: How a sample gets its prompt.
        batch_size: Samples per global batch; an incomplete last batch is left out, since correlations depend on the
            size.
        seed: Of order and prompts.
        epoch: Tells the number of the epoch about to begin.
        steps_done: Tells the steps since the beginning of training: those of the epoch about to begin are left out, so
            that an epoch that was interrupted goes on where it stood.
        shard: Which rows of each batch are wanted.
        sampler: Which samples make a batch; shuffled by default.

    Raises:
        SettingsError: The samples do not fill one batch.
    """

    def __init__(
        self,
        samples: Samples,
        prompt_set: PromptSet,
        *,
        pairing: PairingMode,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        steps_done: Callable[[], int] = lambda: 0,
        shard: ShardSpec | None = None,
        sampler: SamplerSettings | None = None,
    ) -> None:
        if len(samples.images) < batch_size:
            raise SettingsError(f"{len(samples.images)} training samples do not fill one batch of {batch_size}")
        self._samples = samples
        self._prompt_set = prompt_set
        self._pairing: PairingMode = pairing
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._steps_done = steps_done
        self._shard = shard or ShardSpec()
        self._sampler = sampler or SamplerSettings()

    def __len__(self) -> int:
        return len(self._samples.images) // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        samples, size = self._samples, self._batch_size
        # To the images' device at once: no step then waits for its few numbers.
        device = samples.images.device
        drawn = self._drawn(np.random.default_rng([self._seed, self._epoch()]))
        order, prompts = (torch.from_numpy(each).to(device) for each in drawn)
        rows = self._shard.of(size)
        for first in range(self._steps_done() % len(self) * size, len(self) * size, size):
            own = slice(first + rows.start, first + rows.stop)
            chosen = order[own]
            yield Batch(
                images=samples.images[chosen],
                prompts=prompts[own],
                truth=torch.full((len(chosen),), -1, device=device),
                total=size,
                start=rows.start,
                is_dynamic=None if samples.is_dynamic is None else samples.is_dynamic[chosen],
                subjects=None if samples.subjects is None else samples.subjects[chosen],
            )

    def _drawn(self, generator: np.random.Generator) -> tuple[Int64[np.ndarray, " place"], Int64[np.ndarray, " place"]]:
        """The sample of each place of the epoch, and the row of its prompt."""
        samples = self._samples
        if self._sampler.name == "shuffled":
            order = generator.permutation(len(samples.images))
            prompts = drawn_prompts(samples.classes, samples.captions, self._prompt_set, self._pairing, generator)
            return order, prompts[order]
        order = stratified_order(
            samples.strata,
            num_batches=len(self),
            batch_size=self._batch_size,
            paired_share=self._sampler.paired_share,
            generator=generator,
        ).ravel()
        classes, captions = [samples.classes[row] for row in order.tolist()], samples.captions
        captions = None if captions is None else replace(captions, rows=captions.rows[order])
        return order, drawn_prompts(classes, captions, self._prompt_set, self._pairing, generator)


class ValidationBatches(IterableDataset[Batch]):
    """The held-back samples in one fixed order, with one fixed prompt each.

    Args:
        samples: All validation samples.
        prompt_set: Where prompts are drawn from.
        pairing: How a sample gets its prompt.
        batch_size: Most samples in a global batch, one more where one would be left over; all are of about one size.
        seed: Of order and prompts.
        shard: Which rows of each batch are wanted.

    Raises:
        SettingsError: Fewer than two samples.
    """

    def __init__(
        self,
        samples: Samples,
        prompt_set: PromptSet,
        *,
        pairing: PairingMode,
        batch_size: int,
        seed: int,
        shard: ShardSpec | None = None,
    ) -> None:
        count = len(samples.images)
        if count < 2:
            raise SettingsError(f"{count} validation samples; at least two are needed: raise validation.share")
        generator = np.random.default_rng([seed, 0, _VALIDATION])
        # No batch of one, which correlations cannot be taken of.
        num_batches = min(-(-count // batch_size), count // 2)
        self._batches = np.array_split(generator.permutation(count), num_batches)
        drawn = drawn_prompts(samples.classes, samples.captions, prompt_set, pairing, generator)
        self._prompts = torch.from_numpy(drawn)
        self._samples = samples
        self._truth = torch.tensor(samples.truth, dtype=torch.int64)
        self._shard = shard or ShardSpec()

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        is_dynamic, subjects = self._samples.is_dynamic, self._samples.subjects
        for chosen in self._batches:
            rows = self._shard.of(len(chosen))
            own = torch.from_numpy(chosen[rows])
            yield Batch(
                images=self._samples.images[own],
                prompts=self._prompts[own],
                truth=self._truth[own],
                total=len(chosen),
                start=rows.start,
                is_dynamic=None if is_dynamic is None else is_dynamic[own],
                subjects=None if subjects is None else subjects[own],
            )


def drawn_prompts(
    classes: Sequence[str | None],
    captions: SampleCaptions | None,
    prompt_set: PromptSet,
    mode: PairingMode,
    generator: np.random.Generator,
) -> Int64[np.ndarray, " sample"]:
    """A row of the prompt table for each sample: a prompt of its class, or one of its captions."""
    prompts = sample_prompts(classes, prompt_set, mode=mode, generator=generator)
    if captions is None:
        return prompts
    return mix_captions(prompts, captions.rows, share=captions.share, generator=generator)


class PrefetchedBatches(IterableDataset[Batch]):
    """Makes each batch ready in a thread while the one before is trained on.

    Args:
        batches: Have a length.
        ready: Called in the thread with each batch, such as `pinned`.
    """

    def __init__(self, batches: IterableDataset[Batch], ready: Callable[[Batch], Batch]) -> None:
        self._batches = batches
        self._ready = ready

    def __len__(self) -> int:
        return len(self._batches)  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[Batch]:
        coming = (self._ready(batch) for batch in self._batches)
        with ThreadPoolExecutor(1, thread_name_prefix="next batch") as thread:
            upcoming = thread.submit(next, coming, None)
            while (batch := upcoming.result()) is not None:
                upcoming = thread.submit(next, coming, None)
                yield batch


def pinned(batch: Batch) -> Batch:
    """The batch in memory that a GPU copies from by itself, while the host goes on."""
    tensors = {name: part.pin_memory() for name, part in batch._asdict().items() if isinstance(part, torch.Tensor)}
    return batch._replace(**tensors)


def as_loader(batches: IterableDataset[Batch]) -> DataLoader[Batch]:
    """The batches as Lightning wants them; they are batches already and lie in memory."""
    return DataLoader(batches, batch_size=None)


def to_channels_first(
    images: UInt8[np.ndarray, "sample view height width 3"],
) -> UInt8[torch.Tensor, "sample view 3 height width"]:
    """Stored views as the model takes them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 1, 4, 2, 3)))


def which_are_dynamic(samples: Sequence[Sample]) -> Bool[torch.Tensor, " sample"] | None:
    """`Batch.is_dynamic` of these samples: None where all are renderings of one scan."""
    found = [sample.is_dynamic for sample in samples]
    return torch.tensor(found) if any(found) else None


def subject_numbers(samples: Sequence[Sample]) -> Int64[torch.Tensor, " sample"]:
    """`Batch.subjects` of these samples."""
    return torch.from_numpy(np.unique([sample.subject for sample in samples], return_inverse=True)[1])
