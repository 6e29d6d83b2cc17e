"""Training batches: every sample once an epoch, prompts of its own class, repeatable by seed and epoch number."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.prompts import PromptSet, Provenance
from smilevlm.training.data import (
    PrefetchedBatches,
    Samples,
    ShardSpec,
    TrainingBatches,
    ValidationBatches,
    as_loader,
    to_channels_first,
)

PROMPTS = PromptSet(
    name="test",
    provenance=Provenance(source="here", date="today", generated_by="hand"),
    prompts={"happy": ("a smile", "a grin", "a laugh"), "sad": ("tears", "a frown"), "angry": ("a glare",)},
)
NUM_SAMPLES = 22
CLASSES = [PROMPTS.classes[i % 3] for i in range(NUM_SAMPLES)]


def batches(
    *, epoch: int = 0, seed: int = 3, batch_size: int = 4, pairing="class", num: int = NUM_SAMPLES, shard=None, steps=0
):
    """Every pixel of a sample's images holds its number."""
    images = torch.arange(num, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 2, 3, 4, 4)
    return TrainingBatches(
        Samples(images=images, classes=tuple(CLASSES[:num]), subjects=100 + torch.arange(num) // 3),
        PROMPTS,
        pairing=pairing,
        batch_size=batch_size,
        seed=seed,
        epoch=lambda: epoch,
        steps_done=lambda: steps,
        shard=shard,
    )


def validation_batches(*, num: int, batch_size: int = 4, shard=None):
    images = torch.arange(num, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 2, 3, 4, 4)
    return ValidationBatches(
        Samples(
            images=images,
            classes=tuple(CLASSES[:num]),
            truth=tuple(i % 3 for i in range(num)),
            subjects=100 + torch.arange(num) // 3,
        ),
        PROMPTS,
        pairing="class",
        batch_size=batch_size,
        seed=3,
        shard=shard,
    )


def one_epoch(**changes) -> tuple[list[int], list[int]]:
    pairs = list(batches(**changes))
    return (
        [int(n) for images, *_ in pairs for n in images[:, 0, 0, 0, 0]],
        [int(row) for _, prompts, *_ in pairs for row in prompts],
    )


@pytest.mark.parametrize("shard", [None, ShardSpec(rank=1, num_processes=2)])
def test_a_batch_says_whose_each_sample_is(shard):
    for batch in (*batches(shard=shard), *validation_batches(num=9, shard=shard)):
        numbers = batch.images[:, 0, 0, 0, 0].long()
        assert torch.equal(batch.subjects, 100 + numbers // 3)


def same(one, other) -> bool:
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 4, 5, 12])
def test_an_epoch_that_is_gone_on_with_has_the_batches_that_are_left(steps):
    left = list(batches(steps=steps))
    assert len(left) == 5 - steps % 5
    assert all(same(*pair) for pair in zip(left, list(batches())[steps % 5 :], strict=True))


def test_prefetched_batches_are_the_same_and_one_ahead():
    made = []

    def ready(batch):
        made.append(threading.current_thread().name)
        return batch

    wanted = batches()
    prefetched = PrefetchedBatches(wanted, ready)
    assert len(prefetched) == len(wanted)
    assert all(same(*pair) for pair in zip(prefetched, wanted, strict=True))
    assert all("next batch" in name for name in made)
    ahead = threading.Event()

    def told(batch):
        if len(made) == 1:
            ahead.set()
        return ready(batch)

    made.clear()
    started = iter(PrefetchedBatches(wanted, told))
    next(started)
    assert ahead.wait(10), "the second is made while the first is in use"
    started.close()


def test_what_fails_in_the_thread_fails_the_loop():
    with pytest.raises(ZeroDivisionError):
        list(PrefetchedBatches(batches(), lambda batch: 1 / 0))


def test_an_epoch_has_no_repeats_and_drops_the_incomplete_batch():
    loaded = list(batches())
    assert len(loaded) == len(batches()) == 5
    assert {tuple(images.shape) for images, *_ in loaded} == {(4, 2, 3, 4, 4)}
    numbers, _ = one_epoch()
    assert len(set(numbers)) == len(numbers) == 20
    complete, _ = one_epoch(batch_size=11)
    assert sorted(complete) == list(range(NUM_SAMPLES))
    assert complete != sorted(complete)


def test_who_is_left_out_changes_with_the_epoch():
    left_out = [frozenset(range(NUM_SAMPLES)) - set(one_epoch(epoch=epoch)[0]) for epoch in range(12)]
    assert len(set(left_out)) > 6


def test_an_epoch_follows_from_seed_and_number():
    assert one_epoch(epoch=2) == one_epoch(epoch=2)
    for other in ({"epoch": 3}, {"epoch": 2, "seed": 4}):
        numbers, prompts = one_epoch(**other)
        assert numbers != one_epoch(epoch=2)[0]
        assert prompts != one_epoch(epoch=2)[1]


