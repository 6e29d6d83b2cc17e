"""What one fold is trained on: images, the class that each sample's prompt is drawn from, embedded prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from smilevlm.datasets import find_protocol
from smilevlm.errors import SettingsError, StoreError
from smilevlm.models import ModelBundle, SmileVlm
from smilevlm.prompts import (
    CAPTION_MODES,
    NO_PROMPT,
    NO_TEXT_TOWER,
    CachedTextTower,
    PromptEmbeddings,
    PromptSet,
    Provenance,
    centre_and_normalise,
    embed_prompts,
    load_prompt_set,
    load_text_tower,
    pairing_texts,
    reference_captions,
    shuffle_classes,
    shuffled_order,
)
from smilevlm.results import OtherTrainingData
from smilevlm.store import PreparedSet
from smilevlm.store.manifest import differing_settings
from smilevlm.training.captions import run_captions
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.data import SampleCaptions, Samples, subject_numbers, to_channels_first, which_are_dynamic
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.initial_weights import check_initial_weights, load_initial_weights, working_on
from smilevlm.training.processes import on_rank0
from smilevlm.training.pseudo import ProposedClasses, Teacher, load_teacher, propose_classes
from smilevlm.training.splits import FoldSplit, split_folds


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Everything about words that training needs.

    Args:
        prompt_set: The protocol's classes of the recipe's prompt set.
        embeddings: Of all its prompts.
        table: Embeddings that batches name rows of.
        text_digest: Of the text tower.
    """

    prompt_set: PromptSet
    embeddings: PromptEmbeddings
    table: Float32[np.ndarray, "prompt dim"]
    text_digest: str


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """What one fold is trained on.

    Args:
        training: The samples that the losses see.
        validation: Held back to choose the epoch; None where nothing is chosen.
        prompts: Words.
        proposals: What the teacher proposed for the training samples, in pairing `pseudo`.
        start: The model to begin with, where the recipe names one.
        started_from: The data set that it was trained on.
        taught_by_synthetic: Whether it or the teacher was trained on synthetic faces.
        known_digests: Of samples that teacher and start were trained on, shortened.
    """

    training: Samples
    validation: Samples | None
    prompts: Prompts
    proposals: ProposedClasses | None
    start: SmileVlm | None
    started_from: OtherTrainingData | None
    taught_by_synthetic: bool
    known_digests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What the folds of a run share, loaded once.

    Args:
        config: The recipe.
        prepared: Its store.
        class_names: The classes of the protocol's training side.
        splits: The subject assignment per fold.
        prompts: Embedded.
        teacher: Of pairing `pseudo`; None with another pairing.
        start: The model to begin with, where the recipe names one.
        caption_rows: Of the prompt table, a row of them per sample of the store; in pairings `actions` and `mixed`.
    """

    config: ExperimentConfig
    prepared: PreparedSet
    class_names: tuple[str, ...]
    splits: tuple[FoldSplit, ...]
    prompts: Prompts
    teacher: Teacher | None
    start: ModelBundle | None
    caption_rows: Int64[np.ndarray, "sample caption"] | None = None


def load_run_data(config: ExperimentConfig, store: Path, check: Callable[[PreparedSet], None] | None = None) -> RunData:
    """Open the store, assign the subjects to folds, embed the prompts, load the models that training begins with.

    Args:
        config: The recipe.
        store: Prepared views.
        check: Called with the opened store before anything else.

    Raises:
        StoreError: The store does not fit the recipe, or lacks facial actions, see `run_captions`.
        LayoutError, SettingsError: The folds do not fit the store.
        PromptError, CheckpointError: See `load_prompts`.
        SmileVlmError: As `load_teacher` and `load_initial_weights`; or the model to begin with is of another
            architecture.
    """
    prepared = PreparedSet(store)
    if check is not None:
        check(prepared)
    check_store(config, prepared)
    class_names = find_protocol(config.protocol).training.classes_of(prepared.samples)
    splits, captions = tuple(split_folds(config, prepared)), None
    if config.pairing in CAPTION_MODES:
        paired = [(split.labelled_samples(prepared.samples), split.captioned, split.validation) for split in splits]
        used = {index for sides in paired for side in sides for index in side}
        texts = pairing_texts(load_prompt_set(config.prompt_set, classes=class_names), config.pairing)
        captions = run_captions(config, prepared, used, texts)
    return RunData(
        config=config,
        prepared=prepared,
        class_names=class_names,
        splits=splits,
        prompts=load_prompts(config, class_names, () if captions is None else captions.texts),
        teacher=load_teacher(config.pseudo, prepared.manifest) if config.pairing == "pseudo" else None,
        start=_load_start(config, prepared),
        caption_rows=None if captions is None else captions.rows,
    )


def _load_start(config: ExperimentConfig, prepared: PreparedSet) -> ModelBundle | None:
    if config.start_from is None:
        return None
    folder, start = load_initial_weights(config.start_from, "start_from", prepared.manifest, other_spans=True)
    if start.model.settings != config.model:
        raise SettingsError(f"start_from {folder} is a model with other settings than the recipe's `model`")
    return start


def check_initial_models(data: RunData, split: FoldSplit) -> None:
    """Raises:
    LeakError: The teacher, or the model to begin with, was trained on people that the fold tests.
    """
    manifest, digests = data.prepared.manifest, [data.prepared.samples[i].digest for i in split.test]
    teacher = None if data.teacher is None else data.teacher.bundle
    for setting, bundle in (("pseudo.teacher", teacher), ("start_from", data.start)):
        if bundle is not None:
            check_initial_weights(bundle, setting, manifest, split.test_subjects, test_digests=digests)


def check_store(config: ExperimentConfig, prepared: PreparedSet) -> None:
    """Raises:
    StoreError: The views were made otherwise than the recipe says, or from another data set.
    """
    if prepared.manifest.settings != config.prepare:
        differing = differing_settings(prepared.manifest.settings, config.prepare, "the recipe has")
        raise StoreError(f"{prepared.path} was prepared with other settings: {differing}")
    layout = find_protocol(config.protocol).train_layout
    if prepared.manifest.layout != layout:
        raise StoreError(f"{prepared.path} holds {prepared.manifest.layout}, the recipe's protocol needs {layout}")


def load_prompts(config: ExperimentConfig, class_names: Sequence[str], captions: Sequence[str] = ()) -> Prompts:
    """Embed the recipe's prompts for these classes, from the cache where they were embedded before.

    Args:
        config: The recipe.
        class_names: Of the protocol.
        captions: Stand in the table behind the prompts.

    Raises:
        PromptError: The set lacks a class, or a prompt is too long for the tower.
        CheckpointError: The text tower cannot be loaded.
        SettingsError: The model's embedding is of another width than the text tower's.
    """
    if config.pairing == "labels":
        return _class_vectors(config, class_names)
    prompt_set = load_prompt_set(config.prompt_set, classes=class_names)
    tower = CachedTextTower(load_text_tower(config.text_tower))
    if tower.dim != config.model.embedding_dim:
        raise SettingsError(
            f"model.embedding_dim is {config.model.embedding_dim}, but text tower {config.text_tower} is {tower.dim} "
            "wide; they must be equal"
        )
    share = {"actions": 1.0, "mixed": config.caption_share}.get(config.pairing, 0.0)
    embeddings = embed_prompts(
        prompt_set,
        tower,
        centred=config.centre_prompts,
        # Not the mean of this run's captions, so that scoring finds the same without its samples. Assumption A57.
        other_mean=tower.encode_many(reference_captions()).mean(axis=0) if share else None,
        other_share=share,
    )
    table = np.concatenate([
        embeddings.embed(pairing_texts(prompt_set, config.pairing), tower),
        centre_and_normalise(tower.encode_many(captions), embeddings.mean),
    ])  # fmt: skip
    return Prompts(prompt_set=prompt_set, embeddings=embeddings, table=table, text_digest=tower.digest)


def _class_vectors(config: ExperimentConfig, class_names: Sequence[str]) -> Prompts:
    """Fixed orthonormal directions, one per class, in the place of embedded prompts.

    A linear classifier after the projector would add nothing: the projector's last layer is linear and learns to turn
    its output toward them.
    """
    dim = config.model.embedding_dim
    if len(class_names) > dim:
        raise SettingsError(
            f"{len(class_names)} classes need an embedding at least as wide, model.embedding_dim is {dim}"
        )
    random = np.random.default_rng(config.seed).standard_normal((dim, len(class_names)))
    vectors = np.linalg.qr(random)[0].T.astype(np.float32)
    names = tuple(class_names)
    return Prompts(
        prompt_set=PromptSet(
            name="class labels",
            provenance=Provenance(source="the labels themselves", date="", generated_by="smilevlm"),
            prompts={name: (name,) for name in names},
        ),
        embeddings=PromptEmbeddings(texts=names, classes=names, raw=vectors, mean=np.zeros(dim, np.float32)),
        table=vectors,
        text_digest=NO_TEXT_TOWER,
    )


def prompt_groups(config: ExperimentConfig, prompts: Prompts) -> Int64[np.ndarray, " prompt"]:
    """A number for each row of the prompt table; samples whose prompts have one number are each other's positives."""
    groups = np.arange(len(prompts.table))
    if config.loss.positives == "class" and config.pairing in ("class", "pseudo", "mixed"):
        sizes = [len(texts) for texts in prompts.prompt_set.prompts.values()]
        groups[: sum(sizes)] = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    return groups


