"""Prompts that a run never trained with, for the classes that it did: how far it knows more than its own wordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilevlm.datasets.folds import first_few
from smilevlm.errors import CheckpointError, PromptError, SettingsError
from smilevlm.evaluation.fold_score import UnseenWordings
from smilevlm.evaluation.scoring import EvaluationData, embed_recordings
from smilevlm.models import ModelBundle, class_prototypes, first_fold, load_bundle
from smilevlm.prompts import (
    CAPTION_MODES,
    CachedTextTower,
    PromptSet,
    TextTower,
    load_prompt_set,
    load_text_tower,
    pairing_texts,
    wording,
)
from smilevlm.results import ReportedPairing
from smilevlm.training import ExperimentConfig
from smilevlm.training.captions import run_captions
from smilevlm.training.splits import split_folds, trained_sides

AUTOMATIC = "auto"
"""The first of `CANDIDATES` that fits."""
NONE = "none"
CANDIDATES = (
    "basic_expressions_described",
    "basic_expressions_detailed",
    "basic_expressions",
    "basic_expressions_neutral",
    "spontaneous_expressions",
    "micro_expressions",
    "class_names",
)
"""Bundled prompt sets in the order in which they are tried; the first says what faces do, and names no class."""


def trained_wordings(config: ExperimentConfig, tested: EvaluationData, pairing: ReportedPairing) -> frozenset[str]:
    """Every text that a run's losses, or those of the model that it began with, compared faces with.

    Args:
        config: The run's recipe.
        tested: What it is scored on.
        pairing: Which pairing the losses really used.

    Returns:
        As `wording` gives them: without case and punctuation.

    Raises:
        CheckpointError: The model that the run began with is no longer there to be asked.
    """
    texts: list[str] = []
    samples = tested.train.samples
    if pairing not in ("none", "labels"):
        prompt_set = load_prompt_set(config.prompt_set, classes=tested.protocol.training.classes_of(samples))
        beside = pairing_texts(prompt_set, config.pairing)
        texts += beside
        if config.pairing in CAPTION_MODES:
            used = {i for split in split_folds(config, tested.train) for side in trained_sides(split) for i in side}
            texts += run_captions(config, tested.train, used, beside).texts
    if config.start_from is not None:
        texts += load_bundle(first_fold(Path(config.start_from))).prompts.texts
    return frozenset(wording(text) for text in texts)


def choose_unseen_prompts(
    config: ExperimentConfig, tested: EvaluationData, pairing: ReportedPairing, wanted: str
) -> PromptSet | None:
    """A prompt set for the tested classes none of whose texts the run trained with.

    Args:
        config: The run's recipe.
        tested: What it is scored on.
        pairing: Which pairing the losses really used.
        wanted: Name or path of the set; `auto` for the first bundled one that fits, `none` for none.

    Returns:
        None where none is wanted, the run knows no words, or no bundled set fits.

    Raises:
        SettingsError: A set is named, but the run was trained with class labels and knows no words.
        PromptError: The named set lacks a class, or has a text that the run trained with.
        CheckpointError: A set is named, but the model that the run began with cannot be asked for its texts.
    """
    if wanted == NONE:
        return None
    named = wanted != AUTOMATIC
    if config.pairing == "labels":
        if named:
            raise SettingsError("the run was trained with class labels and knows no words: there are no other wordings")
        return None
    try:
        trained = trained_wordings(config, tested, pairing)
    except CheckpointError:
        if named:
            raise
        return None
    # The recipe's own set is what the main score is of, also where no loss saw it.
    own = load_prompt_set(config.prompt_set, classes=tested.classes)
    known = trained | {wording(text) for text in own.texts}
    for name in (wanted,) if named else CANDIDATES:
        try:
            prompt_set = load_prompt_set(name, classes=tested.classes)
            _check_unseen(prompt_set, known)
        except PromptError:
            if named:
                raise
            continue
        return prompt_set
    return None


def _check_unseen(prompt_set: PromptSet, known: frozenset[str]) -> None:
    if shared := [text for text in prompt_set.texts if wording(text) in known]:
        raise PromptError(
            f"prompt set {prompt_set.name} is no set of unseen wordings: the run was trained or is scored with "
            f"{first_few(shared)}"
        )


class UnseenPrompts:
    """A chosen prompt set as directions, for one model after the other.

    Args:
        prompt_set: Of `choose_unseen_prompts`.
        text_tower: That the run was trained with.
    """

    def __init__(self, prompt_set: PromptSet, text_tower: str) -> None:
        self.name = prompt_set.name
        self._prompt_set = prompt_set
        self._tower: TextTower = CachedTextTower(load_text_tower(text_tower))

    def of_fold(
        self, bundle: ModelBundle, tested: EvaluationData, test: Sequence[int], z_fused: np.ndarray
    ) -> UnseenWordings:
        """What `score_fold` compares with.

        Args:
            bundle: The fold's model.
            tested: What the run is scored on.
            test: Samples of the test store.
            z_fused: Their embeddings. A text-guided fusion makes others, since it looks at the prompts.
        """
        candidates = bundle.prompts.embed(self._prompt_set.texts, self._tower)
        if bundle.model.settings.fusion.kind == "text_guided":
            z_fused = embed_recordings(bundle, tested.test, test, candidates=candidates)[0].z_fused
        prototypes = class_prototypes(candidates, self._prompt_set.text_classes, tested.classes)
        return UnseenWordings(prototypes=prototypes, z_fused=z_fused)
