"""Which prompt a sample is trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from smilevlm.errors import PromptError, SettingsError
from smilevlm.prompts.prompt_set import PromptSet
from smilevlm.results import PAIRING_MODES, PairingMode

CAPTION_MODES: tuple[PairingMode, ...] = ("actions", "mixed")
"""Pairings that need what each face does."""
NO_PROMPT = -1
"""Stands for a prompt's index where a sample has no prompt."""
GENERIC_PROMPT = "a photo of a human face"


def pairing_texts(prompt_set: PromptSet, mode: PairingMode) -> tuple[str, ...]:
    """The texts that the indices of `sample_prompts` refer to; captions, which are a sample's own, come after them.

    Raises:
        SettingsError: The mode is not known.
    """
    _check_mode(mode)
    if mode == "actions":
        return ()
    return (GENERIC_PROMPT,) if mode == "generic" else prompt_set.texts


def sample_prompts(
    classes: Sequence[str | None], prompt_set: PromptSet, *, mode: PairingMode, generator: np.random.Generator
) -> Int64[np.ndarray, " sample"]:
    """Draw a prompt for each sample, each prompt of its class being as likely as the others.

    Args:
        classes: The class that each sample's prompt is drawn from: its own in mode `class`, the one its teacher
            proposes in mode `pseudo`; None for a sample without a prompt. Only their number counts in modes `generic`
            and `actions`, whose samples all have the generic prompt, or none beside their captions.
        prompt_set: The prompts.
        mode: Where the prompt comes from.
        generator: Source of chance.

    Returns:
        Indices into `pairing_texts(prompt_set, mode)`, `NO_PROMPT` where the class is None.

    Raises:
        SettingsError: The mode is not known.
        PromptError: The set has no prompts for a class.
    """
    _check_mode(mode)
    if mode == "generic":
        return np.zeros(len(classes), np.int64)
    if mode == "actions":
        return np.full(len(classes), NO_PROMPT, np.int64)
    named = [name for name in classes if name is not None]
    missing = sorted(set(named) - set(prompt_set.classes))
    if missing:
        raise PromptError(
            f"prompt set {prompt_set.name!r} has no prompts for {', '.join(missing)}; "
            f"it has {', '.join(prompt_set.classes)}"
        )
    counts = {name: len(texts) for name, texts in prompt_set.prompts.items()}
    starts = dict(zip(counts, np.cumsum([0, *counts.values()])[:-1].tolist(), strict=True))
    indices = np.full(len(classes), NO_PROMPT, np.int64)
    if named:
        drawn = generator.integers(0, np.array([counts[name] for name in named], np.int64))
        has_prompt = np.array([name is not None for name in classes])
        indices[has_prompt] = drawn + np.array([starts[name] for name in named], np.int64)
    return indices


def mix_captions(
    prompts: Int64[np.ndarray, " sample"],
    captions: Int64[np.ndarray, "sample caption"],
    *,
    share: float,
    generator: np.random.Generator,
) -> Int64[np.ndarray, " sample"]:
    """Put a caption in the place of a sample's prompt, each of its captions being as likely as the others.

    Args:
        prompts: What `sample_prompts` drew.
        captions: Indices of each sample's captions, `NO_PROMPT` throughout for a sample without any.
        share: Probability of a caption where a sample has both; without a prompt it always gets a caption.
        generator: Source of chance.
    """
    drawn = captions[np.arange(len(captions)), generator.integers(captions.shape[1], size=len(captions))]
    wanted = (generator.random(len(captions)) < share) | (prompts == NO_PROMPT)
    return np.where(wanted & (drawn != NO_PROMPT), drawn, prompts)


def shuffle_classes(classes: Sequence[str | None], *, seed: int) -> tuple[str | None, ...]:
    """The control: the same classes, dealt out to the samples by a permutation that the seed fixes.

    Training on them must bring accuracy down to chance; where it does not, something leaks. Every class keeps
    its number of samples.

    Args:
        classes: The class of each training sample, in an order that does not change between epochs.
        seed: Fixes the permutation.
    """
    return tuple(classes[index] for index in shuffled_order(len(classes), seed=seed).tolist())


def shuffled_order(number: int, *, seed: int) -> Int64[np.ndarray, " sample"]:
    """Of which sample each sample gets the class and the captions in the control."""
    return np.random.default_rng(seed).permutation(number)


def _check_mode(mode: str) -> None:
    if mode not in PAIRING_MODES:
        raise SettingsError(f"no pairing mode is called {mode!r}; there are {', '.join(PAIRING_MODES)}")