def bank_rows(config: ExperimentConfig, fold_data: FoldData) -> Int64[np.ndarray, " bank"]:
    """Rows of the prompt table that a fold's prompt bank has: all prompts, and captions of its own samples alone."""
    captions = [
        side.captions.rows.ravel()
        for side in (fold_data.training, fold_data.validation)
        if side is not None and side.captions is not None
    ]
    rows = np.arange(len(pairing_texts(fold_data.prompts.prompt_set, config.pairing)))
    rows = np.unique(np.concatenate([rows, *captions]))
    return rows[rows != NO_PROMPT]


def load_fold_data(
    data: RunData, split: FoldSplit, *, shuffled: bool, hardware: HardwareConfig | None = None
) -> FoldData:
    """Load what a fold is trained on.

    Args:
        data: What the folds share.
        split: The subject assignment.
        shuffled: The control: samples get the prompts and classes of other samples of their side.
        hardware: Where the teacher works.

    Raises:
        LeakError: See `check_initial_models`.
        PromptError, SettingsError: The teacher does not fit, see `propose_classes`.
    """
    config, class_names = data.config, data.class_names
    teacher, start = data.teacher, data.start
    check_initial_models(data, split)
    hardware = hardware or HardwareConfig()
    labelled = split.labelled_samples(data.prepared.samples)
    without_prompt = (*(index for index in split.train if index not in set(labelled)), *split.unlabelled)
    training, proposals = _paired(data, (labelled, split.captioned, without_prompt), teacher, hardware)
    if shuffled:
        training = _shuffled(training, config.seed)
    validation = None
    if split.validation:
        validation, _ = _paired(data, (split.validation, (), ()), teacher, hardware)
        if shuffled:
            # The true classes would choose the epoch whose chance mapping is nearest to the truth.
            validation = _shuffled(validation, config.seed)
        # With a teacher the labels are not read, and a sample may have several.
        names = [None if teacher is not None else name for name in validation.classes]
        truth = tuple(-1 if name is None else class_names.index(name) for name in names)
        validation = replace(validation, truth=truth)
    earlier = [each for each in (None if teacher is None else teacher.bundle, start) if each is not None]
    return FoldData(
        training=training,
        validation=validation,
        prompts=data.prompts,
        proposals=proposals,
        start=None if start is None else start.model,
        started_from=_data_behind(start),
        taught_by_synthetic=any(each.synthetic for each in earlier),
        known_digests=tuple(d for each in earlier if each.trained_on is not None for d in each.trained_on.digests),
    )


