"""Scores with wordings that a run never trained with, and of classes that it never trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from smilevlm.cli import main
from smilevlm.errors import PromptError, ResultError, SettingsError
from smilevlm.evaluation import (
    EvaluationData,
    FoldEmbeddings,
    FoldSamples,
    FoldTraining,
    ZeroShotClassifier,
    evaluate_run,
    score_fold,
)
from smilevlm.evaluation.fold_score import UnseenWordings
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.unseen_wordings import choose_unseen_prompts
from smilevlm.models import class_prototypes, load_bundle
from smilevlm.prompts import load_prompt_set, load_text_tower, wording
from smilevlm.results import read_results, summarise_folds
from smilevlm.store import PreparedSet
from smilevlm.training import read_fold_record


@pytest.fixture(scope="module")
def data(prepared_store, make_tiny_config):
    prepared = PreparedSet(prepared_store)
    return EvaluationData(make_tiny_config(), prepared, prepared)


@pytest.mark.parametrize(
    ("prompt_set", "pairing", "wanted", "chosen"),
    [
        ("basic_expressions", "class", "auto", "basic_expressions_described"),
        ("basic_expressions_detailed", "class", "auto", "basic_expressions_described"),
        ("basic_expressions_described", "class", "auto", "basic_expressions_detailed"),
        ("basic_expressions", "generic", "auto", "basic_expressions_described"),
        ("basic_expressions", "class", "none", None),
        ("basic_expressions", "labels", "auto", None),
        ("basic_expressions", "class", "class_names", "class_names"),
    ],
)
def test_the_set_is_the_first_without_a_trained_text(data, make_tiny_config, prompt_set, pairing, wanted, chosen):
    config = make_tiny_config(f"prompt_set={prompt_set}", f"pairing={pairing}")
    found = choose_unseen_prompts(config, data, pairing, wanted)
    assert (None if found is None else found.name) == chosen
    if found is not None:
        trained = {wording(text) for text in load_prompt_set(prompt_set).texts}
        assert not trained & {wording(text) for text in found.texts}
        assert found.classes == data.classes


def test_a_set_with_one_trained_text_is_refused_whatever_its_case(data, make_tiny_config, tmp_path):
    texts = {name: f"a face of {name}" for name in data.classes}
    texts[data.classes[0]] = load_prompt_set("basic_expressions").prompts[data.classes[0]][0].upper() + "!"
    lines = [f"  {name}:\n    - {text!r}" for name, text in texts.items()]
    head = "name: mine\nprovenance: {source: me, date: today, generated_by: hand}\nprompts:\n"
    (tmp_path / "mine.yaml").write_text(head + "\n".join(lines) + "\n")
    with pytest.raises(PromptError, match="mine is no set of unseen wordings"):
        choose_unseen_prompts(make_tiny_config(), data, "class", str(tmp_path / "mine.yaml"))


def test_a_run_that_knows_no_words_has_no_other_wordings(data, make_tiny_config):
    with pytest.raises(SettingsError, match="knows no words"):
        choose_unseen_prompts(make_tiny_config("pairing=labels"), data, "labels", "class_names")


def test_a_run_is_scored_with_unseen_wordings_and_its_other_numbers_stay(trained_run, prepared_store, tmp_path):
    """Against the loop: every test face, every class, the mean of the class's unit prompts."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    result = evaluate_run(run, prepared_store, num_examples=0)
    without = evaluate_run(run, prepared_store, num_examples=0, unseen_prompts="none")
    assert without.summary.unseen_wordings_accuracy is None
    assert result.unseen_prompt_set == "basic_expressions_described"
    bare = tuple(replace(fold, unseen_wordings=None) for fold in result.folds)
    assert bare == without.folds, "no other number moves"
    prepared, prompts = PreparedSet(prepared_store), load_prompt_set(result.unseen_prompt_set, classes=result.classes)
    tower = load_text_tower("minilm")
    for fold in result.folds:
        folder = run / f"fold_{fold.fold:02d}"
        bundle, test = load_bundle(folder), read_fold_record(folder).split.test
        correct = 0
        for index, z in zip(test, embed(bundle, prepared, test).z_fused, strict=True):
            scores = {}
            for name, texts in prompts.prompts.items():
                direction = bundle.prompts.embed(texts, tower).astype(float).mean(axis=0)
                scores[name] = z @ direction / np.linalg.norm(direction)
            correct += max(scores, key=scores.__getitem__) == prepared.samples[index].expression
        assert fold.unseen_wordings is not None
        assert fold.unseen_wordings.accuracy == pytest.approx(correct / len(test))
    mean = np.mean([fold.unseen_wordings.accuracy for fold in result.folds])
    assert result.summary.unseen_wordings_accuracy.mean == pytest.approx(mean)


