"""Few labels: who is labelled, what the others take part in, stratified batches, training without any label first."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilevlm.datasets import find_protocol, protocols
from smilevlm.errors import ResultError, SettingsError
from smilevlm.evaluation import evaluate_run
from smilevlm.labels import UNLABELLED
from smilevlm.models import load_bundle
from smilevlm.prompts import NO_PROMPT
from smilevlm.results import write_results
from smilevlm.store import PreparedSet
from smilevlm.training import check_split_leaks, split_folds, train_run
from smilevlm.training.data import SampleCaptions, Samples, ShardSpec, TrainingBatches
from smilevlm.training.fold_data import bank_rows, load_fold_data, load_run_data, prompt_groups
from smilevlm.training.sampling import SamplerSettings, stratified_order
from unit.training.test_data import PROMPTS

ONE_OF_TWO = ("labelled_subjects=1", "num_control_folds=0")


# Who is labelled.


def test_a_larger_draw_contains_the_smaller(store_of_four, make_tiny_config):
    prepared = PreparedSet(store_of_four)
    drawn = {
        number: split_folds(make_tiny_config("num_folds=4", f"labelled_subjects={number}"), prepared)
        for number in (1, 2, 3)
    }
    for fold in range(4):
        one, two, three = (set(drawn[number][fold].labelled_subjects) for number in (1, 2, 3))
        assert one < two < three == set(drawn[1][fold].train_subjects)
    others = [
        split_folds(make_tiny_config("num_folds=4", "labelled_subjects=1", f"seed={n}"), prepared) for n in (0, 1)
    ]
    assert others[0] == drawn[1]
    assert others[1] != drawn[1]


def test_named_subjects_are_labelled_where_they_are_trained_on(store_of_four, make_tiny_config):
    prepared = PreparedSet(store_of_four)
    subjects = sorted({sample.subject for sample in prepared.samples})
    config = make_tiny_config("num_folds=4", f"labelled_subjects=[{subjects[0]},{subjects[2]}]")
    assert config.labelled_subjects == (subjects[0], subjects[2])
    for split in split_folds(config, prepared):
        assert split.labelled_subjects == tuple(s for s in (subjects[0], subjects[2]) if s not in split.test_subjects)
        chosen = {prepared.samples[i].subject for i in split.labelled_samples(prepared.samples)}
        assert chosen == set(split.labelled_subjects) < set(split.train_subjects)
    with pytest.raises(SettingsError, match="no subject nobody"):
        split_folds(make_tiny_config("labelled_subjects=[nobody]"), prepared)
    with pytest.raises(SettingsError, match="none of labelled_subjects"):
        split_folds(make_tiny_config("num_folds=4", f"labelled_subjects=[{subjects[0]}]"), prepared)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("labelled_subjects=0",), "1 or more"),
        (("labelled_subjects=1", "pairing=generic"), "reads no label"),
        (("sampler.name=stratified", "pairing=generic"), "has none"),
        (("sampler.paired_share=0",), "above 0"),
        (("pretraining_epochs=-1",), "0 or more"),
        (("pairing=generic", "loss.negatives=prompt_bank"), "several prompts"),
    ],
)
def test_settings_that_cannot_be(make_tiny_config, wrong, said):
    with pytest.raises(SettingsError, match=said):
        make_tiny_config(*wrong)


def test_more_labelled_subjects_than_there_are(store_of_four, make_tiny_config):
    with pytest.raises(SettingsError, match="trains on 2 subjects"):
        split_folds(make_tiny_config("labelled_subjects=3"), PreparedSet(store_of_four))


def test_only_the_labelled_have_prompts_and_none_of_them_is_tested(store_of_four, make_tiny_config):
    data = load_run_data(make_tiny_config(*ONE_OF_TWO), store_of_four)
    for split in data.splits:
        fold = load_fold_data(data, split, shuffled=False)
        labelled = split.labelled_samples(data.prepared.samples)
        classes = fold.training.classes
        assert classes[: len(labelled)] == tuple(data.prepared.samples[i].expression for i in labelled)
        assert set(classes[len(labelled) :]) == {None}
        assert len(classes) == len(split.train)
        paired = fold.training.paired()
        assert paired.classes == classes[: len(labelled)]
        assert torch.equal(paired.images, fold.training.images[: len(labelled)])
        assert not set(split.labelled_subjects) & set(split.test_subjects)


@pytest.mark.parametrize("setting", ["pairing=labels", "loss.alpha=0"])
def test_samples_that_no_loss_sees_are_left_out(store_of_four, make_tiny_config, tmp_path, setting, monkeypatch):
    seen = []
    init = TrainingBatches.__init__

    def watch(self, samples, *arguments, **options):
        seen.append(samples.classes)
        init(self, samples, *arguments, **options)

    monkeypatch.setattr(TrainingBatches, "__init__", watch)
    train_run(make_tiny_config(*ONE_OF_TWO, setting), store_of_four, tmp_path / "run", folds=[0])
    assert len(seen) == 1
    assert None not in seen[0]
    with pytest.raises(SettingsError, match="do not fill one batch of 9"):
        train_run(make_tiny_config(*ONE_OF_TWO, setting, "optimiser.batch_size=9"), store_of_four, tmp_path / "other")


def test_all_subjects_labelled_is_the_same_as_none_named(store_of_four, make_tiny_config, tmp_path):
    configs = {
        "all": make_tiny_config("num_control_folds=0"),
        "two": make_tiny_config(*ONE_OF_TWO, "labelled_subjects=2"),
    }
    for name, config in configs.items():
        train_run(config, store_of_four, tmp_path / name, folds=[0])
    found = [(tmp_path / name / "fold_00" / "model.safetensors").read_bytes() for name in configs]
    assert found[0] == found[1]


def test_a_result_says_who_was_labelled_and_probes_read_no_other_label(
    store_of_four, make_tiny_config, tmp_path, monkeypatch
):
    from smilevlm.evaluation import scoring

    fitted = []
    score = scoring.score_fold

    def watch(*arguments, **options):
        fitted.append(set(options["probe_training"].subjects))
        return score(*arguments, **options)

    monkeypatch.setattr(scoring, "score_fold", watch)
    run = tmp_path / "run"
    train_run(make_tiny_config(*ONE_OF_TWO), store_of_four, run, folds=[0])
    fold = evaluate_run(run, store_of_four, num_examples=0).folds[0]
    assert (
        fold.labelled_subjects
        == split_folds(make_tiny_config(*ONE_OF_TWO), PreparedSet(store_of_four))[0].labelled_subjects
    )
    assert fitted == [set(fold.labelled_subjects)]
    assert len(fold.train_subjects) == 2


# Samples without a class.


@pytest.mark.parametrize("kind", ["none", "protocol", "all"])
def test_samples_of_no_class_or_another_one(store_of_four, make_tiny_config, monkeypatch, kind):
    # A protocol of two of the classes; some samples without a class, and a person all of whose samples are.
    narrow = replace(find_protocol("bu3dfe_subset1"), classes=("sad", "fear"))
    monkeypatch.setitem(protocols.PROTOCOLS, narrow.name, narrow)
    prepared = PreparedSet(store_of_four)
    samples = [replace(s, expression=UNLABELLED) if s.expression == "happy" else s for s in prepared.samples]
    stranger = len(samples)
    samples.append(replace(samples[0], subject="S", sample_id="S", recording="S", digest="s", expression=UNLABELLED))
    monkeypatch.setattr(prepared, "samples", tuple(samples))
    other_level = {place for place, sample in enumerate(samples) if sample.level == 0}
    assert other_level
    for split in split_folds(make_tiny_config(f"unlabelled_samples={kind}", "validation.share=0.5"), prepared):
        check_split_leaks(split, prepared)
        found = set(split.unlabelled)
        who = {samples[i].subject for i in found}
        assert not who & {*split.test_subjects, *split.validation_subjects}
        assert who <= set(split.train_subjects)
        trained = {samples[i].subject for i in split.train}
        own = {place for place, sample in enumerate(samples) if sample.subject in trained} - set(split.train)
        assert found == {"none": set(), "protocol": own - other_level, "all": own | {stranger}}[kind]


def test_unlabelled_samples_take_part_and_are_counted(store_of_four, make_tiny_config, tmp_path, monkeypatch):
    narrow = replace(find_protocol("bu3dfe_subset1"), classes=("happy", "sad"))
    monkeypatch.setitem(protocols.PROTOCOLS, "bu3dfe_subset1", narrow)
    config = make_tiny_config("unlabelled_samples=all", "num_control_folds=0")
    data = load_run_data(config, store_of_four)
    fold = load_fold_data(data, data.splits[0], shuffled=False)
    assert Counter(fold.training.classes) == {"happy": 2, "sad": 2, None: len(data.splits[0].unlabelled)}
    run = tmp_path / "run"
    train_run(config, store_of_four, run, folds=[0])
    result = evaluate_run(run, store_of_four, num_examples=0).folds[0]
    assert (result.num_train_samples, result.num_unlabelled_samples) == (4, 10)
    assert result.labelled_subjects is None
    bundle = load_bundle(run / "fold_00")
    assert len(bundle.trained_on.digests) == 14


# Stratified batches.

STRATA = ["a"] * 9 + ["b"] * 4 + ["c"] * 2 + [None] * 40


def order(strata=STRATA, *, num_batches=50, batch_size=12, paired_share=0.5, seed=0):
    generator = np.random.default_rng(seed)
    return stratified_order(
        strata, num_batches=num_batches, batch_size=batch_size, paired_share=paired_share, generator=generator
    )


def test_half_of_a_batch_is_paired_and_its_classes_are_balanced():
    for batch in order():
        assert len(set(batch.tolist())) == 12
        assert Counter(STRATA[row] for row in batch) == {"a": 2, "b": 2, "c": 2, None: 6}


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1.0, {"a": 6, "b": 4, "c": 2}),
        (0.75, {None: 3}),
        (0.01, {None: 12}),
    ],
)
def test_classes_are_as_equal_as_their_numbers_allow(share, expected):
    for batch in order(paired_share=share):
        counted = Counter(STRATA[row] for row in batch)
        assert {name: counted[name] for name in expected} == expected
        assert max(counted["a"], counted["b"]) - min(counted["a"], counted["b"]) <= max(0, counted["a"] - 4) + 1


def test_where_one_side_has_too_few_the_other_fills_the_batch():
    few = ["a", "b"] + [None] * 20
    assert all(Counter(few[row] for row in batch) == {"a": 1, "b": 1, None: 10} for batch in order(few))
    most = ["a"] * 9 + ["b"] * 9 + [None] * 2
    assert all(Counter(most[row] for row in batch) == {"a": 5, "b": 5, None: 2} for batch in order(most))


def test_samples_of_a_stratum_come_in_turn():
    flat = [row for batch in order() for row in batch.tolist()]
    counted = Counter(flat)
    for name in ("a", "b", "c", None):
        times = [counted[row] for row, stratum in enumerate(STRATA) if stratum == name]
        assert max(times) - min(times) <= 1


def stratified(*, epoch=0, shard=None, captions=None) -> list:
    classes = ("happy", "sad", "angry", "happy", "sad", "angry", *[None] * 14)
    images = torch.arange(20, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 2, 3, 4, 4)
    return list(
        TrainingBatches(
            Samples(images=images, classes=classes, captions=captions),
            PROMPTS, pairing="class" if captions is None else "mixed", batch_size=6, seed=3, epoch=lambda: epoch,
            shard=shard, sampler=SamplerSettings(name="stratified"),
        )
    )  # fmt: skip


def rows_of(batches) -> list[tuple[int, int]]:
    return [
        (int(number), int(row))
        for batch in batches
        for number, row in zip(batch.images[:, 0, 0, 0, 0], batch.prompts, strict=True)
    ]


def test_stratified_batches_follow_from_seed_and_epoch_and_are_shared_by_processes():
    whole = stratified(epoch=4)
    assert len(whole) == 3
    assert rows_of(whole) == rows_of(stratified(epoch=4)) != rows_of(stratified(epoch=5))
    parts = [stratified(epoch=4, shard=ShardSpec(rank=rank, num_processes=2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert rows_of([batch]) == rows_of([first]) + rows_of([second])
        assert int((batch.prompts >= 0).sum()) == 3


def test_a_labelled_sample_gets_a_prompt_anew_each_time_it_comes():
    drawn = {}
    for epoch in range(20):
        for number, row in rows_of(stratified(epoch=epoch)):
            drawn.setdefault(number, set()).add(row)
    texts = PROMPTS.texts
    for number, name in enumerate(("happy", "sad", "angry")):
        assert {texts[row] for row in drawn[number]} == set(PROMPTS.prompts[name])
    assert all(drawn[number] == {NO_PROMPT} for number in range(6, 20))


def test_captions_alone_are_a_stratum():
    rows = np.full((20, 2), NO_PROMPT)
    rows[6:9] = 10
    captions = SampleCaptions(rows=rows, share=0.0)
    found = rows_of(stratified(captions=captions))
    assert sum(row == 10 for _, row in found) in (2, 3, 4)
    assert {number for number, row in found if row == 10} <= {6, 7, 8}


# Groups and bank.


def test_prompts_of_a_class_are_one_group_and_the_bank_has_every_prompt(store_of_four, make_tiny_config):
    config = make_tiny_config("loss.multi_positive=true", "loss.positives=class", "loss.negatives=prompt_bank")
    data = load_run_data(config, store_of_four)
    prompts, fold = data.prompts, load_fold_data(data, data.splits[0], shuffled=False)
    groups = prompt_groups(config, prompts)
    classes = prompts.embeddings.classes
    assert len(groups) == len(classes)
    assert all((groups[i] == groups[j]) == (a == b) for i, a in enumerate(classes) for j, b in enumerate(classes))
    assert bank_rows(config, fold).tolist() == list(range(len(classes)))
    assert prompt_groups(make_tiny_config(), prompts).tolist() == list(range(len(classes)))


def test_captions_of_others_are_not_in_the_bank(store_of_four, make_tiny_config):
    config = make_tiny_config("pairing=mixed", "captions_per_sample=3", *ONE_OF_TWO)
    data = load_run_data(config, store_of_four)
    split, num_prompts = data.splits[0], len(data.prompts.prompt_set.texts)
    fold = load_fold_data(data, split, shuffled=False)
    rows = data.caption_rows[list(split.labelled_samples(data.prepared.samples))]
    assert set(bank_rows(config, fold).tolist()) == set(range(num_prompts)) | set(rows.ravel().tolist())
    assert len(bank_rows(config, fold)) < len(data.prompts.table)
    others = np.array([name is None for name in fold.training.classes])
    assert (fold.training.captions.rows[others] == NO_PROMPT).all()


# Without any label first.


@pytest.mark.parametrize("method", ["full", "supervised"])
def test_pretraining_is_label_free_kept_and_read_out(store_of_four, make_tiny_config, tmp_path, monkeypatch, method):
    from smilevlm.recipes import with_method
    from smilevlm.training import trainer

    config = with_method(make_tiny_config("pretraining_epochs=2", *ONE_OF_TWO), method)
    run, seen, told = tmp_path / "run", [], []
    fit = trainer.fit

    def watch(phase, fold_data, folder, **options):
        seen.append((folder.name, phase.loss.beta, phase.loss.gamma, set(fold_data.training.classes), fold_data.start))
        return fit(phase, fold_data, folder, **options)

    monkeypatch.setattr(trainer, "fit", watch)
    train_run(config, store_of_four, run, folds=[0], progress=lambda _n, done, total, _l: told.append((done, total)))
    (first, beta, gamma, classes, start), (second, *_, started) = seen
    assert (first, beta, gamma, classes, start) == ("pretraining.running", 0.0, 0.0, {None}, None)
    assert second == "fold_00.running"
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kept = load_bundle(run / "fold_00" / "pretraining")
    for name, tensor in kept.model.state_dict().items():
        assert torch.equal(tensor, started.state_dict()[name])
    assert kept.trained_on == load_bundle(run / "fold_00").trained_on
    result = evaluate_run(run, store_of_four, num_examples=0).folds[0]
    assert {"linear_probe", "linear_probe_after_pretraining"} <= set(result.readouts)
    assert result.readouts["linear_probe_after_pretraining"].supervision == "labels"


def test_the_probe_after_pretraining_is_that_of_the_phase_alone(store_of_four, make_tiny_config, tmp_path):
    config = make_tiny_config("pretraining_epochs=2", "optimiser.epochs=0", "num_control_folds=0")
    train_run(config, store_of_four, tmp_path / "run", folds=[0])
    readouts = evaluate_run(tmp_path / "run", store_of_four, num_examples=0).folds[0].readouts
    assert readouts["linear_probe_after_pretraining"] == readouts["linear_probe"]


def test_the_recipe_trains_scores_and_says_what_it_read(store_of_four, tiny_overrides, tmp_path):
    from smilevlm.recipes import find_recipe
    from smilevlm.reporting.report import _label_rows
    from smilevlm.training import with_overrides

    smaller = (*tiny_overrides, "pretraining_epochs=1", "labelled_subjects=1", "validation.share=0.4", "num_folds=4")
    config, run = with_overrides(find_recipe("few_labels"), smaller), tmp_path / "run"
    train_run(config, store_of_four, run, folds=[0, 1])
    result = evaluate_run(run, store_of_four, num_examples=0)
    number = result.folds[0].num_unlabelled_samples
    assert number > 0
    assert result.label_budget == (
        f"labels of 1 of 2 training subjects and of the validation subjects with {number} samples without a label"
    )
    budget, *folds = _label_rows(result)
    assert budget == ("Labels", result.label_budget)
    assert folds == [(f"Labelled subjects, fold {fold.fold}", fold.labelled_subjects[0]) for fold in result.folds]
    wrong = replace(result.folds[0], labelled_subjects=("nobody",))
    with pytest.raises(ResultError, match="nobody not in train_subjects"):
        write_results(tmp_path / "wrong.json", replace(result, folds=(wrong, *result.folds[1:])))