def _data_behind(start: ModelBundle | None) -> OtherTrainingData | None:
    if start is None or start.trained_on is None:
        return None
    known = start.trained_on
    return OtherTrainingData(layout=known.layout, manifest_hash=known.manifest_hash, synthetic=start.synthetic)


def _shuffled(samples: Samples, seed: int) -> Samples:
    """The control: every sample gets class and captions of one and the same other sample."""
    captions = samples.captions
    if captions is not None:
        captions = replace(captions, rows=captions.rows[shuffled_order(len(captions.rows), seed=seed)])
    return replace(samples, classes=shuffle_classes(samples.classes, seed=seed), captions=captions)


def _paired(
    data: RunData,
    sides: tuple[Sequence[int], Sequence[int], Sequence[int]],
    teacher: Teacher | None,
    hardware: HardwareConfig,
) -> tuple[Samples, ProposedClasses | None]:
    """Samples of classes, behind them those that only captions are for, or captions and several classes, and then those
    that have neither."""
    config, prepared, class_names = data.config, data.prepared, data.class_names
    (chosen, captioned, without_prompt), proposals = sides, None
    classes: tuple[str | None, ...] = ()
    if config.pairing == "actions":
        chosen = [*chosen, *captioned]
        classes = (None,) * len(chosen)
    elif teacher is None:
        # A clip with several classes stands there once for each of them.
        named: list[tuple[int, str | None]] = [
            (index, name) for index in chosen for name in prepared.samples[index].classes if name in class_names
        ]
        for index in captioned:
            shared = [name for name in prepared.samples[index].classes if name in class_names]
            named += [(index, name) for name in shared or (None,)]
        chosen, classes = [index for index, _ in named], tuple(name for _, name in named)
    everything = [*chosen, *without_prompt]
    images = prepared.load_images(everything)
    if teacher is not None:

        def propose() -> ProposedClasses:
            seen = images[: len(chosen)]
            with working_on(teacher.bundle, hardware.torch_device, config.optimiser.threads) as bundle:
                return propose_classes(replace(teacher, bundle=bundle), seen, class_names, config.pseudo)

        # Once for all processes, which must have the same prompts: scores of two GPUs may differ in the last digit.
        proposals = on_rank0(propose)
        classes = proposals.classes
    is_dynamic = which_are_dynamic([prepared.samples[index] for index in everything])
    captions = None
    if data.caption_rows is not None:
        share = 1.0 if config.pairing == "actions" else config.caption_share
        rows = data.caption_rows[everything]
        rows[len(chosen) :] = NO_PROMPT  # another fold may have captions of them
        captions = SampleCaptions(rows=rows, share=share)
    samples = Samples(
        images=to_channels_first(images),
        classes=(*classes, *(None,) * len(without_prompt)),
        is_dynamic=is_dynamic,
        captions=captions,
        subjects=subject_numbers([prepared.samples[index] for index in everything]),
    )
    return samples, proposals
