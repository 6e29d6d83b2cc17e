"""Training batches: every sample once an epoch, prompts of its own class, repeatable by seed and epoch number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.prompts import PromptSet, Provenance
from smilevlm.training.data import PromptedBatches, as_loader, to_channels_first

PROMPTS = PromptSet(
    name="test",
    provenance=Provenance(source="here", date="today", generated_by="hand"),
    prompts={"happy": ("a smile", "a grin", "a laugh"), "sad": ("tears", "a frown"), "angry": ("a glare",)},
)
NUM_SAMPLES = 22
CLASSES = [PROMPTS.classes[i % 3] for i in range(NUM_SAMPLES)]


def batches(*, epoch: int = 0, seed: int = 3, batch_size: int = 4, pairing="class", num: int = NUM_SAMPLES):
    """Every pixel of a sample's images holds its number."""
    images = torch.arange(num, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 2, 3, 4, 4)
    return PromptedBatches(
        images=images,
        classes=CLASSES[:num],
        prompt_set=PROMPTS,
        pairing=pairing,
        batch_size=batch_size,
        seed=seed,
        epoch=lambda: epoch,
    )


def one_epoch(**changes) -> tuple[list[int], list[int]]:
    pairs = list(batches(**changes))
    return (
        [int(n) for images, _ in pairs for n in images[:, 0, 0, 0, 0]],
        [int(row) for _, prompts in pairs for row in prompts],
    )


def test_an_epoch_has_no_repeats_and_drops_the_incomplete_batch():
    loaded = list(batches())
    assert len(loaded) == len(batches()) == 5
    assert {tuple(images.shape) for images, _ in loaded} == {(4, 2, 3, 4, 4)}
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
    data = PromptedBatches(
        images=images, classes=CLASSES, prompt_set=PROMPTS, pairing="class", batch_size=4, seed=0, epoch=lambda: epoch
    )
    first = torch.cat([prompts for _, prompts in data])
    epoch = 1
    assert not torch.equal(first, torch.cat([prompts for _, prompts in data]))


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
    for (images, prompts), (expected, rows) in zip(loaded, batches(), strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(prompts, rows)


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