def test_the_command_says_which_score_is_zero_shot(trained_run, prepared_store, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    run = shutil.copytree(trained_run, tmp_path / "run")
    assert main(["evaluate", str(run), "--store", str(prepared_store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("fused views, trained wordings" in line and "zero-shot" not in line for line in lines)
    assert any("fused views, zero-shot: basic_expressions_described" in line for line in lines)
    refused = ["evaluate", str(run), "--store", str(prepared_store), "--unseen-prompts", "basic_expressions"]
    assert main(refused) == 1
    assert "no set of unseen wordings" in capsys.readouterr().err


def fold_of(trained, unseen=None):
    """Three faces of a, one each of b and c; b is taken for c. Directions are the axes."""
    z = np.eye(3)[[0, 0, 0, 2, 2]]
    prototypes = class_prototypes(np.eye(3, dtype=np.float32), ("a", "b", "c"), ("a", "b", "c"))
    views = np.stack([z, z], axis=1)
    return score_fold(
        FoldEmbeddings(z_views=views, z_fused=z, view_weights=np.full((5, 2), 0.5), features=views,
                       view_angles_deg=(0, 30)),
        FoldSamples(truth=["a", "a", "a", "b", "c"], subjects=["p", "p", "q", "q", "q"], levels=[0] * 5),
        ZeroShotClassifier(prototypes=prototypes, temperature=0.1, unseen_wordings=unseen),
        FoldTraining(fold=0, num_folds=2, subjects=["r"], num_samples=1, classes=trained),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trained", "unseen", "accuracy"),
    [
        (("a", "b", "c"), (), None),
        (("a",), ("b", "c"), 0.5),
        (("a", "c"), ("b",), 0.0),
        (("b", "c"), ("a",), 1.0),
        (None, (), None),
    ],
)
def test_classes_never_trained(trained, unseen, accuracy):
    fold = fold_of(trained)
    assert fold.unseen_classes == unseen
    assert summarise_folds([fold]).unseen_classes_accuracy == accuracy


def test_unseen_wordings_are_of_the_same_classes_and_samples():
    z = np.eye(3)[[0, 0, 0, 1, 2]]
    prototypes = class_prototypes(np.eye(3, dtype=np.float32), ("a", "b", "c"), ("a", "b", "c"))
    assert fold_of(None, UnseenWordings(prototypes=prototypes, z_fused=z)).unseen_wordings.accuracy == 1
    others = class_prototypes(np.eye(3, dtype=np.float32)[:2], ("a", "b"), ("a", "b"))
    for wrong in (UnseenWordings(prototypes=others, z_fused=z), UnseenWordings(prototypes=prototypes, z_fused=z[:4])):
        with pytest.raises(SettingsError, match="same classes and samples"):
            fold_of(None, wrong)


def test_result_files_from_before_are_read_and_contradictions_refused(trained_run, tmp_path):
    path = tmp_path / "results.json"
    data = json.loads((trained_run / "results.json").read_text())

    def refused(match: str) -> None:
        path.write_text(json.dumps(data))
        with pytest.raises(ResultError, match=match):
            read_results(path)

    data["folds"][0]["unseen_classes"] = ["pain"]
    refused("unseen_classes")
    data["folds"][0]["unseen_classes"] = []
    data["folds"][0]["unseen_wordings"]["accuracy"] += 0.01
    refused("unseen_wordings")
    data = json.loads((trained_run / "results.json").read_text())
    del data["unseen_prompt_set"]
    refused("unseen_wordings")
    for part in (data, *data["controls"]):
        del part["summary"]["unseen_wordings_accuracy"], part["summary"]["unseen_classes_accuracy"]
        for fold in part["folds"]:
            del fold["unseen_wordings"], fold["unseen_classes"]
    path.write_text(json.dumps(data))
    assert read_results(path).summary.unseen_wordings_accuracy is None
