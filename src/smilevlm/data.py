"""Prepared views as a torch dataset, for training loops of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch.utils.data import Dataset

from smilevlm.augment import Distortions, DistortionSettings
from smilevlm.datasets import find_protocol
from smilevlm.errors import SettingsError
from smilevlm.labels import ActionIntensities
from smilevlm.prompts import (
    CAPTION_MODES,
    CachedTextTower,
    FaceActions,
    PairingMode,
    draw_caption_table,
    embed_prompts,
    load_prompt_set,
    load_text_tower,
    mix_captions,
    pairing_texts,
    prompt_set_for,
    sample_prompts,
)
from smilevlm.store import PreparedSet, Sample

_PAIRINGS: tuple[PairingMode, ...] = ("class", "generic")


class Item(TypedDict):
    """One sample.

    `images` are uint8 RGB views, `text` is the embedding of `prompt`, centred and of unit length; `label` is the class
    and `target` its index, for evaluation alone: the losses of SMILE-VLM take neither. `is_dynamic` tells a dynamic
    image of a sequence; `actions` are what the face does, None where that is not recorded.
    """

    images: UInt8[torch.Tensor, "view 3 height width"]
    text: Float32[torch.Tensor, " dim"]
    prompt: str
    label: str
    target: int
    subject: str
    sample_id: str
    is_dynamic: bool
    actions: ActionIntensities | None


class Items(TypedDict):
    """Several samples, as `PreparedDataset.collate` stacks them."""

    images: UInt8[torch.Tensor, "batch view 3 height width"]
    text: Float32[torch.Tensor, "batch dim"]
    prompt: list[str]
    label: list[str]
    target: Int64[torch.Tensor, " batch"]
    subject: list[str]
    sample_id: list[str]
    is_dynamic: Bool[torch.Tensor, " batch"]
    actions: list[ActionIntensities | None]


class PreparedDataset(Dataset[Item]):
    """The samples of a prepared set that a protocol uses: views, prompts and subjects.

    Every sample is paired with one prompt, drawn anew for each epoch from the seed and the epoch's number, see
    `set_epoch`. Split it by subject, with `smilevlm.datasets.subject_folds(data.subjects, ...)`.

    Args:
        store: The folder that `smilevlm prepare` wrote.
        protocol: Which samples take part, a key of `smilevlm.datasets.PROTOCOLS`; None for all that have one class.
        prompt_set: Name or path of a prompt set; None for the bundled one that has the classes.
        pairing: `class` draws a sample's prompt from those of its class, `generic` gives all the same; `actions` draws
            a caption of what the face does, `mixed` such a caption or a prompt of the class.
        caption_share: Of `mixed`: probability of a caption for a sample whose facial actions are recorded.
        captions_per_sample: Different captions of one sample.
        text_tower: What embeds the prompts: `minilm`, or a CLIP by hub id or local folder.
        seed: Of the prompts.

    Raises:
        StoreError: The store is unfinished or damaged.
        LayoutError: The protocol does not fit the store.
        PromptError: The prompt set lacks a class.
        SettingsError: Another pairing; or the protocol has several classes per sample, or draws subjects.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        *,
        protocol: str | None = None,
        prompt_set: str | None = None,
        pairing: PairingMode = "class",
        caption_share: float = 0.5,
        captions_per_sample: int = 8,
        text_tower: str = "minilm",
        seed: int = 0,
    ) -> None:
        if pairing not in (*_PAIRINGS, *CAPTION_MODES):
            known = ", ".join(repr(name) for name in (*_PAIRINGS, *CAPTION_MODES))
            raise SettingsError(f"pairing is {pairing!r}; expected one of {known}")
        self.prepared = PreparedSet(Path(store))
        every = self.prepared.samples
        chosen = range(len(every)) if protocol is None else _selected(protocol, every)
        self._indices = [index for index in chosen if len(every[index].classes) == 1]
        self.samples = tuple(every[index] for index in self._indices)
        self.labels = [sample.expression for sample in self.samples]
        self.classes: tuple[str, ...] = (
            tuple(sorted(set(self.labels))) if protocol is None else find_protocol(protocol).classes_of(every)
        )
        self.subjects = [sample.subject for sample in self.samples]
        """Of each sample, for splits."""
        self.angles_deg = self.prepared.manifest.settings.views.angles_deg
        self.prompt_set = load_prompt_set(prompt_set or prompt_set_for(self.classes), classes=self.classes)
        self.text_tower = CachedTextTower(load_text_tower(text_tower))
        self.prompts = embed_prompts(self.prompt_set, self.text_tower)
        """The embedded prompts of all classes; `smilevlm.models.class_prototypes` makes a classifier of them."""
        self._texts = pairing_texts(self.prompt_set, pairing)
        self._captions, self._caption_share = None, caption_share
        if pairing in CAPTION_MODES:
            faces = recorded_actions(self.samples)
            if message := missing_actions(faces, pairing):
                raise SettingsError(message)
            table = draw_caption_table(faces, per_sample=captions_per_sample, seed=seed, prompts=self._texts)
            self._captions, self._texts = table.rows, (*self._texts, *table.texts)
        self._table = torch.from_numpy(self.prompts.embed(self._texts, self.text_tower))
        self._pairing: PairingMode = pairing
        self._seed = seed
        self.set_epoch(0)

    def distortions(self, settings: DistortionSettings | None = None) -> Distortions:
        """The distortions that fit these views: their angles, and the channel of the horizontal normal."""
        return Distortions.for_views(settings or DistortionSettings(), self.prepared.manifest.settings.views)

    def set_epoch(self, epoch: int) -> None:
        """Draw the prompts of another epoch; call it before the epoch's iterator of a loader is made.

        Loaders with `persistent_workers=True` keep copies of the data set from the first epoch and do not notice.
        """
        generator = np.random.default_rng([self._seed, epoch])
        self._drawn = sample_prompts(self.labels, self.prompt_set, mode=self._pairing, generator=generator)
        if self._captions is not None:
            share = self._caption_share
            self._drawn = mix_captions(self._drawn, self._captions, share=share, generator=generator)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample, row = self.samples[index], int(self._drawn[index])
        images = np.ascontiguousarray(self.prepared.images(self._indices[index]).transpose(0, 3, 1, 2))
        return Item(
            images=torch.from_numpy(images),
            text=self._table[row],
            prompt=self._texts[row],
            label=sample.expression,
            target=self.classes.index(sample.expression),
            subject=sample.subject,
            sample_id=sample.sample_id,
            is_dynamic=sample.is_dynamic,
            actions=sample.actions,
        )

    @staticmethod
    def collate(items: Sequence[Item]) -> Items:
        """A batch of samples, for `torch.utils.data.DataLoader(..., collate_fn=PreparedDataset.collate)`."""
        return Items(
            images=torch.stack([item["images"] for item in items]),
            text=torch.stack([item["text"] for item in items]),
            prompt=[item["prompt"] for item in items],
            label=[item["label"] for item in items],
            target=torch.tensor([item["target"] for item in items]),
            subject=[item["subject"] for item in items],
            sample_id=[item["sample_id"] for item in items],
            is_dynamic=torch.tensor([item["is_dynamic"] for item in items]),
            actions=[item["actions"] for item in items],
        )


def _selected(protocol: str, samples: Sequence[Sample]) -> list[int]:
    chosen = find_protocol(protocol)
    if chosen.multi_label or chosen.num_subjects is not None:
        what = "several classes per sample" if chosen.multi_label else "a draw of subjects"
        raise SettingsError(f"protocol {protocol} has {what}, which PreparedDataset does not know; use smilevlm.train")
    return chosen.select(samples)


def recorded_actions(samples: Sequence[Sample]) -> tuple[FaceActions, ...]:
    """What a store knows of its samples' faces."""
    return tuple(
        FaceActions(name=sample.sample_id, actions=sample.actions, unjudged=sample.unjudged_actions)
        for sample in samples
    )


def missing_actions(faces: Sequence[FaceActions], pairing: PairingMode) -> str | None:
    """What is wrong with a set that a pairing by captions is asked of; None if it has the facial actions it needs."""
    missing = [face.name for face in faces if face.actions is None]
    if missing and (pairing == "actions" or len(missing) == len(faces)):
        return (
            f"{len(missing)} of {len(faces)} samples have no recorded facial actions, such as {missing[0]}; "
            f"pairing {pairing!r} makes captions of them"
        )
    return None
