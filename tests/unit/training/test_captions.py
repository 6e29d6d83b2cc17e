"""Pairing with captions: which samples get which, the same in every process and run, equal texts in equal rows."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilevlm.datasets import find_protocol
from smilevlm.errors import SettingsError, StoreError
from smilevlm.evaluation import evaluate_run
from smilevlm.labels import UNLABELLED
from smilevlm.losses import positives_from_groups
from smilevlm.prompts import NO_PROMPT, FaceActions, draw_caption_table, phrase_bank
from smilevlm.store import PreparedSet
from smilevlm.training import captions as caption_module
from smilevlm.training import split_folds, train_run
from smilevlm.training.data import SampleCaptions, Samples, ShardSpec, TrainingBatches
from smilevlm.training.fold_data import _paired, load_fold_data, load_run_data
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.run_folder import claimed_run
from unit.training.test_data import PROMPTS

SMILE, FROWN = {"AU12": (0.8, 0.8)}, {"AU4": (0.5, 0.5), "AU24": (0.6, 0.6)}
FACES = (
    FaceActions(name="a", actions=SMILE),
    FaceActions(name="b", actions=None),
    FaceActions(name="c", actions=FROWN),
    FaceActions(name="d", actions={}),
)


def table(faces=FACES, **changes):
    return draw_caption_table(faces, **{"per_sample": 6, "seed": 3} | changes)


def texts_of(found, place: int, prompts=()) -> list[str]:
    return [(*prompts, *found.texts)[row] for row in found.rows[place]]


def test_captions_follow_from_seed_and_name_alone():
    found, other = table(), table(FACES[2:])
    assert texts_of(found, 2) == texts_of(other, 0)
    assert texts_of(found, 2) != texts_of(table(seed=4), 2)
    assert texts_of(found, 2) != texts_of(table([replace(FACES[2], name="e")]), 0)


def test_equal_texts_have_equal_rows():
    rest = phrase_bank().rest
    prompts = ("a smile", rest[0])
    faces = [replace(FACES[3], name=str(number)) for number in range(20)]
    found = table(faces, prompts=prompts)
    assert set(found.texts) == set(rest[1:])
    assert len(set(found.texts)) == len(found.texts)
    assert 0 not in found.rows
    assert 1 in found.rows
    for row, text in zip(found.rows.ravel(), [t for n in range(20) for t in texts_of(found, n, prompts)], strict=True):
        assert (*prompts, *found.texts)[row] == text
    groups = torch.from_numpy(found.rows[:, 0])
    assert positives_from_groups(groups).sum() > len(groups)


def test_a_sample_without_actions_has_no_caption():
    found = table()
    assert (found.rows[1] == NO_PROMPT).all()
    assert (found.rows[[0, 2, 3]] >= 0).all()


def test_nothing_is_said_of_what_nobody_looked_for():
    from smilevlm.labels import FACIAL_ACTIONS

    unjudged = tuple(code for code in FACIAL_ACTIONS if code not in ("AU1", "AU2", "AU4"))
    found = table([FaceActions(name="a", actions={}, unjudged=unjudged)], per_sample=30)
    brows = phrase_bank().absent[0]
    assert all(any(phrase in text for phrase in brows.phrases) for text in texts_of(found, 0))


def caption_batches(pairing: str, share: float, *, epoch: int = 0, shard=None) -> list[int]:
    classes = ("happy", "sad", None, "angry") if pairing == "mixed" else (None,) * 4
    rows = np.array([[10, 11], [NO_PROMPT, NO_PROMPT], [12, 13], [14, 14]])
    if pairing == "actions":
        rows[1] = 15
    images = torch.zeros((4, 2, 3, 4, 4), dtype=torch.uint8)
    samples = Samples(images=images, classes=classes, captions=SampleCaptions(rows=rows, share=share))
    data = TrainingBatches(samples, PROMPTS, pairing=pairing, batch_size=4, seed=1, epoch=lambda: epoch, shard=shard)
    return [int(row) for batch in data for row in batch.prompts]


def test_an_epoch_mixes_prompts_and_captions():
    drawn = [row for epoch in range(200) for row in caption_batches("mixed", 0.5, epoch=epoch)]
    assert set(drawn) == {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14}
    # Two samples with both, one of each kind with one of the two.
    assert abs(np.mean(np.array(drawn) >= 10) - 0.5) < 0.06
    assert set(caption_batches("actions", 1.0)) <= {10, 11, 12, 13, 14, 15}


def test_processes_share_one_draw():
    whole = caption_batches("mixed", 0.5, epoch=7)
    parts = [caption_batches("mixed", 0.5, epoch=7, shard=ShardSpec(rank=rank, num_processes=2)) for rank in (0, 1)]
    assert [*parts[0], *parts[1]] == whole


@pytest.fixture
def recorded(monkeypatch):
    """Actions of the prepared store's samples, as their classes would have them; gives a function to leave some out."""
    left_out: set[str] = set()
    actions = {"happy": SMILE, "angry": FROWN}

    def of(samples):
        return tuple(
            FaceActions(
                name=sample.sample_id,
                actions=None if sample.sample_id in left_out else actions.get(sample.expression, {"AU26": (0.5, 0.5)}),
            )
            for sample in samples
        )

    monkeypatch.setattr(caption_module, "recorded_actions", of)
    return left_out.add