def test_the_number_is_asked_for_at_each_epoch():
    epoch = 0
    images = torch.zeros(NUM_SAMPLES, 1, 3, 4, 4, dtype=torch.uint8)
    samples = Samples(images=images, classes=tuple(CLASSES))
    data = TrainingBatches(samples, PROMPTS, pairing="class", batch_size=4, seed=0, epoch=lambda: epoch)
    first = torch.cat([prompts for _, prompts, *_ in data])
    epoch = 1
    assert not torch.equal(first, torch.cat([prompts for _, prompts, *_ in data]))


def test_prompts_are_of_the_sample_s_class():
    seen: dict[str, set[str]] = {}
    for epoch in range(10):
        numbers, prompts = one_epoch(epoch=epoch)
        for number, row in zip(numbers, prompts, strict=True):
            assert PROMPTS.text_classes[row] == CLASSES[number]
            seen.setdefault(CLASSES[number], set()).add(PROMPTS.texts[row])
    assert {name: len(texts) for name, texts in seen.items()} == {"happy": 3, "sad": 2, "angry": 1}


def test_generic_pairing_has_one_prompt():
    assert set(one_epoch(pairing="generic")[1]) == {0}


def test_prompt_rows_are_int64():
    assert next(iter(batches()))[1].dtype == torch.int64


def test_the_loader_gives_the_batches_as_they_are():
    loaded = list(as_loader(batches()))
    for batch, expected in zip(loaded, batches(), strict=True):
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.prompts, expected.prompts)
        assert (batch.total, batch.rows) == (4, slice(0, 4))


def test_too_few_samples_are_refused():
    with pytest.raises(SettingsError, match="3 training samples do not fill one batch of 4"):
        batches(num=3)
    assert len(batches(num=4)) == 1


def test_channels_first():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)
    tensor = to_channels_first(images)
    assert tensor.shape == (2, 3, 3, 4, 5)
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor[1, 2, 0].numpy(), images[1, 2, :, :, 0])


@pytest.mark.parametrize("num_processes", [2, 3])
def test_the_shares_of_all_processes_are_the_batches_of_one(num_processes):
    shards = [ShardSpec(rank=rank, num_processes=num_processes) for rank in range(num_processes)]
    for make in (lambda shard: batches(shard=shard), lambda shard: validation_batches(num=11, shard=shard)):
        for whole, *parts in zip(make(None), *(make(shard) for shard in shards), strict=True):
            for name in ("images", "prompts", "truth"):
                assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
            assert [part.start for part in parts] == [share.of(whole.total).start for share in shards]
            assert {part.total for part in parts} == {len(whole.images)}


def test_samples_without_a_class_get_no_prompt():
    images = torch.zeros(8, 1, 3, 4, 4, dtype=torch.uint8)
    samples = Samples(images=images, classes=("happy", None) * 4)
    data = TrainingBatches(samples, PROMPTS, pairing="pseudo", batch_size=8, seed=0, epoch=lambda: 0)  # fmt: skip
    (batch,) = data
    assert int((batch.prompts == -1).sum()) == 4
    assert {PROMPTS.text_classes[row] for row in batch.prompts.tolist() if row >= 0} == {"happy"}


@pytest.mark.parametrize(("num", "sizes"), [(8, [4, 4]), (9, [3, 3, 3]), (2, [2]), (5, [3, 2])])
def test_validation_batches_hold_each_sample_once_and_are_the_same_again(num, sizes):
    data = validation_batches(num=num)
    loaded = list(data)
    assert [len(batch.images) for batch in loaded] == sizes
    assert len(data) == len(sizes)
    numbers = [int(n) for batch in loaded for n in batch.images[:, 0, 0, 0, 0]]
    assert sorted(numbers) == list(range(num))
    truth = [int(n) for batch in loaded for n in batch.truth]
    assert truth == [number % 3 for number in numbers]
    for number, row in zip(numbers, [int(n) for batch in loaded for n in batch.prompts], strict=True):
        assert PROMPTS.text_classes[row] == CLASSES[number]
    for batch, again in zip(loaded, data, strict=True):
        assert torch.equal(batch.images, again.images)
        assert torch.equal(batch.prompts, again.prompts)


def test_a_single_validation_sample_is_refused():
    with pytest.raises(SettingsError, match=r"validation\.share"):
        validation_batches(num=1)


@pytest.mark.parametrize("num", [3, 5])
def test_no_validation_batch_has_one_sample(num):
    sizes = [len(batch.images) for batch in validation_batches(num=num, batch_size=2)]
    assert sum(sizes) == num
    assert min(sizes) >= 2
