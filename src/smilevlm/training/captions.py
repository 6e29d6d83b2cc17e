"""The captions that a run's samples are paired with: a few per sample, drawn once, embedded with the prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from smilevlm.errors import StoreError
from smilevlm.labels import FACIAL_ACTIONS, UNLABELLED, ActionIntensities
from smilevlm.prompts import CAPTION_MODES, NO_PROMPT, PairingMode, draw_captions
from smilevlm.results import PairingCaptions
from smilevlm.store import PreparedSet, Sample
from smilevlm.training.config import ExperimentConfig


@dataclass(frozen=True, kw_only=True)
class FaceActions:
    """What is recorded of one sample.

    Args:
        name: Of the sample; decides with the seed which captions are drawn.
        actions: What the face does; None where it is not recorded.
        unjudged: Actions that nobody looked for: no caption says that they are absent.
    """

    name: str
    actions: ActionIntensities | None
    unjudged: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class CaptionTable:
    """Captions of many samples.

    Args:
        texts: Each once.
        rows: Where a sample's captions stand behind the prompts, or which prompts they are; `NO_PROMPT` for a sample
            without recorded actions. Equal texts have equal rows.
    """

    texts: tuple[str, ...]
    rows: Int64[np.ndarray, "sample caption"]


def draw_caption_table(
    faces: Sequence[FaceActions], *, per_sample: int, seed: int, prompts: Sequence[str] = ()
) -> CaptionTable:
    """Draw the captions of each face.

    They follow from the seed and the sample's name alone, so that every fold, process and resumed run has the same.

    Args:
        faces: Of which captions are drawn.
        per_sample: Captions of each.
        seed: Of the draws.
        prompts: Texts of the rows before the captions.
    """
    row_of = {text: row for row, text in enumerate(prompts)}
    rows = np.full((len(faces), per_sample), NO_PROMPT, np.int64)
    for place, face in enumerate(faces):
        if face.actions is None:
            continue
        name = int.from_bytes(hashlib.sha256(face.name.encode()).digest()[:8], "big")
        generator = np.random.default_rng([seed, name])
        coded = [code for code in FACIAL_ACTIONS if code not in face.unjudged]
        texts = draw_captions(face.actions, generator, per_sample, coded=coded)
        rows[place] = [row_of.setdefault(text, len(row_of)) for text in texts]
    return CaptionTable(texts=tuple(row_of)[len(prompts) :], rows=rows)


def recorded_actions(samples: Sequence[Sample]) -> tuple[FaceActions, ...]:
    """What a store knows of its samples' faces."""
    return tuple(
        FaceActions(name=sample.sample_id, actions=sample.actions, unjudged=sample.unjudged_actions)
        for sample in samples
    )


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
    missing = [faces[index].name for index in sorted(used) if faces[index].actions is None]
    if missing and (config.pairing == "actions" or len(missing) == len(used)):
        raise StoreError(
            f"{prepared.path}: {len(missing)} of {len(used)} samples have no recorded facial actions, such as "
            f"{missing[0]}; pairing {config.pairing!r} makes captions of them"
        )
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