@pytest.mark.parametrize(
    ("pairing", "name"),
    [
        ("actions", "action descriptions, synthetic by construction"),
        ("mixed", "weakly supervised, and action descriptions, synthetic by construction (share 0.5)"),
    ],
)
def test_trains_to_the_same_bits_and_reports(prepared_store, make_tiny_config, tmp_path, recorded, pairing, name):
    config = make_tiny_config(f"pairing={pairing}", "num_control_folds=0", "captions_per_sample=2")
    for run in ("whole", "again"):
        train_run(config, prepared_store, tmp_path / run, folds=[0])
    result = evaluate_run(tmp_path / "whole", prepared_store, num_examples=0)
    assert result.pairing_name == name
    weights = [(tmp_path / run / "fold_00" / "model.safetensors").read_bytes() for run in ("whole", "again")]
    assert weights[0] == weights[1]


def test_no_class_reaches_training_with_actions(prepared_store, make_tiny_config, recorded):
    config = make_tiny_config("pairing=actions", "captions_per_sample=2")
    data = load_run_data(config, prepared_store)
    fold = load_fold_data(data, data.splits[0], shuffled=False)
    assert set(fold.training.classes) == {None}
    assert len(fold.prompts.table) == data.caption_rows.max() + 1
    assert (fold.training.captions.rows >= 0).all()
    shuffled = load_fold_data(data, data.splits[0], shuffled=True)
    rows = [sorted(map(tuple, each.training.captions.rows.tolist())) for each in (fold, shuffled)]
    assert rows[0] == rows[1]
    assert not np.array_equal(fold.training.captions.rows, shuffled.training.captions.rows)


def test_a_sample_without_recorded_actions_is_named(prepared_store, make_tiny_config, recorded):
    name = PreparedSet(prepared_store).samples[0].sample_id
    recorded(name)
    with pytest.raises(StoreError, match=f"no recorded facial actions, such as {name}; pairing 'actions'"):
        load_run_data(make_tiny_config("pairing=actions"), prepared_store)
    data = load_run_data(make_tiny_config("pairing=mixed"), prepared_store)
    assert (data.caption_rows[0] == NO_PROMPT).all()
    assert (data.caption_rows[1] >= 0).all()


def test_mixed_without_any_action_is_refused(prepared_store, make_tiny_config, monkeypatch):
    monkeypatch.setattr(
        caption_module, "recorded_actions",
        lambda samples: tuple(FaceActions(name=each.sample_id, actions=None) for each in samples),
    )  # fmt: skip
    with pytest.raises(StoreError, match="pairing 'mixed' makes captions"):
        load_run_data(make_tiny_config("pairing=mixed"), prepared_store)


def test_faces_of_no_class_take_part_with_captions(prepared_store, make_tiny_config, recorded):
    prepared = PreparedSet(prepared_store)
    last = [index for index, sample in enumerate(prepared.samples) if sample.expression == "happy"][-1]
    kept = find_protocol(make_tiny_config().protocol).select(prepared.samples)
    samples = list(prepared.samples)
    samples.append(replace(samples[last], sample_id="of_no_class", expression=UNLABELLED, labels=()))
    prepared.samples = tuple(samples)
    assert len(kept) < len(samples)
    for pairing, captioned in (("class", ()), ("mixed", (len(samples) - 1,)), ("actions", (len(samples) - 1,))):
        splits = split_folds(make_tiny_config(f"pairing={pairing}"), prepared)
        training = [split.captioned for split in splits if samples[last].subject in split.train_subjects]
        testing = [split.captioned for split in splits if samples[last].subject in split.test_subjects]
        assert set(training) == {captioned}
        assert set(testing) == {()}


def test_a_face_between_two_classes_counts_for_both(prepared_store, make_tiny_config, recorded):
    data = load_run_data(make_tiny_config("pairing=mixed"), prepared_store)
    samples = list(data.prepared.samples)
    samples[0] = replace(samples[0], expression="fear+surprise", labels=("fear", "surprise"))
    samples[1] = replace(samples[1], expression=UNLABELLED, labels=())
    data.prepared.samples = tuple(samples)
    paired, _ = _paired(data, ((2,), (0, 1), ()), None, HardwareConfig())
    assert paired.classes == (samples[2].expression, "fear", "surprise", None)
    assert len(paired.images) == 4
    assert np.array_equal(paired.images[1], paired.images[2])


@pytest.mark.parametrize("wrong", ["caption_share=1.5", "caption_share=-0.1", "captions_per_sample=0"])
def test_settings_outside_their_range(make_tiny_config, wrong):
    with pytest.raises(SettingsError, match=wrong.partition("=")[0]):
        make_tiny_config(wrong)


def test_labels_may_choose_the_epoch_with_mixed_alone(make_tiny_config):
    chosen = ("validation.share=0.5", "validation.monitor=accuracy")
    assert make_tiny_config("pairing=mixed", *chosen).pairing == "mixed"
    with pytest.raises(SettingsError, match="label-free"):
        make_tiny_config("pairing=actions", *chosen)


def test_actions_of_a_store_are_those_of_its_samples(prepared_store):
    samples = PreparedSet(prepared_store).samples
    found = caption_module.recorded_actions(samples)
    assert [face.name for face in found] == [sample.sample_id for sample in samples]
    assert all(face.actions == sample.actions for face, sample in zip(found, samples, strict=True))
    assert any(face.actions for face in found)


@pytest.mark.parametrize("pairing", ["actions", "class"])
def test_a_run_of_captions_goes_on_with_the_same_actions_alone(prepared_store, make_tiny_config, tmp_path, pairing):
    prepared, config = PreparedSet(prepared_store), make_tiny_config(f"pairing={pairing}")
    with claimed_run(config, prepared, tmp_path / "run"):
        pass
    with claimed_run(config, prepared, tmp_path / "run"):
        pass
    prepared.manifest = replace(prepared.manifest, actions_digest="0" * 64)
    expected = pytest.raises(SettingsError, match="begun with other") if pairing == "actions" else nullcontext()
    with expected, claimed_run(config, prepared, tmp_path / "run"):
        pass
