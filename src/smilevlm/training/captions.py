"""The captions that a run's samples are paired with: a few per sample, drawn once, embedded with the prompts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from smilevlm.data import missing_actions, recorded_actions
from smilevlm.errors import StoreError
from smilevlm.labels import UNLABELLED
from smilevlm.prompts import CAPTION_MODES, CaptionTable, FaceActions, PairingMode, draw_caption_table
from smilevlm.results import PairingCaptions
from smilevlm.store import PreparedSet, Sample
from smilevlm.training.config import ExperimentConfig


def run_captions(
    config: ExperimentConfig, prepared: PreparedSet, used: Collection[int], prompts: Sequence[str]
) -> CaptionTable:
    """The captions of a run's samples, with a row per sample of the store.

    Args:
        config: The recipe.
        prepared: Its store.
        used: Samples that are trained or validated on in any fold; the others get no captions.
        prompts: Texts of the rows before the captions.

    Raises:
        StoreError: A sample has no recorded actions in pairing `actions`; none has in pairing `mixed`.
    """
    faces = recorded_actions(prepared.samples)
    if message := missing_actions([faces[index] for index in sorted(used)], config.pairing):
        raise StoreError(f"{prepared.path}: {message}")
    wanted = [face if index in used else FaceActions(name=face.name, actions=None) for index, face in enumerate(faces)]
    return draw_caption_table(wanted, per_sample=config.captions_per_sample, seed=config.seed, prompts=prompts)


def captioned_beside(pairing: PairingMode, samples: Sequence[Sample], chosen: Collection[int]) -> tuple[int, ...]:
    """Samples that a protocol has no use for, but captions do: with recorded actions, and no class or several.

    Args:
        pairing: Of the recipe.
        samples: All of a store.
        chosen: The training side of a fold; of its subjects alone others are taken.
    """
    if pairing not in CAPTION_MODES:
        return ()
    taken, subjects = set(chosen), {samples[index].subject for index in chosen}
    return tuple(
        index
        for index, (sample, face) in enumerate(zip(samples, recorded_actions(samples), strict=True))
        if index not in taken
        and sample.subject in subjects
        and face.actions is not None
        and (UNLABELLED in sample.classes or len(sample.classes) > 1)
    )


def described_captions(config: ExperimentConfig, *, synthetic: bool) -> PairingCaptions:
    """What a result says of the captions.

    Args:
        config: The recipe, in pairing `actions` or `mixed`.
        synthetic: Whether the faces that were trained on are.
    """
    return PairingCaptions(
        source="synthetic by construction" if synthetic else "coded by people",
        share=1.0 if config.pairing == "actions" else config.caption_share,
    )
